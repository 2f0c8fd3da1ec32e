package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	a1, a2, a3 := order{ID: "a1", Customer: "a", Number: 1}, order{ID: "a2", Customer: "a", Number: 2}, order{ID: "a3", Customer: "a", Number: 3}
	b1 := order{ID: "b1", Customer: "b", Number: 1}
	rolledBack := order{ID: "r", Customer: "a", Number: 2}
	expected := []order{b1, a3, a1, a2}

	cases := map[string]struct {
		received []order
		want     result
	}{
		"all in order":          {[]order{a1, a2, b1, a3}, result{}},
		"customers interleaved": {[]order{b1, a1, a2, a3}, result{}},
		"nothing":               {nil, result{lost: 4}},
		"one lost":              {[]order{a1, a3, b1}, result{lost: 1}},
		"one twice":             {[]order{a1, a2, a2, a3, b1}, result{duplicated: 1}},
		"one twice, late":       {[]order{a1, a2, a3, b1, a1}, result{duplicated: 1}},
		"two swapped":           {[]order{a1, a3, a2, b1}, result{outOfOrder: 1}},
		"all reversed":          {[]order{a3, a2, a1, b1}, result{outOfOrder: 2}},
		"rolled back":           {[]order{a1, rolledBack, a2, a3, b1}, result{duplicated: 1}},
		"everything at once":    {[]order{a2, a1, a1, b1}, result{lost: 1, duplicated: 1, outOfOrder: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.expected, c.want.received = len(expected), len(c.received)
			require.Equal(t, c.want, check(expected, c.received))
		})
	}
}

func TestOnlyAFlawlessReportIsOK(t *testing.T) {
	t.Parallel()
	require.Zero(t, exitStatus(&report{Dead: 1}))
	for name, r := range map[string]report{
		"lost": {Dead: 1, Lost: 1}, "duplicated": {Dead: 1, Duplicated: 1}, "out of order": {Dead: 1, OutOfOrder: 1},
		"skipped": {Dead: 1, Skipped: 1}, "unfinished": {Dead: 1, unfinished: 1}, "one more dead": {Dead: 2}, "poisoned one not dead": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, 1, exitStatus(&r))
		})
	}
}
