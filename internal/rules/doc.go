// Package rules decides about an event by its attributes and its payload: conditions and `when` (a [Matcher]), samples (a [Sampler]) and
// transforms (a [Transformer]). It has no clock, no I/O and no state but pools.
//
// A [Compiler] compiles these and collects the faults of a config. What it makes is immutable. A [Subject] is one event that they look at; its
// payload is parsed once for all of them.
//
// # Work
//
// Authors of conditions need not be trusted: what a part may cost on one event is counted in bytes walked over, and steps that take as long. Each
// part begins with what its [Limits] allow, pays before it does anything whose cost depends on the payload, and fails when nothing is left. The
// same event always costs the same.
package rules
