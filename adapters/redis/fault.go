package redis

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// state are the answers that tell the state of the server or of our account, by their first word.
var state = map[string]bool{
	"READONLY":    true, // a replica, after a fail-over for instance
	"OOM":         true, // maxmemory, and nothing may be evicted
	"MISCONF":     true, // it cannot save to disk
	"LOADING":     true, // it is starting
	"BUSY":        true, // a script runs
	"UNKILLABLE":  true,
	"CLUSTERDOWN": true,
	"TRYAGAIN":    true, // slots are being moved
	"MASTERDOWN":  true,
	"NOREPLICAS":  true, // min-replicas-to-write
	"NOAUTH":      true,
	"WRONGPASS":   true,
	"DENIED":      true, // protected mode
	"REDIRECT":    true, // Valkey, while it fails over
	"IOERR":       true,
	"INPROG":      true, // a fail-over is in progress
}

// texts are answers of the general kind that tell the same.
var texts = []string{
	"ERR max number of clients", // and, of a cluster, "max number of clients + cluster connections"
	"ERR invalid password", "ERR AUTH <password> called without any password configured",
	"ERR Client sent AUTH, but no password is set",
	"ERR DB index is out of range", "ERR SELECT is not allowed",
	"ERR unknown command",         // older than streams, or it was renamed
	"ERR operation not permitted", // the NOAUTH of old servers
	// Proxies and hosted servers.
	"ERR max daily request limit exceeded", "ERR max request", "ERR DB capacity quota exceeded", "ERR max concurrent connections exceeded",
	"ERR Connection refused", "no upstream host", "upstream failure",
}

// blame marks err by whose fault it is. What it does not know, such as WRONGTYPE, stays as it is.
func blame(err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) {
		if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) {
			return adapters.Unavailable(err)
		}
		return err
	}
	text := answer.Error()
	word, rest, _ := strings.Cut(text, " ")
	switch {
	case tooLarge(answer):
		return adapters.Permanent(err)
	case word == "NOPERM" && strings.Contains(rest, " key"):
		return adapters.UnavailableTopic(err)
	case word == "MOVED", word == "ASK": // the stream is on another node, and the client is none for clusters
		return adapters.UnavailableTopic(err)
	case word == "NOPERM", state[word]:
		return adapters.Unavailable(err)
	}
	for _, known := range texts {
		if strings.HasPrefix(text, known) {
			return adapters.Unavailable(err)
		}
	}
	return err
}
