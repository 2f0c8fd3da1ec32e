-- What happened: one immutable row an event. Times are UTC text with microseconds.
CREATE TABLE {{.Outbox}} (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT CONSTRAINT "seq is not above 0" CHECK (seq > 0),
    id              TEXT NOT NULL DEFAULT (lower(hex(randomblob(16))))
        CONSTRAINT "id has more than 1024 bytes" CHECK (length(CAST(id AS BLOB)) <= 1024),
    tenant_id       TEXT NOT NULL DEFAULT ''
        CONSTRAINT "tenant_id has more than 1024 bytes" CHECK (length(CAST(tenant_id AS BLOB)) <= 1024),
    aggregate_type  TEXT
        CONSTRAINT "aggregate_type has more than 1024 bytes" CHECK (length(CAST(aggregate_type AS BLOB)) <= 1024),
    aggregate_id    TEXT
        CONSTRAINT "aggregate_id has more than 1024 bytes" CHECK (length(CAST(aggregate_id AS BLOB)) <= 1024),
    topic           TEXT NOT NULL CONSTRAINT "topic is empty" CHECK (topic <> '')
        CONSTRAINT "topic has more than 1024 bytes" CHECK (length(CAST(topic AS BLOB)) <= 1024),
    occurred_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    schema_id       TEXT
        CONSTRAINT "schema_id has more than 1024 bytes" CHECK (length(CAST(schema_id AS BLOB)) <= 1024),
    schema_version  TEXT
        CONSTRAINT "schema_version has more than 1024 bytes" CHECK (length(CAST(schema_version AS BLOB)) <= 1024),
    -- Text; what is no text is in payload_bytes. One of them is set, and neither when tombstone is.
    payload         TEXT CONSTRAINT "payload takes text; give blobs to payload_bytes" CHECK (typeof(payload) IN ('text', 'null')),
    payload_bytes   BLOB CONSTRAINT "payload_bytes takes a blob; give text to payload" CHECK (typeof(payload_bytes) IN ('blob', 'null')),
    tombstone       INTEGER NOT NULL DEFAULT 0 CHECK (tombstone IN (0, 1)),
    event_metadata  TEXT CONSTRAINT "event_metadata is no JSON" CHECK (event_metadata IS NULL OR json_valid(event_metadata)),
    routing_key     TEXT
        CONSTRAINT "routing_key has more than 1024 bytes" CHECK (length(CAST(routing_key AS BLOB)) <= 1024),
    routing_config  TEXT CONSTRAINT "routing_config is no JSON" CHECK (routing_config IS NULL OR json_valid(routing_config)),
    routing_version TEXT
        CONSTRAINT "routing_version has more than 1024 bytes" CHECK (length(CAST(routing_version AS BLOB)) <= 1024),
    -- Set by publishers that order by a metadata key; an aggregate, when there is one, goes before it.
    ordering_key    TEXT
        CONSTRAINT "ordering_key has more than 1024 bytes" CHECK (length(CAST(ordering_key AS BLOB)) <= 1024),
    created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    -- SQLite has one writer and no md5: one slot for all.
    slot            INTEGER NOT NULL DEFAULT 0 CHECK (slot = 0),
    CONSTRAINT "set one of payload and payload_bytes, or tombstone for an event without a payload"
        CHECK ((payload IS NOT NULL) + (payload_bytes IS NOT NULL) + tombstone = 1),
    CONSTRAINT "routing_config has more than 262144 bytes" CHECK (length(CAST(routing_config AS BLOB)) <= 262144)
);
CREATE INDEX "{{.Prefix}}_tenant" ON {{.Outbox}} (tenant_id);
CREATE INDEX "{{.Prefix}}_topic" ON {{.Outbox}} (topic);
CREATE INDEX "{{.Prefix}}_aggregate" ON {{.Outbox}} (aggregate_id, aggregate_type) WHERE aggregate_id IS NOT NULL;
CREATE INDEX "{{.Prefix}}_created" ON {{.Outbox}} (created_at);

CREATE TRIGGER "{{.Prefix}}_event_metadata" BEFORE INSERT ON {{.Outbox}}
WHEN json_valid(NEW.event_metadata) AND (instr(NEW.event_metadata, '"outbox_') > 0 OR length(CAST(NEW.event_metadata AS BLOB)) > 262144) BEGIN
    SELECT RAISE(ABORT, 'event_metadata has a key with the prefix outbox_, which is reserved; use the columns of the table, or another name')
        WHERE EXISTS (SELECT 1 FROM json_each(NEW.event_metadata) WHERE substr(key, 1, 7) = 'outbox_');
    SELECT RAISE(ABORT, 'event_metadata has more than 262144 bytes')
        WHERE (SELECT sum(length(CAST(key AS BLOB)) + length(CAST(value AS BLOB))) FROM json_each(NEW.event_metadata)) > 262144;
END;

-- What nobody has looked at yet.
CREATE TABLE {{.Pending}} (
    slot INTEGER NOT NULL CHECK (slot = 0),
    seq  INTEGER NOT NULL,
    PRIMARY KEY (slot, seq)
) WITHOUT ROWID;

CREATE TRIGGER "{{.Prefix}}_to_pending" AFTER INSERT ON {{.Outbox}} BEGIN
    INSERT INTO {{.Pending}} (slot, seq) VALUES (NEW.slot, NEW.seq);
END;

-- What is left to do for an event after its first pass, and what has failed for good.
CREATE TABLE {{.Deliveries}} (
    seq         INTEGER NOT NULL,
    target      TEXT    NOT NULL,
    slot        INTEGER NOT NULL CHECK (slot = 0),
    -- The ordering key that this delivery holds back; NULL when it stands outside order.
    key_hash    INTEGER,
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('waiting', 'held', 'dead', 'skipped')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due         TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) CHECK (julianday(due) IS NOT NULL),
    error       TEXT    NOT NULL DEFAULT '',
    created_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    updated_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    PRIMARY KEY (seq, target)
) WITHOUT ROWID;
CREATE INDEX "{{.Prefix}}_deliveries_due" ON {{.Deliveries}} (slot, due) WHERE state = 'waiting';
CREATE INDEX "{{.Prefix}}_deliveries_key" ON {{.Deliveries}} (slot, target, key_hash, seq) WHERE key_hash IS NOT NULL;
CREATE INDEX "{{.Prefix}}_deliveries_first" ON {{.Deliveries}} (slot, target, key_hash, seq) WHERE key_hash IS NOT NULL AND state <> 'held';
CREATE INDEX "{{.Prefix}}_deliveries_held" ON {{.Deliveries}} (slot, seq) WHERE state = 'held';
CREATE INDEX "{{.Prefix}}_deliveries_dead" ON {{.Deliveries}} (seq) WHERE state = 'dead';

-- What hangs on an event goes with it, whoever deletes it, and the first delivery that was held behind it goes on.
CREATE TRIGGER "{{.Prefix}}_deleted" AFTER DELETE ON {{.Outbox}} WHEN EXISTS (SELECT 1 FROM {{.Pending}} WHERE slot = OLD.slot AND seq = OLD.seq)
    OR EXISTS (SELECT 1 FROM {{.Deliveries}} WHERE seq = OLD.seq) BEGIN
    DELETE FROM {{.Pending}} WHERE slot = OLD.slot AND seq = OLD.seq;
    UPDATE {{.Deliveries}} SET state = 'waiting', due = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
        WHERE state = 'held' AND (seq, target) IN (SELECT (SELECT min(h.seq) FROM {{.Deliveries}} h WHERE h.slot = d.slot AND h.target = d.target
            AND h.key_hash = d.key_hash AND h.seq <> OLD.seq), d.target FROM {{.Deliveries}} d WHERE d.seq = OLD.seq AND d.key_hash IS NOT NULL);
    DELETE FROM {{.Deliveries}} WHERE seq = OLD.seq;
END;

-- What is not delivered to for now: what operators have paused, and destinations that cannot be reached.
CREATE TABLE {{.Controls}} (
    kind   text NOT NULL CHECK (kind IN ('destination', 'tenant', 'key', 'unreachable')),
    name   text NOT NULL,
    reason text NOT NULL DEFAULT '',
    since  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- Who cleans up, and how far: no event is left at floor and below.
CREATE TABLE {{.Cleanup}} (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    owner       TEXT    NOT NULL,
    expires_at  TEXT    NOT NULL,
    floor       INTEGER NOT NULL DEFAULT 0,
    floor_since TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    started_at  TEXT    NOT NULL,
    finished_at TEXT,
    sent        INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0
);

-- Who forwards: one heartbeat row a process and group.
CREATE TABLE {{.Forwarders}} (
    id         TEXT NOT NULL PRIMARY KEY,
    group_name TEXT NOT NULL,
    filter     TEXT NOT NULL DEFAULT '',
    started_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    expires_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE {{.Slots}} (
    group_name TEXT    NOT NULL,
    slot       INTEGER NOT NULL,
    owner      TEXT,
    epoch      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_name, slot)
) WITHOUT ROWID;
-- A trigger, for it works whether or not the connection has foreign keys switched on.
CREATE TRIGGER "{{.Prefix}}_forwarder_gone" AFTER DELETE ON {{.Forwarders}} BEGIN
    UPDATE {{.Slots}} SET owner = NULL WHERE owner = OLD.id;
END;

{{define "columns"}}e.seq, e.slot, e.id, e.tenant_id, e.aggregate_id, e.aggregate_type, e.topic, e.occurred_at, e.schema_id,
    e.schema_version, CASE WHEN json_valid(COALESCE(e.payload, CAST(e.payload_bytes AS TEXT))) THEN COALESCE(e.payload, CAST(e.payload_bytes AS TEXT)) END AS payload,
    COALESCE(e.payload_bytes, CAST(e.payload AS BLOB)) AS payload_bytes, e.tombstone, e.event_metadata, e.routing_key, e.routing_config, e.routing_version{{end}}
{{- define "open"}}seq, max(attempts) AS retry_count, min(CASE WHEN state = 'waiting' THEN due END) AS retry_after,
        group_concat(CASE WHEN error <> '' THEN target || ': ' || error END, '; ') AS error_message{{end -}}
-- Every event with its status, which follows from what is left to do for it. The status is a constant in each branch, so that
-- WHERE status = 'DEAD' reads the small tables only.
CREATE VIEW {{.Events}} AS
SELECT {{template "columns" .}},
    'NEW' AS status, 0 AS retry_count, NULL AS retry_after, NULL AS error_message, e.created_at
FROM {{.Pending}} p JOIN {{.Outbox}} e ON e.seq = p.seq
UNION ALL
SELECT {{template "columns" .}},
    'NEW', d.retry_count, d.retry_after, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} WHERE state <> 'skipped' GROUP BY seq
    HAVING max(attempts) = 0 AND max(CASE WHEN state IN ('waiting', 'held') THEN 1 ELSE 0 END) = 1) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'FAILED', d.retry_count, d.retry_after, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} WHERE state <> 'skipped' GROUP BY seq
    HAVING max(attempts) > 0 AND max(CASE WHEN state IN ('waiting', 'held') THEN 1 ELSE 0 END) = 1) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'DEAD', d.retry_count, NULL, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} dead WHERE state = 'dead' AND NOT EXISTS (
        SELECT 1 FROM {{.Deliveries}} o WHERE o.seq = dead.seq AND o.state IN ('waiting', 'held'))
    GROUP BY seq) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'SKIPPED', 0, NULL, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} skipped WHERE state = 'skipped' AND NOT EXISTS (
        SELECT 1 FROM {{.Deliveries}} o WHERE o.seq = skipped.seq AND o.state <> 'skipped')
    GROUP BY seq) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'SENT', 0, NULL, NULL, e.created_at
FROM {{.Outbox}} e
WHERE NOT EXISTS (SELECT 1 FROM {{.Pending}} p WHERE p.slot = e.slot AND p.seq = e.seq)
    AND NOT EXISTS (SELECT 1 FROM {{.Deliveries}} d WHERE d.seq = e.seq);
