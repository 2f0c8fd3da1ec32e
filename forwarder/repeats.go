package forwarder

import "sync"

// repeats remembers events that a Router of the application got and that are to be read again as on their first pass. A middleware that remembers
// messages takes such an event for a duplicate, and what it takes then was not delivered.
type repeats struct {
	mu   sync.Mutex
	seqs map[int64]struct{}
}

// maxRepeats bounds the memory. Beyond it, arbitrary ones are forgotten.
const maxRepeats = 1 << 16

// note notes the number of such an event.
func (m *repeats) note(seq int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seqs == nil {
		m.seqs = map[int64]struct{}{}
	}
	if len(m.seqs) >= maxRepeats {
		for other := range m.seqs {
			delete(m.seqs, other)
			break
		}
	}
	m.seqs[seq] = struct{}{}
}

// take reports whether seq was noted, and forgets it.
func (m *repeats) take(seq int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, noted := m.seqs[seq]
	delete(m.seqs, seq)
	return noted
}
