package store

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

func (postgres) glanceQueries(t dialect.Tables) glanceQueries {
	look := func(from string) string {
		return fmt.Sprintf(`SELECT p.seq, COALESCE(e.slot, 0), CASE WHEN e.seq IS NULL THEN ''
				WHEN (SELECT 1 FROM `+t.Pending+` n WHERE n.slot = e.slot AND n.seq = e.seq LIMIT 1) IS NOT NULL THEN 'NEW'
				ELSE COALESCE((SELECT CASE WHEN NOT bool_or(state IN ('waiting', 'held')) THEN CASE WHEN bool_or(state = 'dead') THEN 'DEAD' ELSE 'SKIPPED' END
						WHEN max(attempts) FILTER (WHERE state <> 'skipped') > 0 THEN 'FAILED' ELSE 'NEW' END
					FROM `+t.Deliveries+` d WHERE d.seq = e.seq HAVING count(*) > 0), 'SENT') END, `+eventColumns+postgres{}.payload(3)+`
			FROM (SELECT seq FROM `+t.Outbox+` %s LIMIT $2::int) p
			LEFT JOIN LATERAL (SELECT * FROM `+t.Outbox+` e WHERE e.seq = p.seq AND ($4::text[] IS NULL OR e.tenant_id = ANY ($4::text[]))
				AND ($5::text[] IS NULL OR e.topic = ANY ($5::text[])) LIMIT 1) e ON true WHERE `+standardText+` ORDER BY p.seq`, from)
	}
	return glanceQueries{
		after: look(`WHERE seq > $1::bigint ORDER BY seq`),
		these: look(`WHERE seq = ANY ($1::bigint[]) ORDER BY seq`),
		last:  look(`WHERE seq > (SELECT COALESCE(min(seq), 0) - 1 FROM (SELECT seq FROM ` + t.Outbox + ` ORDER BY seq DESC LIMIT $1::int) l) ORDER BY seq`),
	}
}
