-- +goose Up
-- Of two rows of an alert the one with the higher revision is the later; merging keeps that one.
CREATE TABLE IF NOT EXISTS alerts (
    id String, revision UInt64,
    time DateTime64(6, 'UTC'), first_seen DateTime64(6, 'UTC'), last_seen DateTime64(6, 'UTC'),
    detector LowCardinality(String), entity_kind LowCardinality(String), entity_id String, agent_ids Array(String),
    cohort LowCardinality(String), severity LowCardinality(String), confidence Float64, p_value Float64, score Float64,
    title String, reason String CODEC(ZSTD(3)),
    evidence Nested(feature LowCardinality(String), observed Float64, expected Float64, lower Float64, upper Float64,
        p_value Float64, window_seconds Int64),
    event_ids Array(String) CODEC(ZSTD(1)), event_count Int64,
    techniques Nested(framework LowCardinality(String), version LowCardinality(String), id LowCardinality(String), name String),
    query String CODEC(ZSTD(3)), detector_version LowCardinality(String), baseline_version LowCardinality(String),
    written_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_agent agent_ids TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree(revision) ORDER BY id
TTL toDateTime(written_at) + INTERVAL 730 DAY;

-- Append-only: what people did with an alert, and when. The state of an alert is derived from it.
-- action: acknowledge, assign (value: to whom), comment, close (value: verdict), reopen, severity (value: the new one)
CREATE TABLE IF NOT EXISTS alert_actions (
    alert_id String, time DateTime64(6, 'UTC') DEFAULT now64(6), id UUID DEFAULT generateUUIDv4(),
    who String, action LowCardinality(String), value String, why String
) ENGINE = MergeTree ORDER BY (alert_id, time, id);

-- A suppression hides alerts of a detector, an entity, or both ('' is any). Append-only as well: removing one is a
-- further row with a higher revision.
CREATE TABLE IF NOT EXISTS suppressions (
    id UUID DEFAULT generateUUIDv4(), revision UInt64 DEFAULT toUnixTimestamp64Micro(now64(6)),
    time DateTime64(6, 'UTC') DEFAULT now64(6), who String, why String,
    detector String, entity_kind String, entity_id String, pattern String,
    until DateTime64(3, 'UTC') DEFAULT toDateTime64('2200-01-01 00:00:00', 3, 'UTC'), removed UInt8 DEFAULT 0
) ENGINE = MergeTree ORDER BY (id, revision);

-- One row for each alert: its newest revision and what people made of it. severity is the one that counts, an
-- analyst's if there is one; severity_detected is the detector's.
CREATE VIEW IF NOT EXISTS alerts_latest AS
SELECT a.* REPLACE (if(s.severity_set = '', a.severity, s.severity_set) AS severity), a.severity AS severity_detected,
    multiIf(s.turn = 'acknowledge', 'acknowledged', s.turn = 'close', 'closed', 'open') AS state,
    s.assignee AS assignee, if(s.turn = 'close', s.closed_as, '') AS verdict, s.actions AS actions, s.acted_at AS acted_at
FROM (SELECT * FROM alerts FINAL) AS a
LEFT JOIN (
    SELECT alert_id,
        argMaxIf(action, (time, id), action IN ('acknowledge', 'close', 'reopen')) AS turn,
        argMaxIf(value, (time, id), action = 'assign') AS assignee,
        argMaxIf(value, (time, id), action = 'close') AS closed_as,
        argMaxIf(value, (time, id), action = 'severity') AS severity_set,
        count() AS actions, max(time) AS acted_at
    FROM alert_actions GROUP BY alert_id
) AS s ON s.alert_id = a.id;

-- +goose Down
DROP VIEW IF EXISTS alerts_latest;
DROP TABLE IF EXISTS suppressions;
DROP TABLE IF EXISTS alert_actions;
DROP TABLE IF EXISTS alerts;
