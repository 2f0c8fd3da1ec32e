package engine

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"
)

func TestSweepsOfManyDeletedRowsGoInPortions(t *testing.T) {
	now := time.Unix(0, 0)
	slots := make([]int, 64)
	for i := range slots {
		slots[i] = i
	}
	s := newSweeper(time.Minute, now)
	require.Empty(t, s.due(now.Add(59*time.Second), slots))

	// sweep does what is due next, with so much time a slot, and returns which slots and how long it took.
	sweep := func(cost time.Duration) ([]int, time.Duration) {
		now = s.next
		swept := s.due(now, slots)
		require.NotEmpty(t, swept)
		took := cost * time.Duration(len(swept))
		s.took(took, len(swept), len(slots))
		s.done(now, took, swept, slots)
		return swept, took
	}
	swept, _ := sweep(10 * time.Microsecond)
	require.Equal(t, slots, swept, "all at once while that is cheap")
	require.Equal(t, now.Add(time.Minute), s.next)

	// Beside a transaction that is held open each slot comes to cost 5 ms: after some sweeps none takes more than a moment, and a round still comes by every slot.
	for range 8 {
		sweep(5 * time.Millisecond)
	}
	for !s.begins() {
		sweep(5 * time.Millisecond)
	}
	begun, seen := now, []int{}
	var busy time.Duration
	for len(seen) == 0 || !s.begins() {
		part, took := sweep(5 * time.Millisecond)
		require.LessOrEqual(t, took, sweepMoment)
		seen, busy = append(seen, part...), busy+took
	}
	require.Equal(t, slots, seen)
	require.LessOrEqual(t, busy*sweepShare, s.next.Sub(begun)+time.Second)

	// When the rows are gone, all are swept at once again.
	for range 16 {
		sweep(10 * time.Microsecond)
	}
	for !s.begins() {
		sweep(10 * time.Microsecond)
	}
	swept, _ = sweep(10 * time.Microsecond)
	require.Equal(t, slots, swept)

	// A slot can be too expensive by itself, and slots come and go.
	for range 10 {
		swept, _ = sweep(time.Second)
	}
	require.Len(t, swept, 1)
	require.Equal(t, now.Add(sweepShare*time.Second), s.next)
	slots = []int{3}
	swept, _ = sweep(time.Second)
	require.Equal(t, slots, swept)
	require.True(t, s.begins())
	require.Empty(t, s.due(s.next, nil))
}

// Slots that must be read from the start are read a few at a time, and none is forgotten; one that drains keeps nobody busy.
func TestFewSlotsAreReadFromTheStartAtOnce(t *testing.T) {
	e := New(nil, Config{}, nil, nil, watermill.NopLogger{})
	slots := e.lanes.slots
	for n := range 5 {
		slots[n] = &slot{cursor: cursor{fresh: true}}
	}
	slots[4].fresh, slots[4].next = false, 100
	read := map[int]int{}
	for looks := 1; e.intake.unread(); looks++ {
		require.LessOrEqual(t, looks, 4)
		list, whole := e.intake.ranges(90, 90, 1000, 1, nil)
		require.Equal(t, 1, whole)
		for _, one := range list {
			if one.Slot == 4 {
				require.EqualValues(t, 90, one.After)
				continue
			}
			if one.After == 0 {
				read[one.Slot]++
				slots[one.Slot].next = 90
			}
		}
	}
	require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1, 3: 1}, read)

	slots[0].draining, slots[0].more = true, true
	require.False(t, e.intake.unread())
}
