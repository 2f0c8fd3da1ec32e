package store

import "github.com/bento-outbox/watermill-outbox/internal/dialect"

// queries are the statements of a dialect, rendered with the names of the tables. Parameters are the same in every dialect.
type queries struct {
	missing       string // -> one of the tables that is not there
	currentSchema string // name of the schema that unqualified names resolve to; empty when there is none
	obstacle      string // -> what makes the database answer with less than there is; empty where nothing does

	lockTx string // first statement of a settling transaction, empty where none is needed

	ask     string // -> last seq, server identity
	writers string // -> name, transaction id or 0; empty where writers cannot commit out of order
	read    string // slots, afters, limits, inline bytes, tenants, topics, with writers also late xids and afters -> slot, seq, event or NULLs
	payload string // seq -> payload
	events  string // seqs, inline -> slot, seq, event
	due     string // slots, limit, inline bytes, tenants, topics, length of a run -> delivery, event
	held    string // slots, afters, limit, inline bytes, tenants, topics, destination or publisher ://, whether bare destinations are its -> delivery, event
	nextDue string // slots -> seconds until the next due, NULL when there is none
	blocked string // slots -> slot, target, key_hash
	pending string // tenants, topics -> whether any event is pending or any delivery is due

	done      string // slots, seqs: delete pending
	passed    string // the same -> seq of those that were there
	guard     string // slots: one settling transaction after the other; empty where they are anyway
	fence     string // group, slots, epochs -> slots that are still owned in these epochs
	open      string // json: insert deliveries
	hold      string // json: insert deliveries behind others of their key
	ended     string // seqs, targets: delete deliveries
	failed    string // json: update deliveries
	cancelled string // json -> keys of the open deliveries of events
	cancel    string // json: what is open of an event is dead
	drop      string // json: what is open of an event is over
	release   string // json: make the first of each key due
	still     string // json -> keys that deliveries still hold back

	join      string // id, group, filter, seconds
	renew     string // id, seconds -> number of slots owned
	leave     string // id
	reap      string // group: delete expired
	peers     string // group -> id, filter, of the living
	others    string // -> group, filter, of the living
	seedSlots string // group, slots
	owned     string // owner -> slot, epoch
	free      string // group -> number of slots without owner
	acquire   string // group, owner, limit -> slot, epoch
	unown     string // owner, slots

	dead    string // seqs, tenant, topic, target, destination, error, since, until, after seq, after target, limit -> dead letter
	replay  string // json: dead deliveries are due
	discard string // json: dead deliveries are skipped

	controls     string // -> kind, name, reason, since
	setControl   string // kind, name, reason
	unsetControl string // kind, name

	indexes      string // -> name, table, valid, bytes, scans, bloat
	concurrently string // how an index is created beside writers

	clean     cleanQueries
	glance    glanceQueries
	partition partitionQueries
	diagnose  diagnoseQueries

	backlog backlogQueries
}

// eventColumns are what an [Event] is scanned from. All are NULL when a filter left the whole event out.
const eventColumns = `e.id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.topic, e.occurred_at, e.schema_id, e.schema_version,
	CAST(e.event_metadata AS text), e.routing_key, CAST(e.routing_config AS text), e.routing_version, e.ordering_key, e.created_at, `

func queriesOf(d dialect.Dialect, t dialect.Tables) queries {
	if d == dialect.SQLite {
		return sqlite{}.queries(t)
	}
	return postgres{}.queries(t)
}
