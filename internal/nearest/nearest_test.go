package nearest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestName(t *testing.T) {
	t.Parallel()
	known := []string{"kafka", "redis", "rediss", "batch_size", "batch_commit_size", "max_retry_attempts", "$eq", "to"}
	for name, c := range map[string]struct{ word, want string }{
		"a letter is missing":         {"kafa", "kafka"},
		"a letter too many":           {"kafkaa", "kafka"},
		"another letter":              {"kavka", "kafka"},
		"neighbours are swapped":      {"kafak", "kafka"},
		"two swaps":                   {"bacth_siez", "batch_size"},
		"another case":                {"REDIS", "redis"},
		"the first of equals":         {"redi", "redis"},
		"only the beginning":          {"max_retry", ""},
		"one error in a short word":   {"$e", "$eq"},
		"two errors in a short word":  {"$xx", ""},
		"nothing of the name is left": {"x", ""},
		"too far":                     {"pulsar", ""},
		"empty":                       {"", ""},
		"endless":                     {strings.Repeat("kafka", 1000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, Name(c.word, known))
		})
	}
}
