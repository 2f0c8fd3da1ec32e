package statuspage

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/seldom"
)

// AnyHost among [Config.Hosts] lets the page answer by any name.
const AnyHost = "*"

// hosts are the names that the page answers by.
type hosts map[string]bool

func newHosts(names []string) (hosts, error) {
	list := hosts{}
	for _, name := range names {
		if err := CheckHost(name); err != nil {
			return nil, fmt.Errorf("status page: Hosts: %w", err)
		}
		list[canonical(name)] = true
	}
	return list, nil
}

// CheckHost returns what is wrong with a name for [Config.Hosts], nil for nothing. It looks at how the name is written only.
func CheckHost(name string) error {
	if name != AnyHost && (name == "" || strings.ContainsAny(name, "/*: ")) {
		return fmt.Errorf("%q is no host name; want one without scheme and port, or %s", name, AnyHost)
	}
	return nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// known tells whether the page answers to a Host header. A web site can make its own name one of this machine, and then reads what is here as its own
// (DNS rebinding). It cannot do so with an address in digits, nor with localhost.
func (h hosts) known(header string) bool {
	name := header
	if host, _, err := net.SplitHostPort(header); err == nil {
		name = host
	}
	name = canonical(name)
	if h[AnyHost] || h[name] || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil
}

const maxHostName = 253 // of DNS

// guard refuses requests that come by a name of somebody else. Anybody can send many of them.
func (h hosts) guard(next http.Handler, log watermill.LoggerAdapter) http.Handler {
	refused := seldom.New(logEvery)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.known(r.Host) {
			if more, due := refused.Due(); due {
				host := r.Host[:min(len(r.Host), maxHostName)]
				log.Info("Refused a request by a host name that is not configured", watermill.LogFields{"host": host, "from": r.RemoteAddr, "more": more})
			}
			send(w, http.StatusForbidden, answer{Error: "this page does not answer by this host name; statuspage.Config.Hosts, or status_hosts of outbox run, lists others"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
