-- What happened: one immutable row an event.
CREATE TABLE {{.Outbox}} (
    seq             bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1),
    id              text        NOT NULL DEFAULT (md5(random()::text || clock_timestamp()::text)::uuid)::text,
    tenant_id       text        NOT NULL DEFAULT '',
    aggregate_type  text,
    aggregate_id    text,
    topic           text        NOT NULL CHECK (topic <> ''),
    occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    schema_id       text,
    schema_version  text,
    payload         bytea       NOT NULL,
    event_metadata  json,
    routing_key     text,
    routing_config  json,
    routing_version text,
    -- Set by publishers that order by a metadata key; an aggregate, when there is one, goes before it.
    ordering_key    text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- First byte of md5(tenant NUL key) modulo 64. Without a key, any slot will do.
    slot            smallint    NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN NULLIF(aggregate_id, '') IS NULL AND NULLIF(ordering_key, '') IS NULL THEN seq % 64
            ELSE get_byte(decode(md5(
                decode(replace(tenant_id, '\', '\\'), 'escape') || '\x00'::bytea || decode(replace(
                    CASE WHEN NULLIF(aggregate_id, '') IS NULL THEN ordering_key
                         ELSE COALESCE(aggregate_type, '') || ':' || aggregate_id END,
                    '\', '\\'), 'escape')
            ), 'hex'), 0) % 64
        END) STORED,
    CONSTRAINT "{{.Prefix}}_pkey" PRIMARY KEY (seq)
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
    slot smallint NOT NULL,
    seq  bigint   NOT NULL,
    CONSTRAINT "{{.Prefix}}_pending_pkey" PRIMARY KEY (slot, seq)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000
);

CREATE FUNCTION {{.ToPending}}() RETURNS trigger LANGUAGE plpgsql AS $outbox$
BEGIN
    INSERT INTO {{.Pending}} (slot, seq) SELECT slot, seq FROM inserted;
    RETURN NULL;
END
$outbox$;
CREATE TRIGGER "{{.Prefix}}_to_pending" AFTER INSERT ON {{.Outbox}}
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION {{.ToPending}}();

-- What is left to do for an event after its first pass, and what has failed for good.
CREATE TABLE {{.Deliveries}} (
    seq         bigint      NOT NULL,
    target      text        NOT NULL,
    slot        smallint    NOT NULL,
    -- The ordering key that this delivery holds back; NULL when it stands outside order.
    key_hash    bigint,
    destination text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('waiting', 'held', 'dead', 'skipped')),
    attempts    integer     NOT NULL DEFAULT 0,
    due         timestamptz NOT NULL DEFAULT clock_timestamp(),
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
CREATE FUNCTION {{.AsJSON}}(payload bytea) RETURNS json LANGUAGE plpgsql STABLE STRICT AS $outbox$
BEGIN
    RETURN convert_from(payload, 'UTF8')::json;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$outbox$;

{{define "columns"}}e.seq, e.slot, e.id, e.tenant_id, e.aggregate_id, e.aggregate_type, e.topic, e.occurred_at, e.schema_id,
    e.schema_version, {{.AsJSON}}(e.payload) AS payload, e.payload AS payload_bytes, e.event_metadata, e.routing_key,
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
