package statuspage

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	guessesLimit = 10          // wrong tokens of one address before it has to wait
	guessesTime  = time.Minute // since the first of them
	guessesFrom  = 4096        // addresses that are counted; one more, and the one that began first is forgotten
)

// guesses counts wrong tokens by address. It is safe for concurrent use.
type guesses struct {
	mu    sync.Mutex
	by    map[string]*list.Element
	order list.List // of guesser, by since
}

type guesser struct {
	key   string
	since time.Time
	wrong int
}

// take counts a token of an address if it is wrong, and returns how long the address has to wait until its tokens are looked at again.
func (g *guesses) take(from string, right bool) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for first := g.order.Front(); first != nil; first = g.order.Front() {
		if who := first.Value.(*guesser); time.Since(who.since) < guessesTime {
			break
		}
		g.forget(first)
	}
	key := guessKey(from)
	if e, known := g.by[key]; known {
		who := e.Value.(*guesser)
		if who.wrong >= guessesLimit {
			return guessesTime - time.Since(who.since)
		}
		if !right {
			who.wrong++
		}
		return 0
	}
	if right {
		return 0
	}
	if g.by == nil {
		g.by = map[string]*list.Element{}
	}
	if len(g.by) >= guessesFrom {
		g.forget(g.order.Front())
	}
	g.by[key] = g.order.PushBack(&guesser{key: key, since: time.Now(), wrong: 1})
	return 0
}

func (g *guesses) forget(e *list.Element) {
	g.order.Remove(e)
	delete(g.by, e.Value.(*guesser).key)
}

// guessKey is what is counted together: an IPv4 address, or what one customer has of IPv6.
func guessKey(from string) string {
	p, err := netip.ParseAddrPort(from)
	if err != nil {
		return from
	}
	address := p.Addr().Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return from
	}
	return prefix.String()
}
