package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
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
	oneOf       []string
	secret      string
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	listType     = reflect.TypeFor[[]string]()
	mapType      = reflect.TypeFor[map[string]string]()
)

// Settings returns every setting, in the order of the fields.
func Settings() []Setting { return append([]Setting(nil), settings...) }

// settings are fixed at compile time.
var settings = describe()

func describe() []Setting {
	var list []Setting
	defaults := Default()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		key := f.Tag.Get("key")
		if key == "" {
			continue // a section
		}
		s := Setting{
			Key: key, Flag: f.Tag.Get("flag"), Env: f.Tag.Get("env"), Help: f.Tag.Get("help"), Default: f.Tag.Get("default"),
			Placeholder: f.Tag.Get("placeholder"),
			kind:        f.Type, index: f.Index, least: f.Tag.Get("min"), most: f.Tag.Get("max"), secret: f.Tag.Get("secret"),
		}
		if len(f.Index) > 1 {
			s.Section = reflect.TypeFor[Config]().Field(f.Index[0]).Name
		}
		if s.Flag == "" {
			s.Flag = strings.ReplaceAll(key, "_", "-")
		}
		if s.Env == "" {
			s.Env = prefix + strings.ToUpper(key)
		}
		if text := f.Tag.Get("oneof"); text != "" {
			s.oneOf = strings.Split(text, ",")
		}
		if s.Default == "" {
			s.Default = strings.Join(s.format(s.field(&defaults)), ",")
		}
		if s.Placeholder == "" {
			s.Placeholder = s.placeholder()
		}
		list = append(list, s)
	}
	return list
}

func (s Setting) placeholder() string {
	switch {
	case s.kind == durationType:
		return "DURATION"
	case s.kind.Kind() == reflect.Int:
		return "N"
	}
	return strings.ToUpper(s.Key)
}

// IsBool tells whether the setting is true or false, so that its flag may stand alone.
func (s Setting) IsBool() bool { return s.kind.Kind() == reflect.Bool }

// Repeats tells whether the setting has several values, so that its flag may be given again.
func (s Setting) Repeats() bool { return s.kind == listType || s.kind == mapType }

// Choices are the values there are; none where any will do.
func (s Setting) Choices() []string { return slices.Clone(s.oneOf) }

// named tells whether the values of the setting have names.
func (s Setting) named() bool { return s.kind == mapType }

// Range says in words what values there may be.
func (s Setting) Range() string {
	switch {
	case s.oneOf != nil:
		return strings.Join(s.oneOf, ", ")
	case s.most != "":
		return s.least + " to " + s.most
	case s.least != "":
		return "from " + s.least
	case s.IsBool():
		return "true, false"
	}
	return ""
}

func (s Setting) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(s.index)
}

// Text returns the value of s in c, as texts that [Load] reads.
func (c *Config) Text(s Setting) []string { return s.format(s.field(c)) }

// find returns the setting whose name, as name returns it, is text.
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

// didYouMean is the end of a message about an unknown name. One whose beginning it is, up to an underscore, is taken for what was meant.
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
