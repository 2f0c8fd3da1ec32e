package forwarder

import "time"

// Defaults returns what the zero values of a SubscriberConfig mean, in a config that works.
func Defaults() SubscriberConfig {
	c, err := SubscriberConfig{}.withDefaults()
	if err != nil {
		panic(err) // the defaults contradict each other
	}
	c.Hooks = Hooks{}
	return c
}

// HighThroughput returns settings for a backlog that has to go: reads and settles are large and few, and an idle forwarder asks the database
// at most twice a second. A single event waits up to half a second. Set the other fields as you like.
func HighThroughput() SubscriberConfig {
	return SubscriberConfig{
		BatchSize:     5000,
		MaxConcurrent: 5000,
		SettleBatch:   5000,
		SettleDelay:   10 * time.Millisecond,
		SleepBusy:     5 * time.Millisecond,
		SleepIdle:     50 * time.Millisecond,
		SleepIdleMax:  500 * time.Millisecond,
	}
}

// LowLatency returns settings for events that have to be there at once: an idle forwarder asks the database up to 500 times a second, and an
// outcome waits for no other. Set the other fields as you like.
func LowLatency() SubscriberConfig {
	return SubscriberConfig{
		BatchSize:     200,
		MaxConcurrent: 1000,
		SettleBatch:   200,
		SettleDelay:   time.Millisecond,
		SleepBusy:     time.Millisecond,
		SleepIdle:     2 * time.Millisecond,
		SleepIdleMax:  2 * time.Millisecond,
	}
}
