package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// cli is the command line. Each command is a struct with a method Run(*session) error in a file of its own, and a field here.
type cli struct {
	Settings  string           `name:"config" placeholder:"FILE" help:"YAML file of settings; flags and environment variables override it. Also set by BENTO_OUTBOX_CONFIG."`
	LogLevel  string           `setting:""`
	LogFormat string           `setting:""`
	Version   kong.VersionFlag `help:"Print the version."` // as the command version does

	Run    runCommand    `cmd:"" group:"deliver" help:"Forward events to their destinations."`
	Config configCommand `cmd:"" group:"deliver" help:"Print or check the configuration of run."`
	Health healthCommand `cmd:"" group:"deliver" help:"Ask a running forwarder whether it is ready, as a container health check does."`

	Diagnose diagnoseCommand `cmd:"" group:"operate" help:"Find problems, with their causes and remedies."`
	Stats    statsCommand    `cmd:"" group:"operate" help:"Count unfinished work, and list what is paused or unreachable."`
	Tail     tailCommand     `cmd:"" group:"operate" help:"Show events as they are stored."`
	Dead     deadCommand     `cmd:"" group:"operate" help:"List, show, replay or discard dead letters."`
	Pause    pauseCommand    `cmd:"" group:"operate" help:"Pause deliveries to a destination, of a tenant or of an ordering key."`
	Resume   resumeCommand   `cmd:"" group:"operate" help:"Resume paused deliveries, in order."`

	Migrate migrateCommand `cmd:"" group:"tables" help:"Create, upgrade, drop or inspect the tables."`
	Indexes indexesCommand `cmd:"" group:"tables" help:"Check that every index exists and is valid, and show their sizes."`
	Cleanup cleanupCommand `cmd:"" group:"tables" help:"Delete old finished events."`

	Validate validateCommand `cmd:"" group:"routing" help:"Check routing configs and routes files."`
	Explain  explainCommand  `cmd:"" group:"routing" help:"Show where events would go, and why."`

	Bench      benchCommand      `cmd:"" group:"other" help:"Measure throughput on this machine, compared to Watermill's forwarder."`
	Completion completionCommand `cmd:"" group:"other" help:"Print a completion script for bash, zsh or fish."`
	Help       helpCommand       `cmd:"" group:"other" help:"Show help for a command."`
	VersionOf  versionCommand    `cmd:"" name:"version" group:"other" help:"Print the version."`
}

// The exit statuses.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

// session is the environment that a command runs in.
type session struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	log            log
	config         config.Loaded // with the settings that the command has no flags for too
	// faults of the command line. A command adds its own, and returns faults.Err() before it begins.
	faults faults
	// isTerminal reports whether stdin is a terminal, so that somebody can be asked.
	isTerminal func(stdin io.Reader) bool
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (&session{stdin: stdin, stdout: stdout, stderr: stderr, isTerminal: isTerminal}).run(args)
}

func (s *session) run(args []string) (status int) {
	c := cli{Run: newRunCommand(), Config: newConfigCommand(), Diagnose: newDiagnoseCommand()}
	parser, err := kong.New(&c,
		kong.Name("outbox"),
		kong.Description("A transactional outbox for Watermill. Set the database by --database-url or DATABASE_URL."),
		kong.ExplicitGroups([]kong.Group{
			{Key: "deliver", Title: "Deliver events:"}, {Key: "operate", Title: "Look and act:"}, {Key: "tables", Title: "Manage the tables:"},
			{Key: "routing", Title: "Try routing:"}, {Key: "other", Title: "Other commands:"},
		}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": version()}, describeSettings(),
		kong.Writers(s.stdout, s.stderr),
		kong.Exit(func(status int) { panic(exit(status)) }), // after --help and --version
		kong.Bind(s),
	)
	if err != nil {
		panic(err) // the structs are wrong
	}
	defer func() {
		if e := recover(); e != nil {
			code, ok := e.(exit)
			if !ok {
				panic(e)
			}
			status = int(code)
		}
	}()

	if len(args) > 0 && args[0] == completeWords {
		return s.complete(parser.Model, args[1:])
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		s.complain(err)
		fmt.Fprintf(s.stderr, "outbox: see %s --help\n", wrongCommand(err))
		return statusUsage
	}
	s.configure(command, c.Settings)
	s.log = newLog(s.stderr, s.config.Monitoring)
	err = command.Run()
	if err == nil {
		return statusDone
	}
	var wrong config.Faults
	if errors.As(err, &wrong) {
		for _, fault := range wrong {
			s.complain(fault)
		}
		return statusUsage
	}
	s.complain(err)
	return statusFailed
}

// wrongCommand returns the command whose arguments cannot be parsed, as far as it was recognised.
func wrongCommand(err error) string {
	words := []string{"outbox"}
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		for _, step := range wrong.Context.Path {
			if step.Command != nil {
				words = append(words, step.Command.Name)
			}
		}
	}
	return strings.Join(words, " ")
}

type exit int

// complain prints err on one line. It redacts URLs, because parse errors quote misplaced arguments.
func (s *session) complain(err error) {
	fmt.Fprintln(s.stderr, "outbox:", redact.Text(oneLine(err.Error())))
}

// oneLine joins the lines of joined errors.
func oneLine(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	joined := strings.Join(parts, "; ")
	return strings.ReplaceAll(joined, ":; ", ": ")
}

func isTerminal(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
