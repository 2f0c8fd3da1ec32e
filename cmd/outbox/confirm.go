package main

import (
	"bufio"
	"fmt"
	"strings"
)

// confirmation is the flag of commands that destroy something.
type confirmation struct {
	Yes bool `short:"y" help:"Do not ask for confirmation."`
}

// required adds a fault if --yes is missing and nobody can be asked.
func (c confirmation) required(s *session, fault string) {
	if !c.Yes && !s.isTerminal(s.stdin) {
		s.faults.Add("%s", fault)
	}
}

// confirm asks the question unless --yes is set. Any answer but yes is an error.
func (c confirmation) confirm(s *session, question string, args ...any) error {
	if c.Yes {
		return nil
	}
	fmt.Fprintf(s.stderr, question+" Type yes: ", args...)
	answer, _ := bufio.NewReader(s.stdin).ReadString('\n')
	if strings.TrimSpace(answer) != "yes" {
		return failf("nothing was changed, because the answer was not yes")
	}
	return nil
}
