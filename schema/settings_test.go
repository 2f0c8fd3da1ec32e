package schema_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// textual are settings that change how values are written as text, which is how pgx's simple protocol gets them. The guide says what to set there.
var textual = regexp.MustCompile(`^(bytea_output|DateStyle|client_encoding)`)

// What an administrator sets for a database changes how sessions write and read values, and what they may see of each other. The store works regardless.
func TestStoreUnderTheSettingsOfADatabase(t *testing.T) {
	t.Parallel()
	for _, settings := range [][]string{
		{"bytea_output = 'escape'"},
		{"DateStyle = 'SQL, DMY'"},
		{"DateStyle = 'German'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kolkata'", "extra_float_digits = -15"},
		{"client_encoding = 'LATIN1'"},
		{"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on"},
		{"default_transaction_isolation = 'repeatable read'"},
		{"row_security = off", "array_nulls = off", "quote_all_identifiers = on", "xmloption = 'document'"},
		{"search_path = '\"$user\", public, pg_catalog'", "transform_null_equals = on", "lc_messages = 'C'", "lc_numeric = 'C'", "lc_monetary = 'C'", "lc_time = 'C'"},
		{"enable_indexscan = off", "enable_nestloop = off", "plan_cache_mode = 'force_generic_plan'", "jit_above_cost = 0"},
	} {
		for _, mode := range []string{"simple_protocol", "cache_statement"} {
			if mode == "simple_protocol" && textual.MatchString(settings[0]) {
				continue
			}
			t.Run(strings.Join(settings, " ")+" "+mode, func(t *testing.T) {
				t.Parallel()
				dsn := testdb.PostgresDatabase(t)
				u, err := url.Parse(dsn)
				require.NoError(t, err)
				admin := testdb.Open(t, dsn)
				for _, setting := range settings {
					_, err := admin.ExecContext(t.Context(), fmt.Sprintf(`ALTER DATABASE %s SET %s`, strings.TrimPrefix(u.Path, "/"), strings.Replace(setting, "'\"$user\", public, pg_catalog'", `"$user", public, pg_catalog`, 1)))
					require.NoError(t, err, setting)
				}
				exercise(t, testdb.Migrated(t, testdb.Open(t, dsn+"&default_query_exec_mode="+mode)))
			})
		}
	}
}
