package config

import (
	"fmt"
	"strings"
)

// prefix is what the variables start with that are nobody else's.
const prefix = "BENTO_OUTBOX_"

// FileVariable names the file where no flag does.
const FileVariable = prefix + "CONFIG"

// environment returns what variables set, by key. An empty variable is none. One that starts as ours do but is not known is a fault: it is
// misspelled.
func environment(environ []string, faults *Faults) map[string]given {
	set := map[string]given{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		s, known := find(byEnv, name)
		switch {
		case known && strings.TrimSpace(value) != "":
			items := []string{strings.TrimSpace(value)}
			if s.named() {
				items = strings.Fields(value)
			}
			set[s.Key] = given{items: items, origin: Origin{Layer: Environment, Place: name}}
		case !known && strings.HasPrefix(name, prefix) && name != FileVariable:
			*faults = append(*faults, Fault{Place: name, Misspelled: true, Err: fmt.Errorf("unknown variable%s", didYouMean(name, byEnv))})
		}
	}
	return set
}
