package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// Setting describes one field of [Config].
type Setting struct {
	Section     string // the name of its struct; empty for the profile
	Key         string // in the file
	Flag        string // without dashes
	Env         string
	Help        string
	Default     string // as text; empty for none
	Placeholder string

	kind        reflect.Type
	index       []int
	least, most string
	off         string // what "off" does; empty if the setting cannot be switched off
	oneOf       []string
	secret      string
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	listType     = reflect.TypeFor[[]string]()
	mapType      = reflect.TypeFor[map[string]string]()
)

// settings are fixed at compile time.
var settings = describe()

// Settings returns every setting, in the order of the fields.
func Settings() []Setting { return slices.Clone(settings) }

func describe() []Setting {
	var list []Setting
	defaults := reflect.ValueOf(Default())
	for _, f := range reflect.VisibleFields(defaults.Type()) {
		tag := f.Tag.Get
		s := Setting{
			Key: tag("key"), Flag: tag("flag"), Env: tag("env"), Help: tag("help"), Default: tag("default"), Placeholder: tag("placeholder"),
			kind: f.Type, index: f.Index, least: tag("min"), most: tag("max"), off: tag("off"), secret: tag("secret"),
		}
		if s.Key == "" {
			continue // a section
		}
		if len(f.Index) > 1 {
			s.Section = defaults.Type().Field(f.Index[0]).Name
		}
		if text := tag("oneof"); text != "" {
			s.oneOf = strings.Split(text, ",")
		}
		fallback := func(into *string, text string) {
			if *into == "" {
				*into = text
			}
		}
		fallback(&s.Flag, strings.ReplaceAll(s.Key, "_", "-"))
		fallback(&s.Env, prefix+strings.ToUpper(s.Key))
		fallback(&s.Default, strings.Join(s.format(defaults.FieldByIndex(f.Index)), ","))
		fallback(&s.Placeholder, s.placeholder())
		list = append(list, s)
	}
	return list
}

func (s Setting) placeholder() string {
	switch {
	case s.kind == durationType:
		return "DURATION"
	case s.kind.Kind() == reflect.Int, s.kind.Kind() == reflect.Int64:
		return "N"
	}
	return strings.ToUpper(s.Key)
}

// IsBool reports whether the setting is true or false, so that its flag needs no value.
func (s Setting) IsBool() bool { return s.kind.Kind() == reflect.Bool }

// Repeats reports whether the setting has several values, so that its flag may be repeated.
func (s Setting) Repeats() bool { return s.kind == listType || s.kind == mapType }

// Choices returns the values to choose from, or nil if there are others.
func (s Setting) Choices() []string { return slices.Clone(s.oneOf) }

// Values returns sentences that say which values are valid, with words quoted by quote.
func (s Setting) Values(quote string) string {
	var said []string
	switch {
	case s.oneOf != nil:
		said = append(said, "One of "+quote+strings.Join(s.oneOf, quote+", "+quote)+quote+".")
	case s.most != "" && s.zeroIsOff():
		said = append(said, "At most "+s.most+".")
	case s.most != "":
		said = append(said, s.least+" to "+s.most+".")
	case s.least != "" && !s.zeroIsOff():
		said = append(said, "At least "+s.least+".")
	}
	if s.off != "" {
		said = append(said, cmp.Or(quote, `"`)+offText+cmp.Or(quote, `"`)+" "+s.off+".")
	}
	return strings.Join(said, " ")
}

// isOff reports whether text switches the setting off.
func (s Setting) isOff(text string) bool { return s.off != "" && strings.EqualFold(text, offText) }

// zeroIsOff reports whether 0 spells off too.
func (s Setting) zeroIsOff() bool { return s.off != "" && strings.HasPrefix(s.least, "0") }

func (s Setting) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// shown returns what people may see of a value.
func (s Setting) shown(item string) string {
	switch {
	case s.secret == "", s.isOff(item):
		return item
	case s.secret == "value":
		return redact.Hidden
	case s.kind == mapType:
		name, url, _ := strings.Cut(item, "=")
		return name + "=" + redact.URL(url)
	}
	return redact.URL(item)
}

// find returns the setting that name calls text.
func find(name func(Setting) string, text string) (Setting, bool) {
	for _, s := range settings {
		if name(s) == text {
			return s, true
		}
	}
	return Setting{}, false
}

func byKey(s Setting) string  { return s.Key }
func byFlag(s Setting) string { return s.Flag }
func byEnv(s Setting) string  { return s.Env }

// didYouMean returns the end of a message about an unknown name. A name that word begins, up to an underscore, is preferred.
func didYouMean(word string, name func(Setting) string) string {
	var known []string
	for _, s := range settings {
		known = append(known, name(s))
	}
	near := nearest.Name(word, known)
	if i := slices.IndexFunc(known, func(k string) bool { return strings.HasPrefix(k, word+"_") }); i >= 0 {
		near = known[i]
	}
	if near != "" {
		return ", did you mean " + near + "?"
	}
	return ""
}
