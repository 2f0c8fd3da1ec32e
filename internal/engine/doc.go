// Package engine reads what is to be delivered, keeps it in order, and writes what became of it. It is one member of a group of forwarders that
// share a database. It knows no routes and no publishers: a [Deliverer] turns each [Unit] into a [Verdict].
//
// # Where data goes
//
//	intake ──▶ lanes ──▶ worker ──▶ Deliverer ──▶ Verdict ──▶ settler ──▶ database
//	  ▲          ▲                     │ asks a Permit             │
//	  └──────────┴── leases: slots come and go                     └──▶ what a key waited for goes on
//
// Each part has its own state:
//
//   - intake decides what to read and reads it: events that are new, deliveries that are due, and held ones that may go on.
//   - lanes is the order in memory: units of one ordering key run one after the other.
//   - workers take units that may run and call the Deliverer, which asks a [Permit] before each publish.
//   - settler writes verdicts, many at once, and tells lanes and intake what has been written.
//   - leases is the membership in the group: it renews the lease and moves slots towards a fair share.
//
// Intake, settler and leases have a goroutine each, which runs one statement at a time. Engine.mu guards all that they share; no statement and no
// delivery runs under it.
//
// # The states of a delivery
//
// A row of the outbox is an event. For each target of it there is a delivery, which has a row of its own only once it outlasts its first pass:
//
//	state      row                      meaning                                                    next
//	pending    outbox_pending           the event had no first pass; no target has a row           delivered, or any state below
//	waiting    outbox_deliveries, due   it is tried when its time comes                            delivered, waiting, held, dead, skipped
//	held       outbox_deliveries        an earlier one of its key and target is not through        waiting (made due), delivered, dead, parked
//	parked     outbox_deliveries, held  its destination takes nothing now; no attempt is used      as waiting, when the destination opens
//	dead       outbox_deliveries        it gave up; people see it                                  waiting (replayed), none (discarded)
//	skipped    outbox_deliveries        nobody wants it; kept for people to see                    none
//	delivered  no row                   it is finished
//
// An event is finished when it is not pending and none of its deliveries is waiting, held or dead.
//
// A delivery is through when it is delivered, or has left the order of its key: skipped, delayed, or dead without on_dead: hold_key. Until then it
// holds back later events of its key, for its target only. A delayed one never comes back into order.
//
// # Who may change which
//
//   - The owner of a slot gives its events their first pass, and writes that a delivery failed: in a transaction that locks the row of the lease and
//     matches owner and epoch. What a former owner writes about failures is refused (Settled.Lost).
//   - Anybody may write that a delivery was delivered, for that is true whoever says so.
//   - Operators replay dead deliveries and discard them; whoever deletes an event deletes its deliveries with it.
//
// # Invariants
//
// The protocol test (forwarder/protocol_test.go) checks these while statements are late, fail or take effect without an answer, clocks are set and
// stop, and processes pause, die and come back:
//
//  1. Only the owner of a slot starts a publish, under its own epoch, and only while the lease outlasts [Config.PublishTimeout], by the monotonic and
//     the wall clock both.
//  2. Two engines do not publish events of one slot at the same time, unless a publish lasts longer than PublishTimeout.
//  3. Of one key and target one event at most is in flight, and it starts only when every earlier one is through: in the database, or as this
//     engine knows of its own unwritten verdicts.
//  4. What has ended is not opened again, but by a replay.
//  5. An attempt is counted only for a publish that failed, by the owner under whose epoch it was made.
//  6. While verdicts cannot be written, no publish starts. So an outage of the database repeats no more than what was in flight.
//  7. When all is well again, everything has arrived, is dead or was discarded, and a stopped engine owns no slot.
//
// That no event is missed, though transactions commit out of order, is the rule of writers' locks (see marks) with sweeps behind it (see sweeper); a
// test of its own checks that rule.
//
// # What a scan may pass by
//
// Rows of parked deliveries have no time at which they are due. When something opens, a scan reads the held rows of its scope in the order of their
// numbers, and passes by what is still blocked. A later delivery of a key must not be taken after an earlier one was passed by. So a scan begins
// anew when a gate has moved since the scan first met it, and when anything else opens.
package engine
