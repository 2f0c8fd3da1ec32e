// Package admin is for operators' programs: it lists, replays and discards dead letters, pauses and resumes deliveries, and removes finished
// events. The command outbox and the status page are made with it.
//
// A [Client] works on the tables from anywhere; no forwarder has to run in the process. Forwarders see what it changes within a second.
package admin
