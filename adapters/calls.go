package adapters

import "sync"

// Calls counts the Publish calls of an adapter that are in progress, so that its Close can wait for them. The zero value is ready for use. It is safe for
// concurrent use.
type Calls struct {
	mu         sync.Mutex
	closed     bool
	inProgress sync.WaitGroup
	release    sync.Once
	err        error
}

// Begin begins a call, which must be ended by End. It returns [ErrClosed] after Close.
func (c *Calls) Begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.inProgress.Add(1)
	return nil
}

// End ends a call.
func (c *Calls) End() { c.inProgress.Done() }

// Close makes Begin fail, waits for the calls in progress, and calls release. It may be called again: release runs once, and its error is returned each
// time.
func (c *Calls) Close(release func() error) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.release.Do(func() {
		c.inProgress.Wait()
		c.err = release()
	})
	return c.err
}
