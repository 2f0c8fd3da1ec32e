package statuspage

import (
	"html/template"
	"math"
	"strconv"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

var functions = template.FuncMap{
	"number": number, "count": count, "age": age, "clock": clock, "rate": rate,
	"orNone": orNone, "pausedBy": pausedBy, "percent": func(p monitor.Pool) int { return int(math.Round(p.Use() * 100)) },
	"destination": func() admin.Kind { return admin.Destination }, "tenant": func() admin.Kind { return admin.Tenant },
	"maxReason": func() int { return MaxReason },
}

// number formats n with separators for thousands.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// count formats a number of deliveries or events in a state, with + if the state has more than was counted, which its span tells.
func count(n, span int64) string {
	if span > 0 {
		return number(n) + "+"
	}
	return number(n)
}

// age formats a number of seconds in its largest unit.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d <= 0:
		return "–"
	case d < time.Second:
		return "< 1 s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func rate(v float64) string {
	if v < 10 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return number(int64(math.Round(v)))
}

func orNone(name string) string {
	if name == "" {
		return "(none)"
	}
	return name
}

// pausedBy returns the pause of a name, or nil.
func pausedBy(list []admin.Pause, kind admin.Kind, name string) *admin.Pause {
	for i, c := range list {
		if c.Kind == kind && c.Name == name {
			return &list[i]
		}
	}
	return nil
}
