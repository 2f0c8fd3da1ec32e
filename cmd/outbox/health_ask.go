package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// healthCommand is the health check of containers without other programs.
type healthCommand struct {
	MetricsPort string `setting:""`
	Live        bool   `help:"Ask whether it is alive rather than ready."`
	Timeout     string `default:"5s" placeholder:"DURATION" help:"How long to wait for the answer (default 5s)."`
}

// Run asks a forwarder for its health and prints one line. It fails unless the forwarder is healthy.
func (c *healthCommand) Run(s *session) error {
	timeout := s.faults.Duration("--timeout", c.Timeout, time.Millisecond)
	address := s.config.MetricsAddress()
	if s.config.MetricsPort == "" {
		s.faults.Add("no forwarder to ask: set --metrics-port or METRICS_PORT as for outbox run, or metrics_port in the file of --config")
	}
	if strings.HasSuffix(address, ":0") {
		s.faults.Add("%s: 0 gives the forwarder an unknown port; set a port", s.place("metrics_port"))
	}
	if err := s.faults.Err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background(), nil)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	page, good := "/readyz", "ready"
	if c.Live {
		page, good = "/healthz", "alive"
	}
	status, body, err := ask(ctx, "http://"+address+page)
	switch {
	case os.IsTimeout(err):
		return fmt.Errorf("not %s: no answer from %s within %s", good, address, timeout)
	case err != nil:
		return fmt.Errorf("not %s: cannot reach %s: %w; is outbox run running with the same METRICS_PORT?", good, address, err)
	case status == http.StatusOK:
		_, err := fmt.Fprintln(s.stdout, good)
		return err
	case status == http.StatusServiceUnavailable:
		return fmt.Errorf("not %s: %s", good, lacking(body))
	}
	return fmt.Errorf("not %s: %s answers %s with %d; is this a forwarder's METRICS_PORT?", good, address, page, status)
}

// ask gets a page.
func ask(ctx context.Context, url string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // without a proxy, whatever the environment says
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		var network *net.OpError
		if errors.As(err, &network) && !network.Timeout() {
			err = network.Err
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, body, err
}

// lacking describes the checks of /readyz that fail.
func lacking(body []byte) string {
	const unsaid = "no reason given"
	var answer struct{ Checks map[string]string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return unsaid
	}
	var list []string
	for name, said := range answer.Checks {
		if said != "ok" {
			list = append(list, printable(name+" "+said))
		}
	}
	if len(list) == 0 {
		return unsaid
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
