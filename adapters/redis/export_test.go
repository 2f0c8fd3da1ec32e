package redis

// Waiting returns how many entries wait for a pipeline.
func (p *Publisher) Waiting() int {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	return len(p.queue.waiting)
}
