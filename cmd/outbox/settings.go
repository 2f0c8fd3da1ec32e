package main

import (
	"errors"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// setting is the flag of a setting: its value, wherever that was set, and the place.
type setting struct{ text, place string }

// UnmarshalText takes what stands behind the flag.
func (s *setting) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}

// settingHelp gives the flags of settings their help, where their tag says ${help_KEY}. As variables of kong's they would be expanded in each
// other for every flag, which took 30 ms at every start.
func settingHelp() kong.Option {
	help := map[string]string{}
	for _, s := range config.Settings() {
		help["${help_"+s.Key+"}"] = strings.ReplaceAll(settingText(s), "$", "$$")
	}
	return kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
			if flag, ok := node.(*kong.Flag); ok {
				if text, ok := help[flag.Help]; ok {
					flag.Help = text
				}
			}
			return next(nil)
		})
	})
}

func settingText(s config.Setting) string {
	help := s.Help
	if len(s.Choices()) > 0 {
		help += " One of " + strings.Join(s.Choices(), ", ") + "."
	}
	if s.Default == "" || s.IsBool() {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (default " + s.Default + ")."
}

// settingFlags returns flags for every setting that the command line does not have for all commands.
func settingFlags() kong.Plugins {
	var fields []reflect.StructField
	for _, s := range config.Settings() {
		if s.Key == "log_level" || s.Key == "log_format" {
			continue
		}
		kind, tag := reflect.TypeFor[string](), `sep:"none" `
		switch {
		case s.IsBool():
			kind, tag = reflect.TypeFor[bool](), ""
			if s.Default == "true" {
				tag = `negatable:"" `
			}
		case s.Repeats():
			kind = reflect.TypeFor[[]string]()
		}
		tag += `name:"` + s.Flag + `" placeholder:"` + s.Placeholder + `" help:"${help_` + s.Key + `}"`
		fields = append(fields, reflect.StructField{Name: "F_" + s.Key, Type: kind, Tag: reflect.StructTag(tag)})
	}
	return kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// alertFlags returns flags for the thresholds of alerts, for a command that has not all settings.
func alertFlags() kong.Plugins {
	var fields []reflect.StructField
	for _, s := range config.Settings() {
		if s.Section == "Alerts" {
			tag := `group:"Thresholds of alerts, as run has them:" name:"` + s.Flag + `" placeholder:"` + s.Placeholder + `" help:"${help_` + s.Key + `}"`
			fields = append(fields, reflect.StructField{Name: "F_" + s.Key, Type: reflect.TypeFor[setting](), Tag: reflect.StructTag(tag)})
		}
	}
	return kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// reader is a command that goes by settings which it has no flags for.
type reader interface{ reads() []string }

// configure loads the settings. A command is told what is wrong with those that it has flags for or reads, and with the file; a command that has them
// all, of variables that are unknown too.
func (s *session) configure(command *kong.Context, file string) {
	flags := map[string]*kong.Flag{}
	for _, flag := range command.Flags() {
		flags[flag.Name] = flag
	}
	all := true
	for _, one := range config.Settings() {
		all = all && flags[one.Flag] != nil
	}
	own := func(flag *kong.Flag) bool { // and no flag of the command that has the name of another setting
		_, typed := flag.Target.Addr().Interface().(*setting)
		return all || typed || flag.Tag.Has("setting")
	}
	given := map[string][]string{}
	for _, step := range command.Path {
		if step.Flag != nil && own(step.Flag) {
			given[step.Flag.Name] = texts(step.Flag.Target)
		}
	}
	loaded, err := config.Load(config.Sources{Flags: given, Environ: os.Environ(), File: file})
	asked := map[string]bool{"": true}
	if r, ok := command.Selected().Target.Addr().Interface().(reader); ok {
		for _, key := range r.reads() {
			asked[key] = true
		}
	}
	for _, one := range config.Settings() {
		flag := flags[one.Flag]
		if flag == nil || !own(flag) {
			continue
		}
		asked[one.Key] = true
		if into, ok := flag.Target.Addr().Interface().(*setting); ok {
			into.text, into.place = strings.Join(loaded.Text(one), ","), loaded.Origins[one.Key].Place
		}
	}
	var wrong config.Faults
	errors.As(err, &wrong)
	for _, fault := range wrong {
		if asked[fault.Setting] && (all || !fault.Misspelled) {
			s.faults = append(s.faults, fault)
		}
	}
	s.config = loaded
}

// ofDestination tells whether a fault is one of a destination's settings.
func ofDestination(err error) bool {
	var f config.Fault
	return errors.As(err, &f) && (f.Setting == "to" || f.Setting == "destinations" || f.Setting == "redis_url")
}

// texts are the values that a flag was given.
func texts(flag reflect.Value) []string {
	switch v := flag.Addr().Interface().(type) {
	case *setting:
		return []string{v.text}
	case *string:
		return []string{*v}
	case *[]string:
		return *v
	case *bool:
		if *v {
			return []string{"true"}
		}
		return []string{"false"}
	}
	return nil
}
