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

// AnyHost in [Config.Hosts] accepts any host name.
const AnyHost = "*"

// hosts are the accepted host names.
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

// CheckHost returns an error if name is not valid in [Config.Hosts]. It does not resolve the name.
func CheckHost(name string) error {
	if name != AnyHost && (name == "" || strings.ContainsAny(name, "/*: ")) {
		return fmt.Errorf("%q is not a host name; want one without scheme and port, or %s", name, AnyHost)
	}
	return nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// known reports whether a Host header is accepted. A web site can point its own name at this machine and read the page as its own (DNS rebinding). It
// cannot do so with an IP address or localhost.
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

// guard refuses requests by unknown host names.
func (h hosts) guard(next http.Handler, log watermill.LoggerAdapter) http.Handler {
	refused := seldom.New(logEvery)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.known(r.Host) {
			if more, due := refused.Due(); due {
				host := r.Host[:min(len(r.Host), maxHostName)]
				log.Info("Refused a request by a host name that is not configured", watermill.LogFields{"host": host, "from": r.RemoteAddr, "more": more})
			}
			send(w, http.StatusForbidden, answer{Error: "unknown host name; add it to statuspage.Config.Hosts, or to status_hosts of outbox run"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
