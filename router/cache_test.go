package router

import (
	"strconv"
	"strings"
	"testing"
)

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	made := 0
	c := newCache[int](100, 1000)
	get := func(key string) int {
		return c.get(key, func() int { made++; return made })
	}
	hot := get("hot")
	for i := range 10_000 {
		get(strconv.Itoa(i))
		if i%50 == 0 && get("hot") != hot {
			t.Fatalf("what is in use was dropped after %d", i)
		}
		if c.len() > 200 {
			t.Fatalf("%d entries are kept", c.len())
		}
	}
	get(strings.Repeat("x", 990))
	get(strings.Repeat("y", 990))
	if c.size > 1000 {
		t.Fatalf("%d bytes are kept", c.size)
	}
}
