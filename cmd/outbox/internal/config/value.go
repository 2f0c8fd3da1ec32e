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

// parse makes items, one for each time that the value was given, the value of into. Values of lists and maps are added where into has some. The
// error quotes no secret.
func (s Setting) parse(into reflect.Value, items []string) error {
	if s.kind == listType {
		var list []string
		for _, item := range items {
			for one := range strings.SplitSeq(item, ",") {
				if one = strings.TrimSpace(one); one != "" {
					list = append(list, one)
				}
			}
		}
		if len(list) == 0 && strings.Join(items, "") != "" { // none means all to some settings
			return fmt.Errorf("%q has no value between its commas", strings.Join(items, ","))
		}
		into.Set(reflect.ValueOf(list))
		return nil
	}
	if s.named() {
		return s.parseNamed(into, items)
	}
	if len(items) != 1 {
		return errors.New("want one value")
	}
	text := items[0]
	switch {
	case s.kind == durationType:
		d, err := parseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration%s, such as 30s or 1m30s", text, s.bounds())
		}
		into.SetInt(int64(d))
	case s.IsBool():
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		into.SetBool(b)
	case s.kind.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number%s", text, s.bounds())
		}
		into.SetInt(int64(n))
	case s.kind.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number%s", text, s.bounds())
		}
		into.SetFloat(f)
	default:
		into.SetString(s.spelled(text))
	}
	return s.check(into)
}

func (s Setting) parseNamed(into reflect.Value, items []string) error {
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
	all := reflect.MakeMap(mapType)
	for _, part := range []map[string]string{into.Interface().(map[string]string), values} {
		for name, value := range part {
			all.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(value))
		}
	}
	into.Set(all)
	return errors.Join(faults...)
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

// check tells whether a value is within the bounds of the setting.
func (s Setting) check(v reflect.Value) error {
	switch {
	case s.kind == durationType:
		least, _ := time.ParseDuration(s.least)
		if d := time.Duration(v.Int()); d < least {
			return fmt.Errorf("%q is no duration%s, such as 30s or 1m30s", d, s.bounds())
		}
	case s.kind.Kind() == reflect.Int:
		least, _ := strconv.ParseInt(s.least, 10, 64)
		most, _ := strconv.ParseInt(s.most, 10, 64)
		if n := v.Int(); n < least || n > most {
			return fmt.Errorf("\"%d\" is no whole number%s", n, s.bounds())
		}
	case s.kind.Kind() == reflect.Float64:
		least, _ := strconv.ParseFloat(s.least, 64)
		most, _ := strconv.ParseFloat(s.most, 64)
		if f := v.Float(); !(f >= least && f <= most) { // it may be NaN
			return fmt.Errorf("\"%g\" is no number%s", f, s.bounds())
		}
	case s.oneOf != nil:
		if text := v.String(); text != "" && !slices.Contains(s.oneOf, text) {
			return fmt.Errorf("%q is none of %s", text, strings.Join(s.oneOf, ", "))
		}
	}
	return nil
}

func (s Setting) bounds() string {
	switch {
	case s.most != "":
		return " from " + s.least + " to " + s.most
	case s.least != "":
		return " from " + s.least + " up"
	}
	return ""
}

// parseDuration reads 1m30s, 7d, or a number of seconds.
func parseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
	}
	return time.ParseDuration(text)
}

// format is the other way round: one text, or one for each value, NAME=VALUE where they have names.
func (s Setting) format(v reflect.Value) []string {
	switch {
	case s.kind == listType:
		return v.Interface().([]string)
	case s.named():
		m := v.Interface().(map[string]string)
		var list []string
		for _, name := range slices.Sorted(maps.Keys(m)) {
			list = append(list, name+"="+m[name])
		}
		return list
	case s.kind == durationType:
		return []string{short(time.Duration(v.Int()))}
	}
	if text := fmt.Sprint(v.Interface()); text != "" {
		return []string{text}
	}
	return nil
}

// short is d without the zeros that String adds, 30m and not 30m0s, and in days where it can be.
func short(d time.Duration) string {
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
