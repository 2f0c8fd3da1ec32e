package router

import (
	"strings"
	"sync"
)

// cache keeps recently used values in two generations: when the young one is full it replaces the old one, whose values are dropped unless they
// were used again. It holds at most twice its limits. It is safe for concurrent use.
type cache[V any] struct {
	entries, bytes int // limits of one generation; bytes counts keys

	mu         sync.RWMutex
	young, old map[string]V
	size       int // bytes of the young keys
}

func newCache[V any](entries, bytes int) *cache[V] {
	return &cache[V]{entries: entries, bytes: bytes, young: make(map[string]V)}
}

// get returns the value of key. When there is none it calls make; concurrent callers may do so several times.
func (c *cache[V]) get(key string, make func() V) V {
	c.mu.RLock()
	v, found := c.young[key]
	if found {
		c.mu.RUnlock()
		return v
	}
	v, found = c.old[key]
	c.mu.RUnlock()
	if !found {
		v = make()
	}
	c.put(key, v)
	return v
}

func (c *cache[V]) put(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.entries || c.size+len(key) > c.bytes && len(c.young) > 0 {
		c.old, c.young, c.size = c.young, make(map[string]V), 0
	}
	if _, found := c.young[key]; !found {
		c.size += len(key)
	}
	c.young[strings.Clone(key)] = v // key may be a part of a longer text
}

// len returns the number of entries; one in both generations counts twice.
func (c *cache[V]) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.young) + len(c.old)
}
