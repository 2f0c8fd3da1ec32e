-- Text of another encoding is not what its writer gave, and has no place for what forwarders write.
DO $outbox$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the encoding of database % is %, and the outbox needs UTF8', current_database(), current_setting('server_encoding')
            USING HINT = 'Create a database with ENCODING ''UTF8'' TEMPLATE template0 and move the tables there.';
    END IF;
END
$outbox$;

-- The slot of an event: the first byte of md5(tenant NUL key) modulo 64. Without a key, any slot will do.
--
-- It also refuses names that are too long for an index, before the index does, which would not say what to do. Every INSERT reads the
-- expressions of a table's columns and checks anew, so one call is much cheaper than what it does, and than a check beside it.
CREATE FUNCTION {{.Slot}}(seq bigint, topic text, tenant_id text, aggregate_type text, aggregate_id text, ordering_key text)
    RETURNS smallint LANGUAGE plpgsql IMMUTABLE AS $outbox$
BEGIN
    IF topic = '' OR octet_length(topic) > 1024 OR octet_length(tenant_id) > 1024 OR octet_length(aggregate_type) > 1024
        OR octet_length(aggregate_id) > 1024 OR octet_length(ordering_key) > 1024 THEN
        RAISE EXCEPTION 'outbox event refused: %', CASE WHEN topic = '' THEN 'topic is empty'
            WHEN octet_length(topic) > 1024 THEN 'topic has more than 1024 bytes'
            WHEN octet_length(tenant_id) > 1024 THEN 'tenant_id has more than 1024 bytes'
            WHEN octet_length(aggregate_type) > 1024 THEN 'aggregate_type has more than 1024 bytes'
            WHEN octet_length(aggregate_id) > 1024 THEN 'aggregate_id has more than 1024 bytes'
            ELSE 'ordering_key has more than 1024 bytes' END
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN (CASE
        WHEN NULLIF(aggregate_id, '') IS NULL AND NULLIF(ordering_key, '') IS NULL THEN seq % 64
        ELSE get_byte(decode(md5(
            decode(replace(tenant_id, E'\\', E'\\\\'), 'escape') || E'\\x00'::bytea || decode(replace(
                CASE WHEN NULLIF(aggregate_id, '') IS NULL THEN ordering_key
                     ELSE COALESCE(aggregate_type, '') || ':' || aggregate_id END,
                E'\\', E'\\\\'), 'escape')
        ), 'hex'), 0) % 64
    END)::smallint;
END
$outbox$;

-- What happened: one immutable row an event.
CREATE TABLE {{.Outbox}} (
    seq             bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1),
    id              text        NOT NULL DEFAULT (md5(random()::text || clock_timestamp()::text)::uuid)::text,
    tenant_id       text        NOT NULL DEFAULT '',
    aggregate_type  text,
    aggregate_id    text,
    topic           text        NOT NULL,
    occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    schema_id       text,
    schema_version  text,
    -- Text, which json, jsonb and any other type but bytea become when they are stored; what is no text is in payload_bytes. One of them is
    -- set, and neither when tombstone is.
    payload         text,
    payload_bytes   bytea,
    tombstone       boolean     NOT NULL DEFAULT false,
    event_metadata  json,
    routing_key     text,
    routing_config  json,
    routing_version text,
    -- Set by publishers that order by a metadata key; an aggregate, when there is one, goes before it.
    ordering_key    text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    slot            smallint    NOT NULL GENERATED ALWAYS AS (
        {{.Slot}}(seq, topic, tenant_id, aggregate_type, aggregate_id, ordering_key)) STORED,
    CONSTRAINT "{{.Prefix}}_pkey" PRIMARY KEY (seq),
    -- Readers begin above 0.
    CONSTRAINT "{{.Prefix}}_seq_positive" CHECK (seq > 0)
){{if .PartitionSize}} PARTITION BY RANGE (seq){{end}};
{{- if .PartitionSize}}
CREATE TABLE {{.Partition (.PartitionFrom 0)}} PARTITION OF {{.Outbox}} FOR VALUES FROM ({{.PartitionFrom 0}}) TO ({{.PartitionFrom 1}});
CREATE TABLE {{.Partition (.PartitionFrom 1)}} PARTITION OF {{.Outbox}} FOR VALUES FROM ({{.PartitionFrom 1}}) TO ({{.PartitionFrom 2}});
CREATE TABLE {{.Partition (.PartitionFrom 2)}} PARTITION OF {{.Outbox}} FOR VALUES FROM ({{.PartitionFrom 2}}) TO ({{.PartitionFrom 3}});
CREATE TABLE {{.Partition 0}} PARTITION OF {{.Outbox}} DEFAULT;
{{- end}}
CREATE INDEX "{{.Prefix}}_tenant" ON {{.Outbox}} (tenant_id);
CREATE INDEX "{{.Prefix}}_topic" ON {{.Outbox}} (topic);
CREATE INDEX "{{.Prefix}}_aggregate" ON {{.Outbox}} (aggregate_id, aggregate_type) WHERE aggregate_id IS NOT NULL;
CREATE INDEX "{{.Prefix}}_created" ON {{.Outbox}} USING brin (created_at);

-- What nobody has looked at yet.
CREATE TABLE {{.Pending}} (
    slot smallint NOT NULL CONSTRAINT "{{.Prefix}}_pending_slot" CHECK (slot BETWEEN 0 AND 63),
    seq  bigint   NOT NULL,
    CONSTRAINT "{{.Prefix}}_pending_pkey" PRIMARY KEY (slot, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
-- PostgreSQL 12 has no settings for inserts.
DO $outbox$
BEGIN
    IF current_setting('server_version_num')::int >= 130000 THEN
        ALTER TABLE {{.Pending}} SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
    END IF;
END
$outbox$;

-- Raises the error for an event that must not be stored, and quotes no payload; true for one that may be.
CREATE FUNCTION {{.Refuse}}(event record) RETURNS boolean LANGUAGE plpgsql AS $outbox$
DECLARE
    fault text;
    hint text := 'Shorten it.';
    name text;
    size bigint;
BEGIN
    IF event.payload IS NULL AND event.payload_bytes IS NULL AND NOT event.tombstone THEN
        fault := 'payload and payload_bytes are NULL';
        hint := 'Give text or JSON to payload, or bytes to payload_bytes. Set tombstone to true for an event without a payload.';
    ELSIF event.payload IS NOT NULL AND event.payload_bytes IS NOT NULL THEN
        fault := 'payload and payload_bytes are both set';
        hint := 'Give text or JSON to payload, or bytes to payload_bytes.';
    ELSIF event.tombstone AND num_nonnulls(event.payload, event.payload_bytes) > 0 THEN
        fault := 'tombstone is true, and there is a payload';
        hint := 'Leave out tombstone, or the payload.';
    ELSIF event.payload ~ E'^\\\\x([0-9a-f]{2})*$' THEN
        fault := E'payload was given bytes, which PostgreSQL writes as text, \\x...';
        hint := 'Give bytes to payload_bytes.';
    END IF;
    FOR name, size IN VALUES ('id', octet_length(event.id)), ('schema_id', octet_length(event.schema_id)),
        ('schema_version', octet_length(event.schema_version)), ('routing_key', octet_length(event.routing_key)),
        ('routing_version', octet_length(event.routing_version)) LOOP
        IF size > 1024 THEN
            fault := COALESCE(fault, format('%s has %s bytes, more than 1024', name, size));
        END IF;
    END LOOP;
    IF octet_length(event.routing_config::text) > 262144 THEN
        fault := COALESCE(fault, format('routing_config has %s bytes, more than 262144', octet_length(event.routing_config::text)));
    END IF;
    IF json_typeof(event.event_metadata) = 'object' THEN
        SELECT min(key) FILTER (WHERE starts_with(key, 'outbox_')), sum(octet_length(key) + octet_length(value)) INTO name, size
            FROM json_each_text(event.event_metadata);
        IF size > 262144 THEN
            fault := COALESCE(fault, format('event_metadata has %s bytes, more than 262144', size));
        ELSIF name IS NOT NULL AND fault IS NULL THEN
            fault := format('event_metadata has the key %s, and the prefix outbox_ is reserved', left(name, 64));
            hint := 'Use the columns of the table, or another name.';
        END IF;
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION 'outbox event refused: %', fault USING ERRCODE = 'check_violation', HINT = hint;
    END IF;
    RETURN true;
END
$outbox$;

-- The condition is cheap and not exact: the function decides.
CREATE FUNCTION {{.ToPending}}() RETURNS trigger LANGUAGE plpgsql AS $outbox$
BEGIN
    -- A logical replication worker writes a copy, whose events are for the origin to deliver.
    IF current_setting('session_replication_role') = 'replica'
            AND (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) LIKE 'logical replication%' THEN
        RETURN NULL;
    END IF;
    INSERT INTO {{.Pending}} (slot, seq) SELECT slot, seq FROM inserted WHERE CASE
        WHEN num_nonnulls(payload, payload_bytes) + tombstone::integer <> 1 OR starts_with(payload, E'\\x')
            OR octet_length(concat(id, schema_id, schema_version, routing_key, routing_version)) > 1024 OR pg_column_size(routing_config) > 262144
            OR pg_column_size(event_metadata) > 262144 OR strpos(event_metadata::text, '"outbox_') > 0
        THEN {{.Refuse}}(inserted) ELSE true END;
    RETURN NULL;
END
$outbox$;
CREATE TRIGGER "{{.Prefix}}_to_pending" AFTER INSERT ON {{.Outbox}}
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION {{.ToPending}}();
-- Also under session_replication_role = replica, or an event stored by such a session would seem sent.
ALTER TABLE {{.Outbox}} ENABLE ALWAYS TRIGGER "{{.Prefix}}_to_pending";

-- What is left to do for an event after its first pass, and what has failed for good.
CREATE TABLE {{.Deliveries}} (
    seq         bigint      NOT NULL,
    target      text        NOT NULL,
    slot        smallint    NOT NULL CONSTRAINT "{{.Prefix}}_deliveries_slot" CHECK (slot BETWEEN 0 AND 63),
    -- The ordering key that this delivery holds back; NULL when it stands outside order.
    key_hash    bigint,
    destination text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('waiting', 'held', 'dead', 'skipped')),
    attempts    integer     NOT NULL DEFAULT 0,
    due         timestamptz NOT NULL DEFAULT clock_timestamp() CONSTRAINT "{{.Prefix}}_deliveries_due_finite" CHECK (isfinite(due)),
    error       text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT "{{.Prefix}}_deliveries_pkey" PRIMARY KEY (seq, target)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX "{{.Prefix}}_deliveries_due" ON {{.Deliveries}} (slot, due) WHERE state = 'waiting';
CREATE INDEX "{{.Prefix}}_deliveries_key" ON {{.Deliveries}} (slot, target, key_hash, seq) WHERE key_hash IS NOT NULL;
CREATE INDEX "{{.Prefix}}_deliveries_first" ON {{.Deliveries}} (slot, target, key_hash, seq) WHERE key_hash IS NOT NULL AND state <> 'held';
CREATE INDEX "{{.Prefix}}_deliveries_held" ON {{.Deliveries}} (slot, seq) WHERE state = 'held';
CREATE INDEX "{{.Prefix}}_deliveries_dead" ON {{.Deliveries}} (seq) WHERE state = 'dead';

-- What hangs on an event goes with it, whoever deletes it, and the first delivery that was held behind it goes on. What another transaction holds
-- behind it at the same moment is found by a forwarder's next sweep. A clean-up says that nothing hangs on what it deletes.
CREATE FUNCTION {{.Forget}}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $outbox$
DECLARE
    keys json;
BEGIN
    IF TG_OP = 'TRUNCATE' AND TG_WHEN = 'BEFORE' THEN
        PERFORM set_config('watermill_outbox.last', COALESCE(pg_sequence_last_value('{{.SeqSeq}}'), 0)::text, true);
    ELSIF TG_OP = 'TRUNCATE' THEN
        DELETE FROM {{.Pending}};
        DELETE FROM {{.Deliveries}};
        -- A number is given out once, also after RESTART IDENTITY: consumers know events by it.
        PERFORM setval('{{.SeqSeq}}', l.last) FROM (SELECT current_setting('watermill_outbox.last')::bigint AS last) l
            WHERE l.last > COALESCE(pg_sequence_last_value('{{.SeqSeq}}'), 0);
    ELSE
        DELETE FROM {{.Pending}} WHERE ctid = ANY (ARRAY(SELECT p.ctid FROM deleted d
            CROSS JOIN LATERAL (SELECT p.ctid FROM {{.Pending}} p WHERE p.slot = d.slot AND p.seq = d.seq LIMIT 1) p));
        -- Locked first, for a forwarder may just replace them by others.
        PERFORM 1 FROM {{.Deliveries}} WHERE seq = ANY (ARRAY(SELECT seq FROM deleted)) ORDER BY seq, target FOR UPDATE;
        IF FOUND THEN
            SELECT json_agg(k) INTO keys FROM (SELECT DISTINCT slot, target, key_hash FROM {{.Deliveries}}
                WHERE seq = ANY (ARRAY(SELECT seq FROM deleted)) AND key_hash IS NOT NULL) k;
            DELETE FROM {{.Deliveries}} WHERE seq = ANY (ARRAY(SELECT seq FROM deleted));
            UPDATE {{.Deliveries}} d SET state = 'waiting', due = clock_timestamp(), updated_at = clock_timestamp()
                FROM json_to_recordset(keys) AS x(slot smallint, target text, key_hash bigint)
                CROSS JOIN LATERAL (SELECT h.seq FROM {{.Deliveries}} h WHERE h.slot = x.slot AND h.target = x.target AND h.key_hash = x.key_hash
                    ORDER BY h.seq LIMIT 1) h
                WHERE d.seq = h.seq AND d.target = x.target AND d.state = 'held';
        END IF;
    END IF;
    RETURN NULL;
END
$outbox$;
REVOKE ALL ON FUNCTION {{.Forget}}() FROM PUBLIC;
CREATE TRIGGER "{{.Prefix}}_deleted" AFTER DELETE ON {{.Outbox}} REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT
    WHEN (current_setting('watermill_outbox.cleaning', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {{.Forget}}();
CREATE TRIGGER "{{.Prefix}}_truncate" BEFORE TRUNCATE ON {{.Outbox}} FOR EACH STATEMENT EXECUTE FUNCTION {{.Forget}}();
CREATE TRIGGER "{{.Prefix}}_truncated" AFTER TRUNCATE ON {{.Outbox}} FOR EACH STATEMENT EXECUTE FUNCTION {{.Forget}}();
-- As above: a session under session_replication_role = replica deletes like any other.
ALTER TABLE {{.Outbox}} ENABLE ALWAYS TRIGGER "{{.Prefix}}_deleted";
ALTER TABLE {{.Outbox}} ENABLE ALWAYS TRIGGER "{{.Prefix}}_truncate";
ALTER TABLE {{.Outbox}} ENABLE ALWAYS TRIGGER "{{.Prefix}}_truncated";

-- What is not delivered to for now: what operators have paused, and destinations that cannot be reached.
CREATE TABLE {{.Controls}} (
    kind   text NOT NULL CHECK (kind IN ('destination', 'tenant', 'key', 'unreachable')),
    name   text NOT NULL,
    reason text NOT NULL DEFAULT '',
    since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, name)
);

-- Who cleans up, and how far: no event is left at floor and below.
CREATE TABLE {{.Cleanup}} (
    id          smallint    NOT NULL CHECK (id = 1),
    owner       text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    floor       bigint      NOT NULL DEFAULT 0,
    floor_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    sent        bigint      NOT NULL DEFAULT 0,
    skipped     bigint      NOT NULL DEFAULT 0,
    dead        bigint      NOT NULL DEFAULT 0,
    CONSTRAINT "{{.Prefix}}_cleanup_pkey" PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- Who forwards: one heartbeat row a process and group.
CREATE TABLE {{.Forwarders}} (
    id         text        NOT NULL,
    group_name text        NOT NULL,
    filter     text        NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT "{{.Prefix}}_forwarders_pkey" PRIMARY KEY (id)
) WITH (fillfactor = 50);
CREATE TABLE {{.Slots}} (
    group_name text     NOT NULL,
    slot       smallint NOT NULL,
    owner      text     REFERENCES {{.Forwarders}} (id) ON DELETE SET NULL,
    epoch      bigint   NOT NULL DEFAULT 0,
    CONSTRAINT "{{.Prefix}}_slots_pkey" PRIMARY KEY (group_name, slot)
) WITH (fillfactor = 50);

-- Shows a payload as JSON where it is JSON, else NULL.
CREATE FUNCTION {{.AsJSON}}(payload text, payload_bytes bytea) RETURNS json LANGUAGE plpgsql STABLE AS $outbox$
BEGIN
    RETURN COALESCE(payload, convert_from(payload_bytes, 'UTF8'))::json;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$outbox$;

{{define "columns"}}e.seq, e.slot, e.id, e.tenant_id, e.aggregate_id, e.aggregate_type, e.topic, e.occurred_at, e.schema_id,
    e.schema_version, {{.AsJSON}}(e.payload, e.payload_bytes) AS payload,
    COALESCE(e.payload_bytes, convert_to(e.payload, 'UTF8')) AS payload_bytes, e.tombstone, e.event_metadata, e.routing_key,
    e.routing_config, e.routing_version{{end}}
{{- define "open"}}seq, max(attempts) AS retry_count, min(due) FILTER (WHERE state = 'waiting') AS retry_after,
        string_agg(target || ': ' || error, '; ' ORDER BY target) FILTER (WHERE error <> '') AS error_message{{end -}}
-- Every event with its status, which follows from what is left to do for it. The status is a constant in each branch, so that
-- WHERE status = 'DEAD' reads the small tables only.
CREATE VIEW {{.Events}} AS
SELECT {{template "columns" .}},
    'NEW' AS status, 0 AS retry_count, NULL::timestamptz AS retry_after, NULL::text AS error_message, e.created_at
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
    'DEAD', d.retry_count, NULL::timestamptz, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} dead WHERE state = 'dead' AND NOT EXISTS (
        SELECT 1 FROM {{.Deliveries}} o WHERE o.seq = dead.seq AND o.state IN ('waiting', 'held'))
    GROUP BY seq) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'SKIPPED', 0, NULL::timestamptz, d.error_message, e.created_at
FROM (SELECT {{template "open"}} FROM {{.Deliveries}} skipped WHERE state = 'skipped' AND NOT EXISTS (
        SELECT 1 FROM {{.Deliveries}} o WHERE o.seq = skipped.seq AND o.state <> 'skipped')
    GROUP BY seq) d JOIN {{.Outbox}} e ON e.seq = d.seq
UNION ALL
SELECT {{template "columns" .}},
    'SENT', 0, NULL::timestamptz, NULL::text, e.created_at
FROM {{.Outbox}} e
WHERE NOT EXISTS (SELECT 1 FROM {{.Pending}} p WHERE p.slot = e.slot AND p.seq = e.seq)
    AND NOT EXISTS (SELECT 1 FROM {{.Deliveries}} d WHERE d.seq = e.seq);
