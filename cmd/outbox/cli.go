package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/config"
	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// cli is the whole command line. A command is a struct in a file of its own with a method Run(*session) error, and a
// field here.
type cli struct {
	Settings  string           `name:"config" placeholder:"FILE" help:"A YAML file of settings, which flags and the environment override. BENTO_OUTBOX_CONFIG names one too."`
	LogLevel  setting          `placeholder:"LEVEL" help:"${help_log_level}"`
	LogFormat setting          `placeholder:"FORMAT" help:"${help_log_format}"`
	Version   kong.VersionFlag `help:"Print the version."`

	Migrate  migrateCommand  `cmd:"" help:"Create, change or show the tables."`
	Run      runCommand      `cmd:"" help:"Forward events to their destinations."`
	Config   configCommand   `cmd:"" help:"Show or check the configuration of run."`
	Stats    statsCommand    `cmd:"" help:"Count what is not finished, and say what is paused or unreachable."`
	Dead     deadCommand     `cmd:"" help:"List, show, replay or discard what gave up."`
	Tail     tailCommand     `cmd:"" help:"Show events as they are stored."`
	Cleanup  cleanupCommand  `cmd:"" help:"Remove finished events that are old."`
	Diagnose diagnoseCommand `cmd:"" help:"Say what is wrong, why, and what to do about it."`
	Health   healthCommand   `cmd:"" help:"Ask a running forwarder how it does, for the health check of a container."`
	Indexes  indexesCommand  `cmd:"" help:"Check that the indexes are there and valid, and show what they weigh."`
	Pause    pauseCommand    `cmd:"" help:"Hold what goes to a destination, or is of a tenant or of a key."`
	Resume   resumeCommand   `cmd:"" help:"Let it go on, in its order."`

	Bench benchCommand `cmd:"" help:"Measure on your own machine, beside Watermill's forwarder."`

	Validate validateCommand `cmd:"" help:"Check routing configs and static routes files."`
	Explain  explainCommand  `cmd:"" help:"Say where events go, and why."`
}

// The exit statuses.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

// session is what a command runs in.
type session struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	log            log
	config         config.Loaded // of the settings that the command has flags for
	// faults of the command line. A command adds its own and calls faults.err before it does anything.
	faults faults
	// isTerminal tells whether somebody can be asked at stdin.
	isTerminal func(stdin io.Reader) bool
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return (&session{stdin: stdin, stdout: stdout, stderr: stderr, isTerminal: isTerminal}).run(args)
}

func (s *session) run(args []string) (status int) {
	c := cli{Run: newRunCommand(), Config: newConfigCommand(), Diagnose: newDiagnoseCommand()}
	parser, err := kong.New(&c,
		kong.Name("outbox"),
		kong.Description("A transactional outbox for Watermill. The database is named by --database-url or DATABASE_URL."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": version()}, settingHelp(),
		kong.Writers(s.stdout, s.stderr),
		kong.Exit(func(status int) { panic(exit(status)) }), // after --help and --version
		kong.Bind(s),
	)
	if err != nil {
		panic(err) // the structs are wrong, whatever the arguments
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

	command, err := parser.Parse(args)
	if err != nil {
		s.complain(err)
		fmt.Fprintln(s.stderr, "outbox: see outbox --help")
		return statusUsage
	}
	s.configure(command, c.Settings)
	s.log = newLog(s.stderr, s.config.Monitoring)
	err = command.Run()
	if err == nil {
		return statusDone
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		for _, fault := range wrong.faults {
			s.complain(fault)
		}
		return statusUsage
	}
	s.complain(err)
	return statusFailed
}

type exit int

// complain prints err in one line, without what may be a secret of a URL: arguments are quoted that were meant for elsewhere.
func (s *session) complain(err error) {
	fmt.Fprintln(s.stderr, "outbox:", redact.Text(oneLine(err.Error())))
}

// oneLine puts the lines of joined errors behind each other.
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
