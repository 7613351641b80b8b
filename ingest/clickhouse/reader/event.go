package reader

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

var eventColumns = map[string]string{
	"id": "id", "kind": "kind", "access": "access", "agent": "agent_id", "agent_id": "agent_id", "action": "action", "method": "method", "service": "service",
	"resource": "resource", "destination": "destination", "credential_id": "credential_id", "credential": "credential_id", "owner_id": "owner_id",
	"session_id": "session_id", "trace_id": "trace_id", "agent_version": "agent_version", "cohort": "cohort", "source_ip": "source_ip", "source": "source_ip",
	"asn": "asn", "user_agent": "user_agent", "status": "status", "community": "community", "reply_to": "reply_to", "content": "content",
	"request_bytes": "request_bytes", "response_bytes": "response_bytes",
}

// Event is a stored event in the shape of the public contract, version 1, with what redaction found. Fields at
// their zero value are left out.
type Event struct {
	ID            string            `json:"id"`
	Time          time.Time         `json:"time"`
	Kind          string            `json:"kind"`
	AgentID       string            `json:"agent_id"`
	Action        string            `json:"action"`
	Access        string            `json:"access,omitempty"`
	Method        string            `json:"method,omitempty"`
	Service       string            `json:"service,omitempty"`
	Resource      string            `json:"resource,omitempty"`
	Destination   string            `json:"destination,omitempty"`
	CredentialID  string            `json:"credential_id,omitempty"`
	OwnerID       string            `json:"owner_id,omitempty"`
	OnBehalfOf    []string          `json:"on_behalf_of,omitempty"`
	SessionID     string            `json:"session_id,omitempty"`
	TraceID       string            `json:"trace_id,omitempty"`
	AgentVersion  string            `json:"agent_version,omitempty"`
	Cohort        string            `json:"cohort,omitempty"`
	SourceIP      string            `json:"source_ip,omitempty"`
	ASN           uint32            `json:"asn,omitempty"`
	UserAgent     string            `json:"user_agent,omitempty"`
	Status        int32             `json:"status,omitempty"`
	RequestBytes  int64             `json:"request_bytes,omitempty"`
	ResponseBytes int64             `json:"response_bytes,omitempty"`
	DurationMS    Number            `json:"duration_ms,omitempty"`
	Community     string            `json:"community,omitempty"`
	ReplyTo       string            `json:"reply_to,omitempty"`
	Mentions      []string          `json:"mentions,omitempty"`
	Content       string            `json:"content,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Secrets       []string          `json:"secrets,omitempty"` // field: rule
}

const eventList = `id, time, kind, agent_id, action, access, method, service, resource, destination, credential_id, owner_id, on_behalf_of, session_id,
	trace_id, agent_version, cohort, source_ip, asn, user_agent, status, request_bytes, response_bytes, duration_ms, community, reply_to, mentions,
	substringUTF8(content, 1, 20000), labels, arrayMap((f, r) -> concat(f, ': ', r), secrets.field, secrets.rule)`

func scanEvent(rows driver.Rows) (e Event, err error) {
	err = rows.Scan(&e.ID, &e.Time, &e.Kind, &e.AgentID, &e.Action, &e.Access, &e.Method, &e.Service, &e.Resource, &e.Destination, &e.CredentialID, &e.OwnerID,
		&e.OnBehalfOf, &e.SessionID, &e.TraceID, &e.AgentVersion, &e.Cohort, &e.SourceIP, &e.ASN, &e.UserAgent, &e.Status, &e.RequestBytes, &e.ResponseBytes,
		(*float64)(&e.DurationMS), &e.Community, &e.ReplyTo, &e.Mentions, &e.Content, &e.Labels, &e.Secrets)
	return e, err
}

// MaxEvents is the most events one answer holds.
const MaxEvents = 10_000

// Events returns events of an entity (of all when it has no id) in a span, the newest first.
func (r *Reader) Events(ctx context.Context, e Entity, s Span, filters []Condition, limit int) ([]Event, error) {
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	if limit <= 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	p := parameters{"limit": uint64(limit)}.span(s)
	conditions := []string{"time >= {from:DateTime64(6,'UTC')}", "time <= {to:DateTime64(6,'UTC')}"}
	if e.ID != "" {
		cond, err := e.where(p)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, cond)
	}
	more, err := where(filters, eventColumns, p)
	if err != nil {
		return nil, err
	}
	out := []Event{}
	err = r.rows(ctx, "read the events", "SELECT "+eventList+" FROM events WHERE "+all(append(conditions, more...))+" ORDER BY time DESC LIMIT {limit:UInt64}", p, func(rows driver.Rows) error {
		ev, err := scanEvent(rows)
		out = append(out, ev)
		return err
	})
	return out, err
}

// AlertEvents returns the events behind an alert: those it names first, then the others of the agents involved in the
// span of the evidence (of the credential or the source where the alert is about one), and how many there are.
func (r *Reader) AlertEvents(ctx context.Context, a *Alert, limit int) (list []Event, total uint64, err error) {
	if limit <= 0 || limit > MaxEvents {
		limit = 200
	}
	p := parameters{"agents": a.AgentIDs, "ids": a.EventIDs, "limit": uint64(limit)}.span(Span{a.FirstSeen, a.LastSeen})
	cond := "agent_id IN {agents:Array(String)} AND time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')}"
	switch a.EntityKind {
	case "credential":
		p["entity"] = a.EntityID
		cond += " AND credential_id = {entity:String}"
	case "source":
		p["entity"] = a.EntityID
		cond += " AND source_ip = {entity:String}"
	}
	list = []Event{}
	if err = r.rows(ctx, "read the events of the alert", "SELECT "+eventList+" FROM events WHERE "+cond+" ORDER BY id IN {ids:Array(String)} DESC, time DESC LIMIT {limit:UInt64}", p, func(rows driver.Rows) error {
		ev, err := scanEvent(rows)
		list = append(list, ev)
		return err
	}); err != nil {
		return nil, 0, err
	}
	delete(p, "limit")
	delete(p, "ids")
	err = r.row(ctx, "count the events of the alert", "SELECT count() FROM events WHERE "+cond, p, &total)
	return list, total, err
}

// Item of a timeline: an event, or an alert (kind "alert", alert: the reason).
type Item struct {
	Time         time.Time `json:"time"`
	Kind         string    `json:"kind"`
	Action       string    `json:"action"`
	Access       string    `json:"access"`
	Service      string    `json:"service"`
	Resource     string    `json:"resource"`
	Destination  string    `json:"destination"`
	Status       int32     `json:"status"`
	CredentialID string    `json:"credential_id"`
	SourceIP     string    `json:"source_ip"`
	ID           string    `json:"id"`
	Alert        string    `json:"alert"`
}

// Timeline returns what an agent did and the alerts about it, in the order of time; where there is more than the limit,
// the newest.
func (r *Reader) Timeline(ctx context.Context, agent string, s Span, limit int) ([]Item, error) {
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	if agent == "" || len(agent) > maxEntity {
		return nil, invalid("agent: name one, in at most %d bytes", maxEntity)
	}
	if limit <= 0 || limit > MaxEvents {
		limit = 500
	}
	out := []Item{}
	err := r.rows(ctx, "read the timeline", `SELECT * FROM (
		SELECT time, kind, action, access, service, resource, destination, status, credential_id, source_ip, id, '' AS alert
			FROM events WHERE agent_id = {agent:String} AND time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} ORDER BY time DESC LIMIT {limit:UInt64}
		UNION ALL
		SELECT time, 'alert', detector, severity, '', '', '', 0, '', '', id, reason
			FROM alerts_latest WHERE has(agent_ids, {agent:String}) AND time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} LIMIT {limit:UInt64}
		) ORDER BY time`, parameters{"agent": agent, "limit": uint64(limit)}.span(s), func(rows driver.Rows) error {
		var i Item
		err := rows.Scan(&i.Time, &i.Kind, &i.Action, &i.Access, &i.Service, &i.Resource, &i.Destination, &i.Status, &i.CredentialID, &i.SourceIP, &i.ID, &i.Alert)
		out = append(out, i)
		return err
	})
	return out, err
}

// Values of a variable: agents, detectors, cohorts, severities, features, credentials, sources, services or actions
// that contain q (any case), at most 500, the most frequent first. Agents and what events hold are those of the span.
func (r *Reader) Values(ctx context.Context, of, q string, s Span) ([]string, error) {
	if len(q) > maxValue {
		return nil, invalid("q: at most %d bytes", maxValue)
	}
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	var query string
	switch of {
	case "severities":
		return Severities, nil
	case "states":
		return []string{"open", "acknowledged", "closed"}, nil
	case "features":
		return Features(), nil
	case "detectors":
		query = "SELECT detector AS v, count() AS n FROM alerts WHERE time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} GROUP BY v"
	default:
		column, ok := map[string]string{"agents": "agent_id", "cohorts": "cohort", "credentials": "credential_id", "sources": "source_ip", "services": "service",
			"actions": "action", "destinations": "destination"}[of]
		if !ok {
			return nil, invalid("of: there are no values of %.40q; there are agents, detectors, cohorts, severities, states, features, credentials, sources, destinations, services, actions", of)
		}
		query = fmt.Sprintf("SELECT %s AS v, count() AS n FROM events WHERE time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} GROUP BY v", column)
	}
	out := []string{}
	err := r.rows(ctx, "list "+of, "SELECT toString(v) FROM ("+query+") WHERE v != '' AND positionCaseInsensitiveUTF8(v, {q:String}) > 0 ORDER BY n DESC, v LIMIT 500",
		parameters{"q": q}.span(s), func(rows driver.Rows) error {
			var v string
			err := rows.Scan(&v)
			out = append(out, v)
			return err
		})
	return out, err
}

// Milliseconds parses a time as milliseconds since the epoch.
func Milliseconds(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > endOfTime/1000 {
		return time.Time{}, invalid("%.40q is no time in milliseconds since the epoch", s)
	}
	return time.UnixMilli(n).UTC(), nil
}
