package main

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as dead list."`
}

// Run shows what --help shows.
func (c helpCommand) Run(s *session) error {
	if status := s.run(append(c.Command, "--help")); status != statusDone {
		return &usageError{} // the fault has been printed
	}
	return nil
}
