package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultTimeout is the default of [Config].
const DefaultTimeout = 10 * time.Second

// Config of a [Publisher].
type Config struct {
	// URL is what messages are posted to, http or https, with its query as it is. A user and password in it are sent as
	// basic authentication. Required.
	URL string
	// FixedURL posts to URL itself. By default the topic is added to its path.
	FixedURL bool
	// Timeout bounds one message, from the connection to the end of the answer. Defaults to [DefaultTimeout].
	Timeout time.Duration
	// ContentType of every request. By default it is application/json when the payload is JSON, else
	// application/octet-stream.
	ContentType string
	// Header is sent with every request and wins over what the publisher sets itself.
	Header http.Header
	// Client sends the requests. It stays the caller's: Close does not touch its connections. Its CheckRedirect is not
	// used. By default the publisher has a client of its own, with up to 64 connections.
	Client *http.Client

	owned bool // Close closes the client's idle connections
}

// validate sets defaults and returns the parsed URL, or all faults. It never quotes the URL, which may hold secrets.
func (c *Config) validate() (*url.URL, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Client == nil {
		c.Client, c.owned = &http.Client{Transport: newTransport()}, true
	}
	var faults []error
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Contains(u.Host, ",") {
		faults = append(faults, errors.New("URL must be http or https, with one host"))
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("Timeout is negative"))
	}
	if c.ContentType != "" && !plain(c.ContentType) {
		faults = append(faults, errors.New("content type has characters that a header cannot have"))
	}
	for name, values := range c.Header {
		if !token(name) {
			faults = append(faults, fmt.Errorf("%q cannot be the name of a header", name))
		}
		for _, value := range values {
			if value != "" && !plain(value) {
				faults = append(faults, fmt.Errorf("value of header %s has characters that a header cannot have", name))
			}
		}
	}
	return u, errors.Join(faults...)
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxConnsPerHost = 64
	t.MaxIdleConnsPerHost = 64 // 2 by default: concurrent messages would connect anew each time
	return t
}
