package statuspage

import (
	"net/netip"
	"sync"
	"time"
)

const (
	guessesTime  = time.Minute
	guessesLimit = 10   // wrong tokens per address in that time
	guessesFrom  = 4096 // addresses to count; with more, counting begins again
)

// guesses counts wrong tokens by address. The zero value is ready to use. It is safe for concurrent use.
type guesses struct {
	mu    sync.Mutex
	since time.Time
	wrong map[string]int
}

// take counts a wrong token. It returns how long the address has to wait until its tokens are looked at again, right or wrong.
func (g *guesses) take(from string, right bool) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := guessKey(from)
	passed := time.Since(g.since)
	switch {
	case passed < guessesTime && g.wrong[key] >= guessesLimit:
		return guessesTime - passed
	case right:
		return 0
	case passed >= guessesTime || len(g.wrong) >= guessesFrom:
		g.since, g.wrong = time.Now(), map[string]int{}
	}
	g.wrong[key]++
	return 0
}

// guessKey returns what is counted together: an IPv4 address, or the part of an IPv6 address that one customer has.
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
