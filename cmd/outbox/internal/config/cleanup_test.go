package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// Nothing is removed unless somebody says so; then it takes one word.
func TestCleanupIsSwitchedOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environ []string
		file    string
		on      bool
		at      string
		every   time.Duration
	}{
		"by nobody":                       {nil, "", false, "", 0},
		"by the switch":                   {[]string{"BENTO_OUTBOX_CLEANUP=true"}, "", true, "02:00", 0},
		"at another time":                 {[]string{"BENTO_OUTBOX_CLEANUP=true", "BENTO_OUTBOX_CLEANUP_AT=04:30"}, "", true, "04:30", 0},
		"more often":                      {[]string{"BENTO_OUTBOX_CLEANUP=true", "BENTO_OUTBOX_CLEANUP_EVERY=1h"}, "", true, "", time.Hour},
		"by a time":                       {[]string{"BENTO_OUTBOX_CLEANUP_AT=04:30"}, "", true, "04:30", 0},
		"by an interval":                  {[]string{"BENTO_OUTBOX_CLEANUP_EVERY=1h"}, "", true, "", time.Hour},
		"off, with a time":                {[]string{"BENTO_OUTBOX_CLEANUP=false", "BENTO_OUTBOX_CLEANUP_AT=04:30"}, "", false, "", 0},
		"off, with an interval":           {[]string{"BENTO_OUTBOX_CLEANUP=false", "BENTO_OUTBOX_CLEANUP_EVERY=1h"}, "", false, "", 0},
		"off in the file, a time over it": {[]string{"BENTO_OUTBOX_CLEANUP_AT=04:30"}, "cleanup: false", true, "04:30", 0},
		"off over a time in the file":     {[]string{"BENTO_OUTBOX_CLEANUP=false"}, "cleanup_every: 1h", false, "", 0},
		"off and a time in the file, another time over them": {[]string{"BENTO_OUTBOX_CLEANUP_EVERY=1h"}, "cleanup: false\ncleanup_at: 04:30", true, "", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := config.Sources{Environ: c.environ}
			if c.file != "" {
				src.File = filepath.Join(t.TempDir(), "outbox.yaml")
				require.NoError(t, os.WriteFile(src.File, []byte(c.file), 0o600))
			}
			l, err := config.Load(src)
			require.NoError(t, err)
			cleaner, on := l.Cleaner()
			require.Equal(t, c.on, on)
			require.Equal(t, c.on, l.CleanupOn, "as config print shows it")
			require.Equal(t, c.at, cleaner.At)
			require.Equal(t, c.every, cleaner.Every)
			require.Equal(t, 7*24*time.Hour, cleaner.Retention)
		})
	}
}
