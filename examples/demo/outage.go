package main

import (
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// outage is a publisher whose broker is down for a while, from the first message on.
type outage struct {
	message.Publisher
	length time.Duration

	mu    sync.Mutex
	begun time.Time
}

var errDown = errors.New("the broker is down")

// Publish fails until the outage is over.
func (o *outage) Publish(topic string, msgs ...*message.Message) error {
	o.mu.Lock()
	if o.begun.IsZero() {
		o.begun = time.Now()
	}
	o.mu.Unlock()
	if o.down() {
		return errDown
	}
	return o.Publisher.Publish(topic, msgs...)
}

func (o *outage) down() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.begun.IsZero() && time.Since(o.begun) < o.length
}
