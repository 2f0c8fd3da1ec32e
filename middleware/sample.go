package middleware

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// SampleConfig says which share of the events is taken.
type SampleConfig struct {
	// Rate is the share, 0..1. Both ends are exact.
	Rate float64
	// Target sets apart samples of the same events: two targets with one rate take different events. In [Sample] it defaults
	// to the name of the handler.
	Target string
	// Key is a path, as in conditions, whose value is sampled in place of the event's id, so that all events of one customer
	// or aggregate are taken or none is. An event without it is sampled by its id.
	Key string
	// Limits bound the path and the work of looking for it. The zero value means the defaults.
	Limits Limits
}

// Sampler is a compiled [SampleConfig]. It is immutable and safe for concurrent use.
type Sampler struct {
	threshold uint64 // of 2^53
	target    string
	key       *path
	work      int
}

// NewSampler compiles cfg. The error is an [InvalidError], its pointers below pointer.
func NewSampler(cfg SampleConfig, pointer string) (*Sampler, error) {
	var f faults
	if math.IsNaN(cfg.Rate) || cfg.Rate < 0 || cfg.Rate > 1 {
		f.add(pointer+"/sampling_rate", "is %v, must be between 0 and 1", cfg.Rate)
	}
	limits := cfg.Limits.withDefaults()
	s := &Sampler{threshold: uint64(cfg.Rate * (1 << 53)), target: cfg.Target, work: limits.Work}
	if cfg.Rate > 0 && s.threshold == 0 {
		s.threshold = 1
	}
	if cfg.Key != "" {
		p, err := parsePath(cfg.Key, limits.PathLength)
		if err != nil {
			f.add(pointer+"/sampling_key", "%s", err)
		}
		s.key = &p
	}
	return s, f.err()
}

// Hit tells whether e is in the sample. The same event always gets the same answer, in every process: the hash is part of
// what this project promises to keep. The error is permanent: the key is in a payload that is not JSON.
func (s *Sampler) Hit(e *Event) (bool, error) {
	if s.threshold == 0 || s.threshold == 1<<53 {
		return s.threshold != 0, nil
	}
	id := e.ID
	if s.key != nil {
		key, err := s.text(e)
		if err != nil {
			return false, err
		}
		if key != "" {
			id = key
		}
	}
	return sampleHash(s.target, id)>>11 < s.threshold, nil
}

// text returns the value of the key: the text of a string, the JSON of anything else, "" of nothing.
func (s *Sampler) text(e *Event) (string, error) {
	sub := subject{event: *e, work: s.work}
	if s.key.root == rootPayload && e.shared == nil {
		sub.doc = new(jsontext.Document)
	}
	v := sub.root(s.key)
	for _, seg := range s.key.segments {
		if v.kind == kindArray && seg.index >= 0 {
			v = sub.element(v, seg.index)
		} else {
			v = sub.field(v, seg.name)
		}
	}
	switch {
	case sub.bad:
		return "", Permanent(fmt.Errorf("%w at byte %d, and sampling_key looks into it", errNotJSON, sub.fault))
	case sub.work < costOfText(v):
		return "", Permanent(fmt.Errorf("sampling_key costs too much on a payload of %d bytes", len(e.Payload)))
	case v.kind == kindString:
		return v.str(), nil
	case v.kind == kindTime:
		return v.time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"), nil
	case v.nullish():
		return "", nil
	}
	return v.raw, nil
}

// sampleHash is FNV-1a of `sample NUL target NUL id`, with the bits mixed by the finalizer of SplitMix64. Its beginning sets
// it apart from the hash that puts events into slots.
func sampleHash(target, id string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, "sample\x00"+target+"\x00"+id)
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Sample hands a share of the messages to the handler: always the same ones, on every replica and in every retry.
//
// A message that is not taken is acknowledged; under the forwarder it is recorded as skipped. The error of Sample is an
// [InvalidError].
func Sample(cfg SampleConfig) (message.HandlerMiddleware, error) {
	s, err := NewSampler(cfg, "")
	if err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			own := *s
			if own.target == "" {
				own.target = message.HandlerNameFromCtx(msg.Context())
			}
			e := EventOf(msg)
			hit, err := own.Hit(&e)
			switch {
			case err != nil:
				return fail(msg, err)
			case hit:
				return next(msg)
			}
			return skip(msg, "sampling")
		}
	}, nil
}
