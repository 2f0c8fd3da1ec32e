package main

import (
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

const deployFolder = "../../deploy/"

// composeFile is what the tests look at in deploy/compose.yaml.
type composeFile struct {
	Services map[string]composeService
	Networks map[string]struct{ Internal bool }
}

type composeService struct {
	Image, User string
	Build       struct{ Context, Dockerfile string }
	Environment map[string]*string // nil is what the environment of compose says
	Ports       []string
	Networks    []string
	ReadOnly    bool     `yaml:"read_only"`
	Privileged  bool     `yaml:"privileged"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	Healthcheck struct{ Test []string }
	Deploy      struct {
		Resources struct {
			Limits struct{ CPUs, Memory, Pids string }
		}
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::([-?])([^}]*))?\}`)

func deployFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(deployFolder + name)
	require.NoError(t, err)
	return string(text)
}

// composed reads the file with its variables replaced by those given, or by their defaults.
func composed(t *testing.T, values map[string]string) composeFile {
	t.Helper()
	text := variable.ReplaceAllStringFunc(deployFile(t, "compose.yaml"), func(v string) string {
		m := variable.FindStringSubmatch(v)
		if value := values[m[1]]; value != "" || m[2] != "-" {
			return value
		}
		return m[3]
	})
	var c composeFile
	require.NoError(t, yaml.Unmarshal([]byte(text), &c))
	require.Contains(t, c.Services, "outbox")
	return c
}

// Nothing in the compose file has more than it needs, and nobody else reaches it.
func TestComposeServicesAreConfined(t *testing.T) {
	t.Parallel()
	c := composed(t, nil)
	require.Equal(t, []string{"outbox", "postgres", "redis"}, slices.Sorted(maps.Keys(c.Services)))
	require.True(t, c.Networks["internal"].Internal)
	for name, s := range c.Services {
		require.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, s.User, "%s: no root", name)
		require.True(t, s.ReadOnly, name)
		require.False(t, s.Privileged, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Empty(t, s.CapAdd, name)
		require.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
		require.NotEmpty(t, s.Healthcheck.Test, name)
		limits := s.Deploy.Resources.Limits
		require.NotEmpty(t, limits.CPUs, name)
		require.Regexp(t, `^\d+[mg]$`, limits.Memory, name)
		require.NotEmpty(t, limits.Pids, name)
		if s.Build.Context == "" {
			require.Regexp(t, `^\w+:\d+\.\d+\.?\d*-\w+`, s.Image, "%s: a version", name)
		}
		if name == "outbox" {
			require.Equal(t, []string{"internal", "edge"}, s.Networks)
			require.Equal(t, "..", s.Build.Context)
			require.FileExists(t, filepath.Join(deployFolder, s.Build.Context, s.Build.Dockerfile))
			require.NotEmpty(t, s.Ports)
		} else {
			require.Equal(t, []string{"internal"}, s.Networks, name)
			require.Empty(t, s.Ports, name)
		}
		for _, port := range s.Ports {
			require.Regexp(t, `^127\.0\.0\.1:`, port, name)
		}
	}
}

// The forwarder takes the configuration that the compose file gives it, each name of which exists.
func TestComposeConfigurationIsValid(t *testing.T) {
	c := composed(t, map[string]string{
		"POSTGRES_PASSWORD": "postgres-password", "REDIS_PASSWORD": "redis-password", "BENTO_OUTBOX_ACTION_TOKEN": "a-token-of-20-bytes-",
		"BENTO_OUTBOX_STATUS_HOSTS": "status.example.com",
	})
	known := map[string]bool{config.FileVariable: true, "GOMEMLIMIT": true}
	passed := map[string]bool{"OTEL_EXPORTER_OTLP_ENDPOINT": true, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": true, "OTEL_EXPORTER_OTLP_HEADERS": true,
		"OTEL_RESOURCE_ATTRIBUTES": true, "OTEL_SERVICE_NAME": true, "OTEL_TRACES_SAMPLER": true, "OTEL_TRACES_SAMPLER_ARG": true}
	for _, s := range config.Settings() {
		known[s.Env] = true
	}
	for name, value := range c.Services["outbox"].Environment {
		if value == nil {
			require.True(t, passed[name], name)
			delete(passed, name)
			continue
		}
		require.True(t, known[name], "%s is no variable of the configuration", name)
		t.Setenv(name, *value)
	}
	require.Empty(t, passed, "not passed through")
	require.Equal(t, "the configuration is valid\n", outbox("config", "check").require(t, statusDone).stdout)
	printed := outbox("config", "print").require(t, statusDone).stdout
	require.NotContains(t, printed, "-password")
	require.Contains(t, printed, "METRICS_PORT")

	// The health check as it is written, with the environment of its container, but for the port, which may be taken here.
	check := c.Services["outbox"].Healthcheck.Test
	require.Equal(t, []string{"CMD", "/outbox"}, check[:2])
	host, port, err := net.SplitHostPort(*c.Services["outbox"].Environment["METRICS_PORT"])
	require.NoError(t, err)
	require.Regexp(t, `:`+port+`$`, c.Services["outbox"].Ports[0])
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(server.Close)
	_, free, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	t.Setenv("METRICS_PORT", net.JoinHostPort(host, free))
	outbox(check[2:]...).require(t, statusDone)
	require.Equal(t, "/readyz", <-asked)
}

// Each variable of the compose file is in the example, which holds no secret.
func TestComposeVariablesAreInTheExample(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(deployFile(t, "compose.yaml"), -1) {
		used[m[1]] = true
	}
	example := map[string]bool{}
	for line := range strings.Lines(deployFile(t, ".env.example")) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		require.True(t, found, line)
		example[name] = true
		if strings.Contains(name, "PASSWORD") || strings.Contains(name, "TOKEN") {
			require.Empty(t, value, "%s: no secret in the repository", name)
		}
	}
	require.Equal(t, used, example)
}

// The image is built from pinned ones, is not root's, and what is sent to its build has each package of the command.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := deployFile(t, "Dockerfile")
	from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
	require.Len(t, from, 2)
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	require.Regexp(t, `^golang:`+regexp.QuoteMeta(language[1])+`\.\d+-alpine$`, from[0][1])
	require.Equal(t, "scratch", from[1][1])
	final := text[strings.LastIndex(text, "\nFROM "):]
	require.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, final)
	require.Contains(t, final, `ENTRYPOINT ["/outbox"]`)
	require.NotRegexp(t, `(?m)^(HEALTHCHECK|ENV (METRICS_PORT|BENTO_OUTBOX_))`, final, "a variable of the image would win over a file that is mounted")
	require.Contains(t, text, "CGO_ENABLED=0 GOWORK=off")
	require.Contains(t, text, "-trimpath")

	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	sent := map[string]bool{}
	lines := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(deployFile(t, "Dockerfile.dockerignore"), ""))
	require.Equal(t, "*", lines[0])
	for _, line := range lines {
		if name, allowed := strings.CutPrefix(line, "!"); allowed {
			sent[name] = true
			require.True(t, fs.ValidPath(name))
			require.NotEqual(t, "deploy", name, "its .env has passwords")
		}
	}
	require.True(t, sent["go.mod"] && sent["go.sum"])
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.Dir}}", ".")
	list.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	own := 0
	for line := range strings.Lines(string(out)) {
		dir, err := filepath.Rel(root, strings.TrimSpace(line))
		require.NoError(t, err)
		if dir = filepath.ToSlash(dir); strings.HasPrefix(dir, "../") {
			continue // not ours
		}
		own++
		top, _, _ := strings.Cut(dir, "/")
		if top == "." {
			top = "*.go"
		}
		require.True(t, sent[top], "%s is not sent to the build", dir)
		require.NotEqual(t, "testdata", path.Base(dir))
	}
	require.Greater(t, own, 10)
}
