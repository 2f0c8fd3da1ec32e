package faults

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is what a fault does.
type Kind string

// Faults.
const (
	KillOne         Kind = "kill -9 of a forwarder"
	KillAll         Kind = "kill -9 of all forwarders"
	Pause           Kind = "SIGSTOP of a forwarder, longer than its lease"
	Stop            Kind = "SIGTERM of a forwarder"
	RestartPostgres Kind = "PostgreSQL: immediate restart"
	RestartKafka    Kind = "Kafka: stop and start"
	RestartRedis    Kind = "Redis: stop and start"
	CutPostgres     Kind = "PostgreSQL: connections cut"
	CutKafka        Kind = "Kafka: connections cut"
	CutRedis        Kind = "Redis: connections cut"
	SlowPostgres    Kind = "PostgreSQL: slow connections"
	SlowKafka       Kind = "Kafka: slow connections"
	SlowRedis       Kind = "Redis: slow connections"
	ResetPostgres   Kind = "PostgreSQL: connections reset"
	ResetKafka      Kind = "Kafka: connections reset"
	ResetRedis      Kind = "Redis: connections reset"
	HangPostgres    Kind = "PostgreSQL: connections hang"
	HangKafka       Kind = "Kafka: connections hang"
	HangRedis       Kind = "Redis: connections hang"
)

// Kinds are all faults.
var Kinds = []Kind{
	KillOne, KillAll, Pause, Stop, RestartPostgres, RestartKafka, RestartRedis, CutPostgres, CutKafka, CutRedis, SlowPostgres, SlowKafka,
	SlowRedis, ResetPostgres, ResetKafka, ResetRedis, HangPostgres, HangKafka, HangRedis,
}

// touches is what a fault lays hands on; two at a time must differ in it.
func (k Kind) touches() string {
	switch k {
	case KillOne, KillAll, Pause, Stop:
		return "forwarders"
	case RestartPostgres, CutPostgres, SlowPostgres, ResetPostgres, HangPostgres:
		return "postgres"
	case RestartKafka, CutKafka, SlowKafka, ResetKafka, HangKafka:
		return "kafka"
	}
	return "redis"
}

// Fault is one fault of a schedule.
type Fault struct {
	Kind    Kind
	Victims []int         // forwarders that it hits; a fault of a whole server has none
	For     time.Duration // from when it is applied to when healing starts
	Hard    bool          // a server is killed, not asked to stop
	Delay   time.Duration // of slow connections
}

func (f Fault) String() string {
	text := fmt.Sprintf("%s, %s", f.Kind, f.For.Round(time.Millisecond))
	if len(f.Victims) > 0 {
		text += fmt.Sprintf(", forwarders %v", f.Victims)
	}
	if f.Hard {
		text += ", SIGKILL"
	}
	if f.Delay > 0 {
		text += ", delay " + f.Delay.String()
	}
	return text
}

// Step is a calm and then one fault, or two at once.
type Step struct {
	Calm   time.Duration
	Faults []Fault
}

// Steps is the endless schedule of a seed: rounds of all kinds in random order, so that even a short run meets many, every fourth together
// with another.
func Steps(seed uint64, kinds []Kind, forwarders int, lease time.Duration) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		between := func(from, to time.Duration) time.Duration { return from + time.Duration(rnd.Int64N(int64(to-from)+1)) }
		fault := func(k Kind) Fault {
			f := Fault{Kind: k, For: between(time.Second, 4*time.Second)}
			all := rnd.IntN(2) == 0
			one := rnd.IntN(forwarders)
			f.Hard = rnd.IntN(2) == 0 && (k == RestartKafka || k == RestartRedis)
			switch k {
			case Pause:
				f.For = lease + between(time.Second, 3*time.Second)
				f.Victims = []int{one}
			case KillOne, Stop:
				f.For = between(0, 2*time.Second)
				f.Victims = []int{one}
			case KillAll:
				f.For = between(0, 2*time.Second)
				all = true
			case HangPostgres:
				f.For = between(time.Second, lease+2*time.Second)
			case SlowPostgres, SlowKafka, SlowRedis:
				f.Delay = between(20*time.Millisecond, 120*time.Millisecond).Round(time.Millisecond)
			}
			switch k {
			case KillAll, CutPostgres, SlowPostgres, ResetPostgres, HangPostgres, CutRedis, SlowRedis, ResetRedis, HangRedis:
				if f.Victims = []int{one}; all {
					f.Victims = nil
					for i := range forwarders {
						f.Victims = append(f.Victims, i)
					}
				}
			}
			return f
		}
		for {
			round := slices.Clone(kinds)
			rnd.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
			for _, k := range round {
				s := Step{Calm: between(2*time.Second, 5*time.Second), Faults: []Fault{fault(k)}}
				if other := kinds[rnd.IntN(len(kinds))]; rnd.IntN(4) == 0 && other.touches() != k.touches() {
					s.Faults = append(s.Faults, fault(other))
				}
				if !yield(s) {
					return
				}
			}
		}
	}
}
