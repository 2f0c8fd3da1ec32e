package config

import (
	"maps"
	"reflect"
	"slices"
)

// Layer is where a value comes from. A later one wins over those before it.
type Layer int

// The layers.
const (
	Defaults Layer = iota
	Profile
	File
	Environment
	Flags
)

// Origin is where the value of a setting comes from.
type Origin struct {
	Layer Layer
	// Place is the profile's name, the file's line with the key, the variable or the flag; "default" for a default.
	Place string
}

// Sources are what [Load] reads.
type Sources struct {
	// Flags of a command line, without dashes, each with one text for each time that it was given.
	Flags map[string][]string
	// Environ has entries NAME=VALUE, as os.Environ returns them.
	Environ []string
	// File is the path of a YAML file. By default the variable [FileVariable] names it, if it is set.
	File string
}

// Loaded is what sources say.
type Loaded struct {
	Config
	// Origins of the settings by key; those of maps have one for each name too, as in destinations.kafka.
	Origins map[string]Origin
}

type given struct {
	items  []string
	origin Origin
}

// Load reads sources over a profile and the defaults. What is returned has the defaults where the error, which is of type [Faults], says that
// something is wrong. Values that one field cannot tell to be wrong are checked by [Config.Validate], which Load calls.
func Load(src Sources) (Loaded, error) {
	l := Loaded{Config: Default(), Origins: map[string]Origin{}}
	for _, s := range settings {
		l.Origins[s.Key] = Origin{Place: "default"}
	}
	var faults Faults
	var layers []map[string]given
	environ := environment(src.Environ, &faults)
	path := src.File
	for _, entry := range src.Environ {
		if path == "" && len(entry) > len(FileVariable) && entry[:len(FileVariable)+1] == FileVariable+"=" {
			path = entry[len(FileVariable)+1:]
		}
	}
	if path != "" {
		layers = append(layers, file(path, &faults))
	}
	layers = append(layers, environ, flags(src.Flags))

	l.profile(layers)
	for _, layer := range layers {
		for _, s := range settings {
			if v, ok := layer[s.Key]; ok {
				l.set(s, v, &faults)
			}
		}
		l.fold(layer, &faults)
	}
	if l.Origins["sleep_idle_max"].Layer < File {
		l.SleepIdleMax = max(l.SleepIdleMax, l.SleepIdle)
	}
	l.adjust()
	if l.Origins["close_timeout"].Layer < File {
		l.CloseTimeout = max(l.CloseTimeout, l.publishTimeout())
	}
	l.cleanup()
	l.validate(&faults, func(key string) string { return l.Origins[key].Place })
	return l, faults.err()
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

// profile takes the values of the profile that the last of layers names.
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

// cleanup makes one thing of the switch and the times: false wins over times of its layer and those below, and a time that is set stands for true.
func (l *Loaded) cleanup() {
	if off := l.Origins["cleanup"].Layer; off > Defaults && !l.CleanupOn {
		if l.Origins["cleanup_at"].Layer <= off {
			l.CleanupAt = ""
		}
		if l.Origins["cleanup_every"].Layer <= off {
			l.CleanupEvery = 0
		}
	}
	cleaner, on := l.Cleaner()
	l.CleanupOn, l.CleanupAt = on, cleaner.At
}

func (l *Loaded) set(s Setting, v given, faults *Faults) {
	value := reflect.New(s.kind).Elem()
	value.Set(s.field(&l.Config))
	if err := s.parse(value, v.items); err != nil {
		faults.add(s.Key, v.origin.Place, err)
		if !s.named() {
			return
		}
	}
	s.field(&l.Config).Set(value)
	l.Origins[s.Key] = v.origin
	if s.named() {
		one := reflect.New(s.kind).Elem()
		_ = s.parse(one, v.items)
		for name := range one.Interface().(map[string]string) {
			l.Origins[s.Key+"."+name] = Origin{Layer: v.origin.Layer, Place: v.origin.Place + " " + name}
		}
	}
}

// fold makes the settings that are short for a destination that destination.
func (l *Loaded) fold(layer map[string]given, faults *Faults) {
	for _, short := range []struct {
		key, name string
		url       *string
	}{{"to", "default", &l.To}, {"redis_url", "redis", &l.RedisURL}} {
		v, ok := layer[short.key]
		if !ok || *short.url == "" {
			continue
		}
		origin := "destinations." + short.name
		if l.Origins[origin].Layer == v.origin.Layer {
			faults.addf(short.key, v.origin.Place, "there are two destinations named %q", short.name)
		}
		l.ByName = maps.Clone(l.ByName)
		if l.ByName == nil {
			l.ByName = map[string]string{}
		}
		l.ByName[short.name] = *short.url
		l.Origins[origin] = v.origin
		l.Origins["destinations"] = v.origin
		*short.url = ""
	}
}
