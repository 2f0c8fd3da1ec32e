package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"
)

// configCommand groups the commands for the configuration of run.
type configCommand struct {
	Print configPrint `cmd:"" help:"Print every setting and where it comes from, as a file for --config. Secrets are redacted."`
	Check configCheck `cmd:"" help:"Check settings, destinations and routes without connecting to anything."`
}

func newConfigCommand() configCommand {
	return configCommand{Print: configPrint{runFlags()}, Check: configCheck{runFlags()}}
}

type configPrint struct {
	Settings kong.Plugins `embed:""`
}

// Run prints the settings.
func (c *configPrint) Run(s *session) error {
	if err := s.faults.Err(); err != nil {
		return err
	}
	return s.config.Write(s.stdout)
}

type configCheck struct {
	Settings kong.Plugins `embed:""`
}

// Run reports all faults.
func (c *configCheck) Run(s *session) error {
	d, err := s.prepare(context.Background())
	defer d.close()
	if err != nil {
		return err
	}
	fmt.Fprintln(s.stdout, "the configuration is valid")
	return nil
}
