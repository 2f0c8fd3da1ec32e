package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const anyKey = `'k' || i`

// troubles are the cases by the title of their section.
var troubles = map[string]troubleCase{
	"No forwarder runs": {make: func(x *trouble) { x.insert(3, "acme", anyKey, "") }},

	"A forwarder died": {
		make: func(x *trouble) {
			x.env = append(x.env, "BENTO_OUTBOX_LEASE=4s")
			x.insert(3, "acme", anyKey, "")
			x.shop.answer(http.StatusOK, 0, make(chan struct{}))
			x.forward("--group", "orders", "--topics", "orders")
			x.eventually("in flight", func() (string, bool) { return x.last.logs(), len(x.shop.ids()) > 0 })
			require.NoError(x, x.last.Process.Kill())
			x.shop.answer(http.StatusOK, 0, nil)
			var id string
			require.NoError(x, x.db.QueryRowContext(x.Context(), `SELECT id FROM outbox_forwarders`).Scan(&id))
			x.replace = []string{"shop-7-4711", id}
			x.forward("--group", "rest", "--topics", "rest")
		},
	},
	"The forwarder is too slow": {
		numbers:  true,
		patience: time.Minute,
		make: func(x *trouble) {
			x.insert(3000, "acme", anyKey, "")
			x.shop.answer(http.StatusOK, 200*time.Millisecond, nil)
		},
	},
	"One key has most of the backlog": {
		numbers:  true,
		patience: time.Minute,
		make: func(x *trouble) {
			x.env = append(x.env, "BENTO_OUTBOX_LEASE=2m", "BENTO_OUTBOX_CLOSE_TIMEOUT=50s", "BENTO_OUTBOX_PUBLISH_TIMEOUT=45s") // no attempt ends by itself
			x.insert(1100, "acme", "'17'", "")
			slow := make(chan struct{})
			x.shop.answer(http.StatusOK, 0, slow)
			x.forward()
			x.slow = slow
		},
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				close(x.slow)
			}
		}},
	},

	"A destination is down": {
		make: func(x *trouble) {
			x.shop.close()
			x.insert(8, "acme", anyKey, "")
			x.forward()
		},
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				x.shop.open()
			}
		}},
	},
	"A destination takes nothing": {
		make: func(x *trouble) {
			x.shop.answer(http.StatusUnauthorized, 0, nil)
			x.insert(8, "acme", anyKey, "")
			x.forward()
		},
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				x.shop.answer(http.StatusOK, 0, nil)
			}
		}},
	},
	"A destination refuses for now": {
		make: func(x *trouble) {
			x.env = append(x.env, "BENTO_OUTBOX_MAX_RETRY_ATTEMPTS=100")
			x.shop.answer(http.StatusInternalServerError, 0, nil)
			x.insert(1, "acme", anyKey, "")
			x.forward()
		},
		before: map[string]func(*trouble){"outbox resume": func(x *trouble) { x.shop.answer(http.StatusOK, 0, nil) }},
	},
	"A destination refuses for good": {
		make: func(x *trouble) {
			x.shop.answer(http.StatusUnprocessableEntity, 0, nil)
			x.insert(2, "acme", anyKey, "")
			x.forward()
		},
		before: map[string]func(*trouble){"outbox dead replay": func(x *trouble) { x.shop.answer(http.StatusOK, 0, nil) }},
	},
	"A dead letter holds its key": {
		make: func(x *trouble) {
			x.shop.answer(http.StatusUnprocessableEntity, 0, nil)
			x.insert(3, "acme", "'17'", `,"on_dead":"hold_key"`)
			x.forward()
		},
		before: map[string]func(*trouble){"outbox dead discard": func(x *trouble) { x.shop.answer(http.StatusOK, 0, nil) }},
		after:  func(x *trouble) { require.Len(x, x.shop.ids(), 3, "the dead one was tried once") },
	},
	"A pause that somebody forgot": {make: func(x *trouble) {
		x.shell("outbox pause --tenant acme")
		x.exec(`UPDATE outbox_controls SET since = now() - interval '10 min'`)
		x.insert(3, "acme", anyKey, "")
		x.forward()
		x.eventually("held", func() (string, bool) {
			out, _ := x.shell("outbox stats --json")
			return out, strings.Contains(out, `"state":"held","destination":"shop://orders","count":3`)
		})
		x.exec(`UPDATE outbox SET created_at = now() - interval '10 min'`, `UPDATE outbox_deliveries SET created_at = now() - interval '10 min'`)
	}},

	"Deleted rows are kept": {numbers: true, make: func(x *trouble) {
		x.exec(`ALTER TABLE outbox_pending SET (autovacuum_enabled = false)`) // it would come at its own time
		held, err := x.db.Conn(x.Context())
		require.NoError(x, err)
		x.Cleanup(func() { _ = held.Close() })
		var pid int
		require.NoError(x, held.QueryRowContext(x.Context(), `SELECT pg_backend_pid()`).Scan(&pid))
		name := "transfer-" + fmt.Sprint(pid)
		x.replace = []string{"4711", fmt.Sprint(pid), "transfer-9", name}
		_, err = held.ExecContext(x.Context(), `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()`)
		require.NoError(x, err)
		x.Cleanup(func() {
			_, _ = testdb.Open(x.T, x.url).ExecContext(context.Background(), `ROLLBACK PREPARED '`+name+`'`)
		}) // if it failed
		x.exec(`BEGIN; CREATE TABLE transfers (id int); PREPARE TRANSACTION '` + name + `'`)
		x.forward()
		x.insert(1, "acme", anyKey, "")
		x.eventually("delivered beside what is held", func() (string, bool) { return "", len(x.shop.ids()) == 1 })
		once := testdb.Open(x.T, x.url) // what a connection counted is known for certain when it has ended
		for _, query := range []string{`INSERT INTO outbox_pending (slot, seq) SELECT 0, i FROM generate_series(1000001, 1059999) i`, `DELETE FROM outbox_pending WHERE seq > 1000000`} {
			_, err := once.ExecContext(x.Context(), query)
			require.NoError(x, err)
		}
		require.NoError(x, once.Close())
	}, before: map[string]func(*trouble){`psql "$ADMIN_URL" -Atc "VACUUM`: func(x *trouble) {
		x.eventually("ended", func() (string, bool) {
			var there bool
			require.NoError(x, x.db.QueryRowContext(x.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = `+x.replace[1]+`)`).Scan(&there))
			return "", !there
		})
	}}},
	"A replication slot that nobody reads": {server: true, numbers: true, make: func(x *trouble) {
		x.exec(`SELECT pg_create_physical_replication_slot('standby_2', true)`)
		readSlot(x, "standby_2")
		x.forward()
	}},
	"An index is missing": {make: func(x *trouble) {
		x.shell("outbox migrate down --yes; outbox migrate up --partition-size 1000")
		x.exec(`DROP INDEX outbox_topic`, `DROP INDEX outbox_deliveries_due`,
			`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbox_deliveries_held'::regclass`)
		x.forward()
	}},
	"Nobody cleans up": {make: func(x *trouble) {
		x.insert(3, "acme", anyKey, "")
		x.forward()
		x.eventually("sent", func() (string, bool) { return "", len(x.shop.ids()) == 3 })
		x.exec(`UPDATE outbox SET created_at = now() - interval '9 days'`)
	}},

	"Partitions ran out": {make: func(x *trouble) {
		x.shell("outbox migrate down --yes; outbox migrate up --partition-size 1000")
		x.insert(3001, "acme", anyKey, "")
		x.exec(`DELETE FROM outbox_pending WHERE seq < 2999`)
		x.forward()
		x.eventually("delivered as ever", func() (string, bool) { return "", len(x.shop.ids()) == 3 })
	}},

	"The database is down": {
		server: true,
		make: func(x *trouble) {
			x.listen()
			x.forward()
			x.eventually("ready", func() (string, bool) {
				out, status := x.shell("outbox health")
				return out, status == statusDone
			})
			x.server.Stop("immediate")
			const logged = "Cannot read the outbox; trying again until it works"
			require.Contains(x, x.text, "`"+logged+"`")
			x.last.waitFor(x.T, logged)
		},
		before: map[string]func(*trouble){"outbox health": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				out, status := x.shell("outbox health --live; outbox run --once")
				require.Equal(x, statusFailed, status)
				require.True(x, strings.HasPrefix(out, "alive\n"), out)
				x.server.Start()
				x.insert(2, "acme", anyKey, "")
			}
		}},
	},
	"The pool is too small": {make: func(x *trouble) { poolAlert(x) }},
	"The server has no connections left": {
		server:  true,
		numbers: true,
		make: func(x *trouble) {
			x.exec(`CREATE ROLE app LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app`, `GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO app`)
			x.env = append(x.env, "DATABASE_URL="+strings.Replace(x.url, "postgres@", "app@", 1))
			x.forward()
			x.leak(90)
		},
		before: map[string]func(*trouble){"outbox stats": func(x *trouble) {
			x.eventually("full", func() (string, bool) { // also when those that are ending have ended
				x.leak(20)
				out, status := x.shell("outbox stats")
				return out, status != statusDone
			})
		}},
	},
	"A pooler in transaction mode": {make: func(x *trouble) {
		through := testdb.PgBouncer(x.T, x.url)
		x.env = append(x.env, "DATABASE_URL="+through)
		x.shell("outbox stats") // prepares
	}, after: func(x *trouble) { x.env = append(x.env, "DATABASE_URL="+x.url) }},

	"The tables are missing or newer": {make: func(x *trouble) {
		x.shell("outbox migrate down --yes")
	}, after: func(x *trouble) {
		x.exec(`INSERT INTO outbox_migrations (version, name, identity) VALUES (2, 'future', 'x')`)
		out, status := x.shell("outbox stats")
		require.Equal(x, statusFailed, status)
		require.Contains(x, out, "version 2 is newer than 1")
		require.Contains(x, x.text, "version 2 is newer than 1")
		x.exec(`DELETE FROM outbox_migrations WHERE version = 2`)
	}},
	"A table was dropped": {make: func(x *trouble) { x.exec(`DROP TABLE outbox_controls`); x.insert(2, "acme", anyKey, "") },
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			switch x.asked++; x.asked {
			case 2:
				x.forward()
			case 3:
				x.stop()
				x.exec(`DROP TABLE outbox_forwarders CASCADE`)
				x.insert(2, "acme", anyKey, "")
			case 5:
				x.stop()
				x.insert(1, "acme", anyKey, "")
				x.exec(`UPDATE outbox SET created_at = now() - interval '1 day'`)
				out, status := x.shell(`pg_dump -Fc "$ADMIN_URL" > shop.dump`)
				require.Zero(x, status, out)
				x.insert(1, "acme", anyKey, "")
				x.exec(`DROP TABLE outbox_pending CASCADE`)
				_, err := x.db.ExecContext(x.Context(), `INSERT INTO outbox (topic, payload) VALUES ('orders', '')`)
				require.ErrorContains(x, err, "outbox_pending", "every transaction that publishes fails")
				x.replace = []string{"2025-03-01 09:00Z", time.Now().Add(-time.Hour).UTC().Format("2006-01-02 15:04:05Z")}
			}
		}}, after: func(x *trouble) {
			require.Len(x, x.shop.ids(), 6, "each once")
		}},
	"The user has no rights": {
		make: func(x *trouble) {
			u, err := url.Parse(x.url)
			require.NoError(x, err)
			role := strings.TrimPrefix(u.Path, "/") + "_app"
			x.replace = []string{"TO app", "TO " + role, `user "app"`, `user "` + role + `"`}
			x.exec(`CREATE ROLE `+role+` LOGIN PASSWORD 'tiger'`, `REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC`)
			x.Cleanup(func() { dropRole(x, role) })
			u.User = url.UserPassword(role, "tiger")
			x.env = append(x.env, "DATABASE_URL="+u.String())
			x.insert(2, "acme", anyKey, "")
		},
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				x.forward()
			}
		}},
	},
	"A forwarder is not ready": {
		make: func(x *trouble) {
			u, err := url.Parse(x.url)
			require.NoError(x, err)
			role := strings.TrimPrefix(u.Path, "/") + "_app"
			x.replace = []string{"TO app", "TO " + role}
			x.exec(`CREATE ROLE `+role+` LOGIN PASSWORD 'tiger'`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role,
				`GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO `+role)
			x.Cleanup(func() { dropRole(x, role) })
			u.User = url.UserPassword(role, "tiger")
			x.env = append(x.env, "DATABASE_URL="+u.String())
			x.listen()
			x.forward()
			x.eventually("ready", func() (string, bool) {
				out, status := x.shell("outbox health")
				return out, status == statusDone
			})
			x.exec(`REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM ` + role)
			const logged = "Cannot keep the lease of the slots"
			require.Contains(x, x.text, "cannot renew its lease")
			x.last.waitFor(x.T, logged)
			x.insert(2, "acme", anyKey, "")
		},
	},

	"Rows are hidden from the user": {
		make: func(x *trouble) {
			u, err := url.Parse(x.url)
			require.NoError(x, err)
			role := strings.TrimPrefix(u.Path, "/") + "_app"
			x.replace = []string{"TO app", "TO " + role, "role app", "role " + role, "ROLE app", "ROLE " + role}
			x.exec(`CREATE ROLE `+role+` LOGIN PASSWORD 'tiger'`, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role, `GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO `+role,
				`ALTER TABLE outbox ENABLE ROW LEVEL SECURITY`)
			x.Cleanup(func() { dropRole(x, role) })
			u.User = url.UserPassword(role, "tiger")
			x.env = append(x.env, "DATABASE_URL="+u.String())
			x.insert(2, "acme", anyKey, "")
		},
		before: map[string]func(*trouble){"outbox diagnose": func(x *trouble) {
			if x.asked++; x.asked == 2 {
				x.forward()
			}
		}},
	},

	"Nothing becomes pending": {
		make: func(x *trouble) {
			x.insert(1, "acme", anyKey, "") // before the outage
			x.insert(1, "acme", anyKey, `,"conditions":{"payload.total":1}`)
			x.forward()
			x.eventually("looked at", func() (string, bool) {
				out, _ := x.shell("outbox tail --no-follow")
				return out, strings.Contains(out, " SENT ") && strings.Contains(out, " SKIPPED ")
			})
			x.exec(`UPDATE outbox SET created_at = now() - interval '1 hour' WHERE seq = 1`, `ALTER TABLE outbox DISABLE TRIGGER outbox_to_pending`)
			x.insert(2, "acme", anyKey, "")
			when := func(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format("2006-01-02 15:04:05Z") }
			x.replace = []string{"2025-03-01 09:50Z", when(time.Minute), "2025-03-01 10:20Z", when(-time.Minute)}
		},
		after: func(x *trouble) {
			x.eventually("delivered", func() (string, bool) { return "", len(x.shop.ids()) == 3 })
		},
	},
	"Events are gone and hold their keys": {
		make: func(x *trouble) {
			x.shop.answer(http.StatusUnprocessableEntity, 0, nil)
			x.insert(2, "acme", "'17'", `,"on_dead":"hold_key"`)
			x.forward()
			x.eventually("one is dead and one is held", func() (string, bool) {
				out, _ := x.shell("outbox stats --json")
				return out, strings.Contains(out, `"state":"held","destination":"shop://orders","count":1`)
			})
			x.stop()
			x.insert(1, "acme", anyKey, "")
			x.shop.answer(http.StatusOK, 0, nil)
			x.exec(`ALTER TABLE outbox DISABLE TRIGGER outbox_deleted`, `DELETE FROM outbox WHERE seq IN (1, 3)`)
			x.forward()
		},
		after: func(x *trouble) {
			x.eventually("delivered", func() (string, bool) { return "", len(x.shop.ids()) == 2 })
		},
	},
	"An INSERT is refused": {make: func(*trouble) {}, after: func(x *trouble) {
		x.forward()
		x.eventually("delivered", func() (string, bool) { ids := x.shop.ids(); return strings.Join(ids, " "), len(ids) == 1 })
	}},
	"A middleware swallows retries": {
		make: func(x *trouble) {
			x.insert(1, "acme", anyKey, `,"delay_seconds":1`)
			deduplicated(x)
		},
	},
	"An event costs too much": {
		make: func(x *trouble) {
			x.exec(`INSERT INTO outbox (tenant_id, topic, payload, aggregate_type, aggregate_id, routing_config)
				VALUES ('acme', 'orders', '{"items":[' || repeat('{},', 50000) || '{}]}', 'order', '1',
					('{"targets":[{"destination":"shop://orders","transform":{"add_fields":{"items.note":"' || repeat('x', 5000) || '"}}}]}')::json),
				('acme', 'orders', '{"total":"99"}', 'order', '2', NULL)`)
			x.forward()
			x.eventually("sent, and the one before dead", func() (string, bool) {
				var dead int
				require.NoError(x, x.db.QueryRowContext(x.Context(), `SELECT count(*) FROM outbox_deliveries WHERE state = 'dead'`).Scan(&dead))
				return x.last.logs(), len(x.shop.ids()) == 1 && dead == 1
			})
		},
	},
	"An event that nobody wanted": {
		make: func(x *trouble) {
			x.exec(`INSERT INTO outbox (tenant_id, topic, payload, aggregate_type, aggregate_id, routing_config)
				VALUES ('acme', 'orders', '{"total":"99"}', 'order', '1', '{"targets":[{"destination":"shop://orders","conditions":{"payload.total":{"$gt":50}}}]}')`)
			x.forward()
		},
		before: map[string]func(*trouble){`psql "$ADMIN_URL" -Atqc "BEGIN`: func(x *trouble) {
			x.exec(`INSERT INTO outbox (tenant_id, topic, payload, aggregate_type, aggregate_id) VALUES ('acme', 'orders', '{"total":"99"}', 'order', '2')`)
			x.eventually("sent", func() (string, bool) { return "", len(x.shop.ids()) == 1 })
		}},
		after: func(x *trouble) {
			x.eventually("sent again", func() (string, bool) { return "", len(x.shop.ids()) == 2 })
		},
	},
	"An event arrives twice": {
		make: func(x *trouble) {
			x.env = append(x.env, "BENTO_OUTBOX_LEASE=4s")
			x.shop.answer(http.StatusOK, 0, make(chan struct{}))
			x.insert(1, "acme", anyKey, "")
		},
		before: map[string]func(*trouble){`kill -9`: func(x *trouble) {
			x.eventually("in flight", func() (string, bool) { return x.last.logs(), len(x.shop.ids()) > 0 })
			x.env = append(x.env, fmt.Sprintf("FORWARDER=%d", x.last.Process.Pid))
			x.last = nil
			x.shop.answer(http.StatusOK, 0, nil)
		}},
		after: func(x *trouble) {
			ids := x.shop.ids()
			require.Greater(x, len(ids), 1)
			require.NotEmpty(x, ids[0])
			require.Len(x, slices.Compact(ids), 1, "it is the same outbox_id")
		},
	},
	"Events arrive out of order": {make: func(x *trouble) {
		x.insert(1, "acme", "NULL", "")
		x.insert(1, "acme", "'17'", "")
		x.forward()
	}},
}
