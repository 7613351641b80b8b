// Package ledger keeps in ClickHouse what people decide: actions on alerts, suppressions, and what became of dead
// letters. Everything is appended and nothing is changed, so that it is an audit trail by itself.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/astray-dev/astray/detect/triage"
)

// Ledger reads and appends decisions. It is safe for use by several goroutines.
type Ledger struct {
	conn  driver.Conn
	owned bool
}

// maxRules bounds the suppressions that are read, and maxRows every other answer.
const (
	maxRules = 10_000
	maxRows  = 100_000
)

// Forever is the end of a suppression that has none, as the table has it.
var Forever = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Open connects to the database of the DSN.
func Open(ctx context.Context, dsn string) (*Ledger, error) {
	opt, err := native.ParseDSN(dsn)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the DSN may hold a password
		}
		return nil, fmt.Errorf("clickhouse DSN: %w", err)
	}
	conn, err := native.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	if err := conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("clickhouse: %w", err), conn.Close())
	}
	return &Ledger{conn, true}, nil
}

// New uses a connection that somebody else closes.
func New(conn driver.Conn) *Ledger { return &Ledger{conn, false} }

// Conn is the connection, for queries of other kinds.
func (l *Ledger) Conn() driver.Conn { return l.conn }

// Close closes a connection that Open made.
func (l *Ledger) Close() error {
	if !l.owned {
		return nil
	}
	return l.conn.Close()
}

func synchronous(ctx context.Context) context.Context {
	return native.Context(ctx, native.WithSettings(native.Settings{"async_insert": 0}))
}

// Append adds actions, after checking them. Actions without an id or a time get one; what was added is returned.
func (l *Ledger) Append(ctx context.Context, actions ...triage.Action) ([]triage.Action, error) {
	out := make([]triage.Action, len(actions))
	for i, a := range actions {
		if err := a.Check(); err != nil {
			return nil, err
		}
		if a.ID == "" {
			a.ID = uuid.NewString()
		}
		if _, err := uuid.Parse(a.ID); err != nil {
			return nil, fmt.Errorf("id of the action: %w", err)
		}
		if a.Time.IsZero() {
			a.Time = time.Now().UTC()
		}
		out[i] = a
	}
	b, err := l.conn.PrepareBatch(synchronous(ctx), "INSERT INTO alert_actions (alert_id, time, id, who, action, value, why)")
	if err != nil {
		return nil, fmt.Errorf("append actions: %w", err)
	}
	for _, a := range out {
		if err := b.Append(a.AlertID, a.Time, a.ID, a.Who, string(a.Kind), a.Value, a.Why); err != nil {
			return nil, errors.Join(fmt.Errorf("append actions: %w", err), b.Abort())
		}
	}
	if err := b.Send(); err != nil {
		return nil, fmt.Errorf("append actions: %w", err)
	}
	return out, nil
}

// Actions returns what was done with an alert, the oldest first.
func (l *Ledger) Actions(ctx context.Context, alertID string) ([]triage.Action, error) {
	rows, err := l.conn.Query(ctx, `SELECT toString(id), alert_id, time, who, action, value, why FROM alert_actions
		WHERE alert_id = $1 ORDER BY time, id LIMIT $2`, alertID, maxRows)
	if err != nil {
		return nil, fmt.Errorf("read the actions: %w", err)
	}
	defer rows.Close()
	var out []triage.Action
	for rows.Next() {
		var a triage.Action
		var kind string
		if err := rows.Scan(&a.ID, &a.AlertID, &a.Time, &a.Who, &kind, &a.Value, &a.Why); err != nil {
			return nil, fmt.Errorf("read the actions: %w", err)
		}
		a.Kind = triage.Kind(kind)
		out = append(out, a)
	}
	return out, rows.Err()
}

// Suppress adds a suppression, or a further revision of one that has an id, after checking it.
func (l *Ledger) Suppress(ctx context.Context, s triage.Suppression) (triage.Suppression, error) {
	now := time.Now().UTC()
	if err := s.Check(now); err != nil {
		return s, err
	}
	if s.ID == "" {
		s.ID = uuid.NewString()
	}
	if _, err := uuid.Parse(s.ID); err != nil {
		return s, fmt.Errorf("id of the suppression: %w", err)
	}
	s.Time = now
	s.Revision = uint64(now.UnixMicro())
	until := s.Until
	if until.IsZero() {
		until = Forever
	}
	removed := uint8(0)
	if s.Removed {
		removed = 1
	}
	b, err := l.conn.PrepareBatch(synchronous(ctx), "INSERT INTO suppressions (id, revision, time, who, why, detector, entity_kind, entity_id, pattern, until, removed)")
	if err != nil {
		return s, fmt.Errorf("suppress: %w", err)
	}
	if err := b.Append(s.ID, s.Revision, s.Time, s.Who, s.Why, s.Detector, s.EntityKind, s.EntityID, s.Pattern, until, removed); err != nil {
		return s, errors.Join(fmt.Errorf("suppress: %w", err), b.Abort())
	}
	if err := b.Send(); err != nil {
		return s, fmt.Errorf("suppress: %w", err)
	}
	return s, nil
}

// Suppressions returns the suppressions that were not removed, the oldest first. Those that have run out are among them.
func (l *Ledger) Suppressions(ctx context.Context) ([]triage.Suppression, error) {
	rows, err := l.conn.Query(ctx, `SELECT toString(id), revision, time, who, why, detector, entity_kind, entity_id, pattern, until
		FROM (SELECT * FROM suppressions ORDER BY revision DESC LIMIT 1 BY id) WHERE removed = 0 ORDER BY time, id LIMIT $1`, maxRules)
	if err != nil {
		return nil, fmt.Errorf("read the suppressions: %w", err)
	}
	defer rows.Close()
	var out []triage.Suppression
	for rows.Next() {
		var s triage.Suppression
		if err := rows.Scan(&s.ID, &s.Revision, &s.Time, &s.Who, &s.Why, &s.Detector, &s.EntityKind, &s.EntityID, &s.Pattern, &s.Until); err != nil {
			return nil, fmt.Errorf("read the suppressions: %w", err)
		}
		if !s.Until.Before(Forever) {
			s.Until = time.Time{}
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// Benign returns the judgements that hold alerts to be benign and were made at or after a time, the oldest first. Those
// that somebody has overruled since are left out.
func (l *Ledger) Benign(ctx context.Context, since time.Time) ([]triage.Judgement, error) {
	rows, err := l.conn.Query(ctx, `
		WITH judged AS (
			SELECT alert_id, argMax(toString(id), (time, id)) AS action_id, max(time) AS at, argMax(action, (time, id)) AS turn,
				argMax(value, (time, id)) AS verdict
			FROM alert_actions WHERE action IN ('acknowledge', 'close', 'reopen') GROUP BY alert_id
			HAVING turn = 'close' AND verdict = 'benign' AND at >= fromUnixTimestamp64Micro($1, 'UTC')
			ORDER BY at LIMIT $2)
		SELECT j.action_id, j.at, j.alert_id, agent, a.first_seen, a.last_seen FROM judged AS j
		INNER JOIN (SELECT id, first_seen, last_seen, arrayJoin(agent_ids) AS agent FROM alerts FINAL
			WHERE id IN (SELECT alert_id FROM judged)) AS a ON a.id = j.alert_id
		ORDER BY j.at, j.action_id, agent`, since.UnixMicro(), maxRows)
	if err != nil {
		return nil, fmt.Errorf("read the verdicts: %w", err)
	}
	defer rows.Close()
	var out []triage.Judgement
	for rows.Next() {
		j := triage.Judgement{Verdict: triage.Benign}
		if err := rows.Scan(&j.ID, &j.Time, &j.AlertID, &j.AgentID, &j.From, &j.To); err != nil {
			return nil, fmt.Errorf("read the verdicts: %w", err)
		}
		out = append(out, j)
	}
	return out, rows.Err()
}
