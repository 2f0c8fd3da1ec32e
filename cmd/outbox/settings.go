package main

import (
	"errors"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// describeSettings gives the flags of settings, which have the tag setting, their help and placeholder. As variables of kong's they would be expanded
// in each other for every flag, which took 30 ms at every start.
func describeSettings() kong.Option {
	described := map[string]config.Setting{}
	for _, s := range config.Settings() {
		described[s.Flag] = s
	}
	return kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
			if flag, ok := node.(*kong.Flag); ok && flag.Tag.Has("setting") {
				s := described[flag.Name]
				flag.Help, flag.PlaceHolder = strings.ReplaceAll(settingHelp(s), "$", "$$"), s.Placeholder
			}
			return next(nil)
		})
	})
}

func settingHelp(s config.Setting) string {
	help := strings.TrimSpace(s.Help + " " + s.Values(""))
	if s.Default == "" || s.IsBool() {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (default " + s.Default + ")."
}

// settingFlags returns a flag for each setting that want accepts.
func settingFlags(group string, want func(config.Setting) bool) kong.Plugins {
	var fields []reflect.StructField
	for _, s := range config.Settings() {
		if !want(s) {
			continue
		}
		kind, tag := reflect.TypeFor[string](), ``
		switch {
		case s.IsBool() && s.Default == "true":
			kind, tag = reflect.TypeFor[bool](), `negatable:"" `
		case s.IsBool():
			kind = reflect.TypeFor[bool]()
		case s.Repeats():
			kind, tag = reflect.TypeFor[[]string](), `sep:"none" `
		}
		tag += `setting:"" group:"` + group + `" name:"` + s.Flag + `"`
		fields = append(fields, reflect.StructField{Name: "F_" + s.Key, Type: kind, Tag: reflect.StructTag(tag)})
	}
	return kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// runFlags returns the flags of all settings that not every command has.
func runFlags() kong.Plugins {
	return settingFlags("", func(s config.Setting) bool { return s.Key != "log_level" && s.Key != "log_format" })
}

// alertFlags returns the flags of the thresholds of alerts.
func alertFlags() kong.Plugins {
	return settingFlags("Thresholds of alerts, as for run:", func(s config.Setting) bool { return s.Section == "Alerts" })
}

// reader is a command that uses settings it has no flags for.
type reader interface{ reads() []string }

// configure loads the settings. A command learns of the faults of the file and of the settings that it has flags for or reads; one that has all
// settings, of unknown variables too.
func (s *session) configure(command *kong.Context, file string) {
	asked := map[string]bool{"": true}
	if r, ok := command.Selected().Target.Addr().Interface().(reader); ok {
		for _, key := range r.reads() {
			asked[key] = true
		}
	}
	flags := map[string]bool{}
	for _, flag := range command.Flags() {
		flags[flag.Name] = flags[flag.Name] || flag.Tag.Has("setting") // another flag may have the name of a setting
	}
	all := true
	for _, one := range config.Settings() {
		asked[one.Key] = asked[one.Key] || flags[one.Flag]
		all = all && flags[one.Flag]
	}
	given := map[string][]string{}
	for _, step := range command.Path {
		if step.Flag != nil && step.Flag.Tag.Has("setting") {
			given[step.Flag.Name] = texts(step.Flag.Target)
		}
	}
	var err error
	s.config, err = config.Load(config.Sources{Flags: given, Environ: os.Environ(), File: file})
	var wrong config.Faults
	errors.As(err, &wrong)
	for _, fault := range wrong {
		if asked[fault.Setting] && (all || !fault.Misspelled) {
			s.faults.Faults = append(s.faults.Faults, fault)
		}
	}
}

// place returns where a setting was set.
func (s *session) place(key string) string { return s.config.Origins[key].Place }

// texts returns the values that a flag was given.
func texts(flag reflect.Value) []string {
	switch v := flag.Interface().(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case bool:
		if v {
			return []string{"true"}
		}
		return []string{"false"}
	}
	return nil
}
