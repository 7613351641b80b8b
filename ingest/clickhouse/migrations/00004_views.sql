-- +goose Up
CREATE VIEW IF NOT EXISTS agent_timeline AS
SELECT time, kind, action, access, service, resource, destination, status, credential_id, source_ip, id, '' AS alert
FROM events WHERE agent_id = {agent:String} AND time >= {from:DateTime64(6)} AND time <= {to:DateTime64(6)}
UNION ALL
SELECT time, 'alert', detector, severity, '', '', '', 0, '', '', id, reason
FROM alerts FINAL WHERE has(agent_ids, {agent:String}) AND time >= {from:DateTime64(6)} AND time <= {to:DateTime64(6)}
ORDER BY time;

CREATE VIEW IF NOT EXISTS blast_radius AS
SELECT service, access, count() AS events, uniq(resource) AS resources, uniq(destination) AS destinations,
    groupUniqArray(20)(credential_id) AS credentials, sum(request_bytes) AS sent, sum(response_bytes) AS received,
    min(time) AS first_seen, max(time) AS last_seen
FROM events WHERE agent_id = {agent:String} AND time >= {from:DateTime64(6)} AND time <= {to:DateTime64(6)}
GROUP BY service, access ORDER BY events DESC;

CREATE VIEW IF NOT EXISTS credential_use AS
SELECT agent_id, source_ip, user_agent, count() AS events, min(time) AS first_seen, max(time) AS last_seen
FROM events WHERE credential_id = {credential:String} AND time >= {from:DateTime64(6)} AND time <= {to:DateTime64(6)}
GROUP BY agent_id, source_ip, user_agent ORDER BY first_seen;

CREATE VIEW IF NOT EXISTS alert_events AS
SELECT e.* FROM events AS e
INNER JOIN (SELECT first_seen, last_seen, arrayJoin(agent_ids) AS agent FROM alerts FINAL WHERE id = {alert:String}) AS a
ON e.agent_id = a.agent
WHERE e.time >= a.first_seen AND e.time <= a.last_seen ORDER BY e.time;

-- +goose Down
DROP VIEW IF EXISTS alert_events;
DROP VIEW IF EXISTS credential_use;
DROP VIEW IF EXISTS blast_radius;
DROP VIEW IF EXISTS agent_timeline;
