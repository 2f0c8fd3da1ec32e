package config

import (
	"fmt"
	"strings"
)

// prefix starts the names of the variables that belong to this command alone.
const prefix = "BENTO_OUTBOX_"

// FileVariable names the file if no flag does.
const FileVariable = prefix + "CONFIG"

// environment returns what variables set, by key, and the value of [FileVariable]. An empty variable counts as not set. An unknown variable with
// our prefix is a fault, because it is misspelled.
func environment(environ []string, faults *Faults) (set map[string]given, file string) {
	set = map[string]given{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		s, known := find(byEnv, name)
		switch value = strings.TrimSpace(value); {
		case name == FileVariable:
			file = value
		case known && value != "":
			items := []string{value}
			if s.kind == mapType {
				items = strings.Fields(value)
			}
			set[s.Key] = given{items: items, origin: Origin{Layer: Environment, Place: name}}
		case !known && strings.HasPrefix(name, prefix):
			*faults = append(*faults, Fault{Place: name, Misspelled: true, Err: fmt.Errorf("unknown variable%s", didYouMean(name, byEnv))})
		}
	}
	return set, file
}
