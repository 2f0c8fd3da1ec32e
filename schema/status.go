package schema

// Status is the status of an event in the view outbox_events. It is derived, never stored.
type Status string

// The statuses of an event.
const (
	StatusNew     Status = "NEW"     // no attempt has failed
	StatusFailed  Status = "FAILED"  // something failed and will be tried again
	StatusDead    Status = "DEAD"    // only deliveries that gave up are left
	StatusSkipped Status = "SKIPPED" // no target wanted it
	StatusSent    Status = "SENT"    // nothing is left to do
)
