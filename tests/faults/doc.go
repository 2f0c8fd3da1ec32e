// Package faults is the fault audit: it runs a workload and several forwarders on real servers, breaks things in a random order that a
// seed repeats, and lets a checker decide from what the brokers hold at the end whether the outbox kept its promises.
//
//   - [Servers] are a PostgreSQL, a Kafka and a Redis of the audit's own, so that they may be killed.
//   - The workload (role "workload") writes business rows and events; what was committed is what the business rows say.
//   - Forwarders (role "forwarder") are processes of their own, behind a [Relay] each to database and Redis.
//   - [Steps] is the schedule of a seed; the nemesis carries it out and notes a [Window] for each fault.
//   - [Check] knows nothing of the outbox's code but the names of three headers.
//
// [Run] puts them together. docs/fault-audit.md says what is checked and shows results.
package faults
