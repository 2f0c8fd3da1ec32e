package config

import (
	"maps"
	"reflect"
	"slices"
)

// Layer is the kind of source that a value comes from. A later layer wins.
type Layer int

// The layers, in order of precedence.
const (
	Defaults Layer = iota
	Profile
	File
	Environment
	Flags
)

// Origin is the source of a value.
type Origin struct {
	Layer Layer
	// Place is the profile's name, the file's line and key, the variable or the flag; "default" for a default.
	Place string
}

// Sources are what [Load] reads.
type Sources struct {
	// Flags of a command line, without dashes, each with one text for each time that it was given.
	Flags map[string][]string
	// Environ has entries NAME=VALUE, as os.Environ returns them.
	Environ []string
	// File is the path of a YAML or JSON file. Defaults to the value of the variable [FileVariable].
	File string
}

// Loaded is a configuration that knows where each value comes from.
type Loaded struct {
	Config
	// Origins of the settings by key. A named value has one of its own, as in destinations.kafka.
	Origins map[string]Origin
}

// given is what one source says of a setting.
type given struct {
	items  []string
	origin Origin
}

// Load reads sources over a profile and the defaults. The error is of type [Faults] and has everything that is wrong; a setting at fault keeps the
// value of the layer below.
func Load(src Sources) (Loaded, error) {
	l := Loaded{Config: Default(), Origins: map[string]Origin{}}
	for _, s := range settings {
		l.Origins[s.Key] = Origin{Place: "default"}
	}
	var faults Faults
	variables, path := environment(src.Environ, &faults)
	if src.File != "" {
		path = src.File
	}
	layers := []map[string]given{file(path, &faults), variables, flags(src.Flags)}
	l.profile(layers)
	for _, layer := range layers {
		for _, s := range settings {
			if v, ok := layer[s.Key]; ok {
				l.set(s, v, &faults)
			}
		}
		l.foldShort(layer, &faults)
	}
	l.derive()
	l.validate(&faults)
	return l, faults.Err()
}

func flags(set map[string][]string) map[string]given {
	m := map[string]given{}
	for name, items := range set {
		if s, known := find(byFlag, name); known && len(items) > 0 {
			m[s.Key] = given{items: items, origin: Origin{Layer: Flags, Place: "--" + name}}
		}
	}
	return m
}

// place returns where a setting was set.
func (l *Loaded) place(key string) string { return l.Origins[key].Place }

// isDefault reports whether nobody set a setting; profiles set defaults.
func (l *Loaded) isDefault(key string) bool { return l.Origins[key].Layer < File }

// profile takes the values of the profile that the highest layer names.
func (l *Loaded) profile(layers []map[string]given) {
	for _, layer := range slices.Backward(layers) {
		v, ok := layer["profile"]
		if !ok {
			continue
		}
		s, _ := find(byKey, "profile")
		if profile := profiles[s.spelled(v.items[0])]; profile != nil {
			before := l.Config
			l.take(profile())
			for _, s := range settings {
				if !reflect.DeepEqual(s.field(&before).Interface(), s.field(&l.Config).Interface()) {
					l.Origins[s.Key] = Origin{Layer: Profile, Place: "profile " + v.items[0]}
				}
			}
		}
		return
	}
}

func (l *Loaded) set(s Setting, v given, faults *Faults) {
	value := reflect.New(s.kind).Elem()
	err := s.parse(value, v.items)
	if err != nil {
		faults.add(s.Key, v.origin.Place, err)
	}
	if named, ok := value.Interface().(map[string]string); ok {
		for name, text := range named {
			origin := v.origin
			origin.Place += " " + name
			l.put(s, name, text, origin)
		}
	} else if err == nil {
		s.field(&l.Config).Set(value)
	}
	if err == nil || s.kind == mapType {
		l.Origins[s.Key] = v.origin
	}
}

// put adds a value to a setting with named values.
func (l *Loaded) put(s Setting, name, text string, origin Origin) {
	all := maps.Clone(s.field(&l.Config).Interface().(map[string]string))
	if all == nil {
		all = map[string]string{}
	}
	all[name] = text
	s.field(&l.Config).Set(reflect.ValueOf(all))
	l.Origins[s.Key+"."+name] = origin
}

// foldShort turns the settings that are short for a destination into that destination.
func (l *Loaded) foldShort(layer map[string]given, faults *Faults) {
	all, _ := find(byKey, "destinations")
	for _, short := range []struct {
		key, name string
		url       *string
	}{{"to", "default", &l.To}, {"redis_url", "redis", &l.RedisURL}} {
		v, ok := layer[short.key]
		if !ok || *short.url == "" {
			continue
		}
		if l.Origins["destinations."+short.name].Layer == v.origin.Layer {
			faults.addf(short.key, v.origin.Place, "there are two destinations named %q", short.name)
		}
		l.put(all, short.name, *short.url, v.origin)
		l.Origins[all.Key] = v.origin
		*short.url = ""
	}
}
