package statuspage

import (
	"net/netip"
	"sync"
	"time"
)

const (
	guessesLimit = 10                // wrong tokens of one address before it has to wait
	guessesTime  = time.Minute       // for so long
	guessesFrom  = 4096              // addresses that are counted each; the others are counted together
	others       = "all that remain" // no address
)

// guesses counts wrong tokens by address. It is safe for concurrent use.
type guesses struct {
	mu    sync.Mutex
	since time.Time
	wrong map[string]int
}

// wait is how long an address has to wait until its tokens are looked at again.
func (g *guesses) wait(from string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := guessesTime - time.Since(g.since)
	if left <= 0 || g.wrong[g.key(from)] < guessesLimit {
		return 0
	}
	return left
}

// add counts a wrong token.
func (g *guesses) add(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.since) >= guessesTime {
		g.since, g.wrong = time.Now(), map[string]int{}
	}
	g.wrong[g.key(from)]++
}

// key is what is counted together: an IPv4 address, or what one customer has of IPv6.
func (g *guesses) key(from string) string {
	key := from
	if p, err := netip.ParseAddrPort(from); err == nil {
		bits := 32
		address := p.Addr().Unmap().WithZone("")
		if address.Is6() {
			bits = 64
		}
		if prefix, err := address.Prefix(bits); err == nil {
			key = prefix.String()
		}
	}
	if _, known := g.wrong[key]; !known && len(g.wrong) >= guessesFrom {
		return others
	}
	return key
}
