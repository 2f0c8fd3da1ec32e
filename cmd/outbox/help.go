package main

import "github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as dead list."`
}

// Run shows what --help shows.
func (c helpCommand) Run(s *session) error {
	if status := s.run(append(c.Command, "--help")); status != statusDone {
		return config.Faults{} // the fault has been printed
	}
	return nil
}
