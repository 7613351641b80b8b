-- +goose Up
-- The suppression that hides an alert; the alert is stored all the same.
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS suppressed_by String DEFAULT '' AFTER cohort;

CREATE OR REPLACE VIEW alerts_latest AS
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

-- Append-only: what people did with a dead letter. action: claim (about to be written to its topic again), replay
-- (it was), dismiss. A claim without a replay is a replay whose outcome nobody knows.
CREATE TABLE IF NOT EXISTS dead_letter_actions (
    topic LowCardinality(String), partition Int32, offset Int64, idx UInt32,
    time DateTime64(6, 'UTC') DEFAULT now64(6), who String, action LowCardinality(String), why String
) ENGINE = MergeTree ORDER BY (topic, partition, offset, idx, time)
TTL toDateTime(time) + INTERVAL 365 DAY;

-- +goose Down
DROP TABLE IF EXISTS dead_letter_actions;
CREATE OR REPLACE VIEW alerts_latest AS
SELECT a.* REPLACE (if(s.severity_set = '', a.severity, s.severity_set) AS severity), a.severity AS severity_detected,
    multiIf(s.turn = 'acknowledge', 'acknowledged', s.turn = 'close', 'closed', 'open') AS state,
    s.assignee AS assignee, if(s.turn = 'close', s.closed_as, '') AS verdict, s.actions AS actions, s.acted_at AS acted_at
FROM (SELECT * EXCEPT suppressed_by FROM alerts FINAL) AS a
LEFT JOIN (
    SELECT alert_id,
        argMaxIf(action, (time, id), action IN ('acknowledge', 'close', 'reopen')) AS turn,
        argMaxIf(value, (time, id), action = 'assign') AS assignee,
        argMaxIf(value, (time, id), action = 'close') AS closed_as,
        argMaxIf(value, (time, id), action = 'severity') AS severity_set,
        count() AS actions, max(time) AS acted_at
    FROM alert_actions GROUP BY alert_id
) AS s ON s.alert_id = a.id;
ALTER TABLE alerts DROP COLUMN IF EXISTS suppressed_by;
