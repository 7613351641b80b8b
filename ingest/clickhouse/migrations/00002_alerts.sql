-- +goose Up
-- Of two rows of an alert the one with the higher revision is the later; merging keeps that one.
CREATE TABLE alerts (
    id String, revision UInt64,
    time DateTime64(6, 'UTC'), first_seen DateTime64(6, 'UTC'), last_seen DateTime64(6, 'UTC'),
    detector LowCardinality(String), entity_kind LowCardinality(String), entity_id String, agent_ids Array(String),
    cohort LowCardinality(String), severity LowCardinality(String), confidence Float64, p_value Float64, score Float64,
    title String, reason String,
    evidence Nested(feature LowCardinality(String), observed Float64, expected Float64, lower Float64, upper Float64,
        p_value Float64, window_seconds Int64),
    event_ids Array(String), event_count Int64,
    techniques Nested(framework LowCardinality(String), version LowCardinality(String), id LowCardinality(String), name String),
    query String, detector_version LowCardinality(String), baseline_version LowCardinality(String),
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(revision) ORDER BY id;

-- Append-only: what people did with an alert, and when. The state of an alert is derived from it.
CREATE TABLE alert_actions (
    alert_id String, time DateTime64(6, 'UTC') DEFAULT now64(6), id UUID DEFAULT generateUUIDv4(),
    who String, action LowCardinality(String), value String, why String
) ENGINE = MergeTree ORDER BY (alert_id, time, id);

CREATE TABLE suppressions (
    id UUID DEFAULT generateUUIDv4(), revision UInt64 DEFAULT toUnixTimestamp64Micro(now64(6)),
    time DateTime64(6, 'UTC') DEFAULT now64(6), who String, why String,
    detector String, entity_kind String, entity_id String, pattern String, until DateTime64(3, 'UTC'), removed UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(revision) ORDER BY id;

CREATE VIEW alerts_latest AS
SELECT a.*, s.state AS state, s.assignee AS assignee, s.verdict AS verdict
FROM (SELECT * FROM alerts FINAL) AS a
LEFT JOIN (
    SELECT alert_id,
        argMaxIf(action, time, action IN ('acknowledge', 'close', 'reopen')) AS state,
        argMaxIf(value, time, action = 'assign') AS assignee,
        argMaxIf(value, time, action = 'close') AS verdict
    FROM alert_actions GROUP BY alert_id
) AS s ON s.alert_id = a.id;

-- +goose Down
DROP VIEW alerts_latest;
DROP TABLE suppressions;
DROP TABLE alert_actions;
DROP TABLE alerts;
