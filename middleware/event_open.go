package middleware

import (
	"sync"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// opened is a payload that is read once for all who ask for it.
type opened struct {
	doc   jsontext.Document
	done  bool
	fault int
}

var openedPool = sync.Pool{New: func() any { return &opened{} }}

// Open makes the matchers, samplers and transformers that e is given to from now on share what they find out about its payload: it is
// parsed once, when the first of them looks into it. Call [Event.Close] afterwards. Between the two, e is not safe for concurrent use and
// its payload must stay as it is.
func (e *Event) Open() {
	if e.shared == nil {
		e.shared = openedPool.Get().(*opened)
	}
}

// Close ends what [Event.Open] began.
func (e *Event) Close() {
	if o := e.shared; o != nil {
		e.shared = nil
		o.doc.Clear()
		o.done = false
		openedPool.Put(o)
	}
}

// read returns the document of payload and where it is no JSON, or -1.
func (o *opened) read(payload []byte) (*jsontext.Document, int) {
	if !o.done {
		o.done, o.fault = true, readPayload(&o.doc, payload)
	}
	return &o.doc, o.fault
}

// readPayload reads payload into doc. An empty payload is missing, which is no fault.
func readPayload(doc *jsontext.Document, payload []byte) (fault int) {
	text := view(payload)
	if jsontext.Space(text) == len(text) {
		doc.Clear()
		return -1
	}
	return doc.Read(text)
}
