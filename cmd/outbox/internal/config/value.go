package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Off is the value of a number or a duration that is switched off, as in the Go packages, where zero means the default. Its text is "off".
const (
	Off     = -1
	offText = "off"
)

// parse sets into to the value that items spell, one for each time that it was given. The error quotes no secret. Of a map, what is right is set
// in spite of an error.
func (s Setting) parse(into reflect.Value, items []string) error {
	switch s.kind {
	case listType:
		list, err := parseList(items)
		into.Set(reflect.ValueOf(list))
		return err
	case mapType:
		named, err := s.parseNamed(items)
		into.Set(reflect.ValueOf(named))
		return err
	}
	if len(items) != 1 {
		return errors.New("want one value")
	}
	return s.parseOne(into, items[0])
}

// parseOne sets into to the value that text spells.
func (s Setting) parseOne(into reflect.Value, text string) error {
	off := s.isOff(text)
	switch kind := s.kind.Kind(); {
	case s.kind == durationType:
		least, _ := time.ParseDuration(s.least)
		d, err := parseDuration(text, least)
		if off || s.zeroIsOff() && err == nil && d == 0 {
			d, err = Off, nil
		}
		into.SetInt(int64(d))
		return err
	case kind == reflect.Int, kind == reflect.Int64, kind == reflect.Float64:
		least, _ := strconv.ParseFloat(s.least, 64)
		most, _ := strconv.ParseFloat(s.most, 64)
		parse := parseNumber
		if kind == reflect.Float64 {
			parse = parseFloat
		}
		n, err := parse(text, least, most)
		if off || s.zeroIsOff() && err == nil && n == 0 {
			n, err = Off, nil
		}
		into.Set(reflect.ValueOf(n).Convert(s.kind))
		return err
	case kind == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if lower := strings.ToLower(text); lower == "on" || lower == offText {
			b, err = lower == "on", nil
		}
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		into.SetBool(b)
	case off:
		into.SetString("")
	default:
		text = s.spelled(text)
		if s.oneOf != nil && !slices.Contains(s.oneOf, text) {
			return fmt.Errorf("%q is none of %s", text, strings.Join(s.oneOf, ", "))
		}
		into.SetString(text)
	}
	return nil
}

func parseNumber(text string, least, most float64) (float64, error) {
	n, err := strconv.Atoi(text)
	if err != nil || float64(n) < least || float64(n) > most {
		return 0, fmt.Errorf("%q is not a whole number from %.0f to %.0f", text, least, most)
	}
	return float64(n), nil
}

func parseFloat(text string, least, most float64) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= least && f <= most) { // it may be NaN
		return 0, fmt.Errorf("%q is not a number from %.0f to %.0f", text, least, most)
	}
	return f, nil
}

// parseDuration reads 1m30s, 7d, 1d12h, or a number of seconds.
func parseDuration(text string, least time.Duration) (time.Duration, error) {
	days, rest := 0, text
	var err error
	if number, after, found := strings.Cut(text, "d"); found {
		var n uint64
		if n, err = strconv.ParseUint(number, 10, 16); after == "" {
			after = "0s"
		}
		days, rest = int(n), after
	} else if seconds, notSeconds := strconv.ParseFloat(text, 64); notSeconds == nil {
		rest = strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
	}
	d, wrong := time.ParseDuration(rest)
	if d += time.Duration(days) * 24 * time.Hour; err != nil || wrong != nil || d < least {
		return 0, fmt.Errorf("%q is not a duration of %s or more, such as 30s, 1m30s or 7d", text, Short(least))
	}
	return d, nil
}

func parseList(items []string) ([]string, error) {
	var list []string
	for _, item := range items {
		for one := range strings.SplitSeq(item, ",") {
			if one = strings.TrimSpace(one); one != "" {
				list = append(list, one)
			}
		}
	}
	if len(list) == 0 && strings.Join(items, "") != "" { // an empty list means all to some settings
		return nil, fmt.Errorf("%q has no value between its commas", strings.Join(items, ","))
	}
	return list, nil
}

func (s Setting) parseNamed(items []string) (map[string]string, error) {
	values := map[string]string{}
	var faults []error
	for i, item := range items {
		name, value, found := strings.Cut(item, "=")
		switch {
		case !found || name == "" || strings.ContainsAny(name, ":/@"):
			// Not quoted: without a name in front it is a URL, which may hold a password.
			faults = append(faults, fmt.Errorf("number %d: want %s", i+1, s.Placeholder))
		case values[name] != "":
			faults = append(faults, fmt.Errorf("there are two named %q", name))
		default:
			values[name] = value
		}
	}
	return values, errors.Join(faults...)
}

// spelled returns text as the choices are spelled.
func (s Setting) spelled(text string) string {
	lower := strings.ToLower(text)
	switch {
	case s.Key == "log_level" && lower == "warning":
		return "warn"
	case s.oneOf != nil:
		return strings.ReplaceAll(lower, "-", "_")
	}
	return text
}

// format is the reverse of parse. It returns one text for each value, NAME=VALUE for those that have names.
func (s Setting) format(v reflect.Value) []string {
	switch value := v.Interface().(type) {
	case []string:
		return value
	case map[string]string:
		var list []string
		for _, name := range slices.Sorted(maps.Keys(value)) {
			list = append(list, name+"="+value[name])
		}
		return list
	case time.Duration:
		if value >= 0 {
			return []string{Short(value)}
		}
	}
	switch text := fmt.Sprint(v.Interface()); {
	case s.off != "" && (text == "" || v.CanInt() && v.Int() < 0 || v.CanFloat() && v.Float() < 0):
		return []string{offText}
	case text != "":
		return []string{text}
	}
	return nil
}

// Short formats d without the zero units that String adds: 30m, not 30m0s. Whole days are written as such.
func Short(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 && days <= math.MaxUint16 && d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(days)) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
