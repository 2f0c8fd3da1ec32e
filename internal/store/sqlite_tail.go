package store

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

func (sqlite) glanceQueries(t dialect.Tables) glanceQueries {
	look := func(from string) string {
		return fmt.Sprintf(`SELECT p.seq, COALESCE(e.slot, 0), CASE WHEN e.seq IS NULL THEN ''
				WHEN EXISTS (SELECT 1 FROM `+t.Pending+` n WHERE n.slot = e.slot AND n.seq = e.seq) THEN 'NEW'
				ELSE COALESCE((SELECT CASE WHEN NOT max(state IN ('waiting', 'held')) THEN CASE WHEN max(state = 'dead') THEN 'DEAD' ELSE 'SKIPPED' END
						WHEN max(CASE WHEN state <> 'skipped' THEN attempts END) > 0 THEN 'FAILED' ELSE 'NEW' END
					FROM `+t.Deliveries+` d WHERE d.seq = e.seq HAVING count(*) > 0), 'SENT') END, `+eventColumns+sqlite{}.payload(3)+`
			FROM (SELECT seq FROM `+t.Outbox+` %s LIMIT ?2) p
			LEFT JOIN `+t.Outbox+` e ON e.seq = p.seq AND (?4 IS NULL OR e.tenant_id IN (SELECT value FROM json_each(?4)))
				AND (?5 IS NULL OR e.topic IN (SELECT value FROM json_each(?5))) ORDER BY p.seq`, from)
	}
	return glanceQueries{
		after: look(`WHERE seq > ?1 ORDER BY seq`),
		these: look(`WHERE seq IN (SELECT value FROM json_each(?1)) ORDER BY seq`),
		last:  look(`WHERE seq >= (SELECT min(seq) FROM (SELECT seq FROM ` + t.Outbox + ` ORDER BY seq DESC LIMIT ?1)) ORDER BY seq`),
	}
}
