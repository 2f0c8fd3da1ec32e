package rules

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

// Sampler takes a share of the events. It is immutable and safe for concurrent use.
type Sampler struct {
	threshold uint64 // of 2^53
	target    string
	key       *path
	work      int
}

// Sampler compiles a sample of the share rate, 0 to 1, for target. When key, a path, is not empty, its value is sampled instead of the event's
// id. Faults are reported below at.
func (c *Compiler) Sampler(rate float64, target, key, at string) *Sampler {
	c.begin()
	if math.IsNaN(rate) || rate < 0 || rate > 1 {
		c.Add(at+"/sampling_rate", "is %v, must be between 0 and 1", rate)
	}
	s := &Sampler{threshold: uint64(rate * (1 << 53)), target: target, work: c.limits.Work}
	if rate > 0 && s.threshold == 0 {
		s.threshold = 1
	}
	if key != "" {
		p, err := parsePath(key, c.limits.PathLength)
		if err != nil {
			c.Add(at+"/sampling_key", "%s", err)
		}
		s.key = &p
	}
	return s
}

// For returns the sampler with another target when it has none.
func (m *Sampler) For(target string) *Sampler {
	if m.target != "" {
		return m
	}
	own := *m
	own.target = target
	return &own
}

// Hit reports whether s is in the sample. The answer for an event never changes, in any process or release: the hash is part of the
// compatibility promise. The error is permanent: the key needs a payload that is not JSON, or costs too much.
func (m *Sampler) Hit(s *Subject) (bool, error) {
	if m.threshold == 0 || m.threshold == 1<<53 {
		return m.threshold != 0, nil
	}
	id := s.event.ID
	if m.key != nil {
		key, err := m.text(s)
		if err != nil {
			return false, err
		}
		if key != "" {
			id = key
		}
	}
	return sampleHash(m.target, id)>>11 < m.threshold, nil
}

// text returns the value of the key: the text of a string, the JSON of anything else, "" of nothing.
func (m *Sampler) text(s *Subject) (string, error) {
	s.begin(m.work)
	v := s.root(m.key)
	for _, seg := range m.key.segments {
		if v.kind == kindArray && seg.index >= 0 {
			v = s.element(v, seg.index)
		} else {
			v = s.field(v, seg.name)
		}
	}
	switch {
	case s.bad:
		return "", notJSON(s.fault, "sampling_key looks into it")
	case s.work < costOfText(v):
		return "", fault.Permanent(fmt.Errorf("sampling_key costs too much on a payload of %d bytes", len(s.event.Payload)))
	case v.kind == kindString:
		return v.str(), nil
	case v.kind == kindTime:
		return v.time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"), nil
	case v.nullish():
		return "", nil
	}
	return v.raw, nil
}

// sampleHash is FNV-1a of `sample NUL target NUL id`, mixed by the finalizer of SplitMix64. The prefix makes it independent of the hash that
// assigns events to slots.
func sampleHash(target, id string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, "sample\x00"+target+"\x00"+id)
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
