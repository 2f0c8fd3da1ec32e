package forwarder

// Wake makes the forwarder look for events at once, however long it would sleep. An application that publishes and forwards in one process may call it
// after a commit. It costs nothing, and calling it too often is harmless.
func (f *Forwarder) Wake() { f.subscriber.Wake() }

// Wake makes the subscriber look for events at once, however long it would sleep. See [Forwarder.Wake].
func (s *Subscriber) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readers {
		r.wakePoll.give()
	}
}
