package main

import (
	"database/sql"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const deadLettersPage = "../../docs/dead-letters.md"

var (
	word    = regexp.MustCompile(`"([^"]*)"|(\S+)`)
	instant = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	age     = regexp.MustCompile(`"oldest_seconds":[0-9.e-]+|\b(\d+h)?(\d+m)?[0-9.]+(ms|s)\b`)
	server  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	blanks  = regexp.MustCompile(` +`)
)

// steadied is text without what differs from run to run.
func steadied(text string) string {
	text = instant.ReplaceAllString(text, "TIME")
	text = server.ReplaceAllString(text, "SERVER")
	text = age.ReplaceAllString(text, "AGE")
	return blanks.ReplaceAllString(text, " ")
}

// transcripts are the blocks of commands of a page, each with what it prints, standard output first.
func transcripts(t *testing.T, page string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, part := range strings.Split(string(text), "```console\n")[1:] {
		block, _, closed := strings.Cut(part, "```\n")
		require.True(t, closed, part)
		require.True(t, strings.HasPrefix(block, "$ "), block)
		var commands []string
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "$ ") {
				commands = append(commands, line)
			} else {
				commands[len(commands)-1] += line
			}
		}
		blocks = append(blocks, commands)
	}
	return blocks
}

// Every command of the page prints what the page says.
func TestDeadLettersPage(t *testing.T) {
	t.Parallel()
	blocks := transcripts(t, deadLettersPage)
	require.NotEmpty(t, blocks)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		status := statusDone
		for _, block := range blocks {
			for _, command := range block {
				line, want, _ := strings.Cut(strings.TrimPrefix(command, "$ "), "\n")
				if line == "echo $?" {
					require.Equal(t, strings.TrimSpace(want), strconv.Itoa(status), line)
					continue
				}
				b.before(line)
				var args []string
				for _, m := range word.FindAllStringSubmatch(line, -1) {
					args = append(args, m[1]+m[2])
				}
				require.Equal(t, "outbox", args[0])
				r := b.outbox(args[1:]...)
				status = r.status
				require.Equal(t, steadied(want), steadied(r.stdout+r.stderr), line)
			}
			if !strings.Contains(block[len(block)-1], "echo $?") {
				require.Equal(t, statusDone, status, block[len(block)-1])
			}
		}
		require.Equal(t, []string{"SENT", "SKIPPED", "SENT", "SENT", "SENT", "SKIPPED", "SENT"}, b.statuses())
	})
}

// before makes happen what the page speaks of.
func (b burial) before(line string) {
	const orders = `{"targets":[{"destination":"shop://orders","on_dead":"hold_key"}]}`
	switch line {
	case "outbox dead replay --all":
		b.shop.set(true)
	case "outbox dead list --destination shop://orders":
		b.shop.run(b.t, b.url)
		require.Equal(b.t, []string{"SENT", "SKIPPED", "SENT", "SENT", "SENT"}, b.statuses())
		b.shop.set(false)
		for _, id := range []string{"6", "7"} {
			b.insert("e"+id, "zoo", "orders.paid", `{"id":`+id+`}`, orders, "6")
			b.shop.run(b.t, b.url)
		}
		b.shop.take()
	case `outbox pause --destination shop://index --reason "new index until 18:00"`:
		b.shop.set(true)
		b.shop.run(b.t, b.url)
		require.Equal(b.t, []string{`/orders {"id":7}`}, b.shop.take(), "what the dead one held")
	}
}
