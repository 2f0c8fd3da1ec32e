// Package docs checks that the documentation says what the files say.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

var (
	quote = regexp.MustCompile("(?m)^<!-- quote: (\\S+) (\\S+) -->\n```\\w*\n((?s:.*?))^```$")
	link  = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
)

func markdown(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[path] = string(text)
		}
		return nil
	}))
	require.Contains(t, files, root+"/README.md")
	return files
}

// A quote is the part of a file between "docs:NAME" and "docs:end".
func TestQuotesAreWhatTheFilesSay(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range markdown(t) {
		for _, m := range quote.FindAllStringSubmatch(text, -1) {
			found++
			source, err := os.ReadFile(filepath.Join(root, m[1]))
			require.NoError(t, err, path)
			_, after, ok := strings.Cut(string(source), "docs:"+m[2]+"\n")
			require.True(t, ok, "%s quotes %s, which has no part docs:%s", path, m[1], m[2])
			part, _, ok := strings.Cut(after, "docs:end")
			require.True(t, ok, "%s: docs:%s has no docs:end", m[1], m[2])
			part = part[:strings.LastIndex(part, "\n")]
			require.Equal(t, strings.TrimSpace(part), strings.TrimSpace(m[3]), "%s quotes %s %s", path, m[1], m[2])
		}
	}
	require.NotZero(t, found)
}

func TestLinksLeadToFiles(t *testing.T) {
	t.Parallel()
	for path, text := range markdown(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(path), m[1]))
			require.NoError(t, err, "%s links to %s", path, m[1])
		}
	}
}
