package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/triage"
)

// Filter selects alerts; an empty field selects any.
type Filter struct {
	States, Severities []string
	Detector, Entity   string
	Assignee           string
	Since              time.Time // alerts last seen at or after
	Suppressed         bool      // suppressed ones too
	Limit              int       // default 50, at most 10,000
}

// Judged is an alert with what people made of it.
type Judged struct {
	alert.Alert
	State    triage.Stage
	Assignee string
	Verdict  triage.Verdict
	Detected alert.Severity // what the detector said; Severity is what counts
	Actions  uint64
}

const alertColumns = `id, time, first_seen, last_seen, detector, entity_kind, entity_id, agent_ids, cohort, suppressed_by, severity,
	severity_detected, confidence, p_value, score, title, reason, evidence.feature, evidence.observed, evidence.expected, evidence.lower,
	evidence.upper, evidence.p_value, evidence.window_seconds, event_ids, event_count, techniques.framework, techniques.version,
	techniques.id, techniques.name, query, detector_version, baseline_version, state, assignee, verdict, actions`

// Alerts returns alerts with their states, the newest first.
func (l *Ledger) Alerts(ctx context.Context, f Filter) ([]Judged, error) {
	var where []string
	var args []any
	add := func(clause string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(clause, len(args)))
	}
	if len(f.States) > 0 {
		add("has($%d, state)", f.States)
	}
	if len(f.Severities) > 0 {
		add("has($%d, toString(severity))", f.Severities)
	}
	if f.Detector != "" {
		add("detector = $%d", f.Detector)
	}
	if f.Entity != "" {
		add("(entity_id = $%[1]d OR has(agent_ids, $%[1]d))", f.Entity)
	}
	if f.Assignee != "" {
		add("assignee = $%d", f.Assignee)
	}
	if !f.Since.IsZero() {
		add("last_seen >= fromUnixTimestamp64Micro($%d, 'UTC')", f.Since.UnixMicro())
	}
	if !f.Suppressed {
		where = append(where, "suppressed_by = ''")
	}
	return l.alerts(ctx, where, args, min(max(f.Limit, 0), 10_000))
}

// Alert returns one alert. prefix may be the beginning of its id, as long as no other begins so.
func (l *Ledger) Alert(ctx context.Context, prefix string) (Judged, error) {
	found, err := l.alerts(ctx, []string{"startsWith(id, $1)"}, []any{prefix}, 2)
	switch {
	case err != nil:
		return Judged{}, err
	case len(found) == 0:
		return Judged{}, fmt.Errorf("there is no alert %.70q", prefix)
	case len(found) > 1 && found[0].ID != prefix && found[1].ID != prefix:
		return Judged{}, fmt.Errorf("several alerts begin with %.70q; write more of the id", prefix)
	case len(found) > 1 && found[1].ID == prefix:
		return found[1], nil
	}
	return found[0], nil
}

func (l *Ledger) alerts(ctx context.Context, where []string, args []any, limit int) ([]Judged, error) {
	if limit <= 0 {
		limit = 50
	}
	q := "SELECT " + alertColumns + " FROM alerts_latest"
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := l.conn.Query(ctx, fmt.Sprintf("%s ORDER BY time DESC, id LIMIT %d", q, limit), args...)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	var out []Judged
	for rows.Next() {
		var j Judged
		var severity, detected, state, verdict string
		var feature []string
		var observed, expected, lower, upper, p []float64
		var window []int64
		var framework, version, id, name []string
		err := rows.Scan(&j.ID, &j.Time, &j.FirstSeen, &j.LastSeen, &j.Detector, &j.EntityKind, &j.EntityID, &j.AgentIDs, &j.Cohort, &j.SuppressedBy, &severity,
			&detected, &j.Confidence, &j.PValue, &j.Score, &j.Title, &j.Reason, &feature, &observed, &expected, &lower,
			&upper, &p, &window, &j.EventIDs, &j.EventCount, &framework, &version,
			&id, &name, &j.Query, &j.DetectorVersion, &j.BaselineVersion, &state, &j.Assignee, &verdict, &j.Actions)
		if err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		j.Severity, j.Detected, j.State, j.Verdict = alert.Severity(severity), alert.Severity(detected), triage.Stage(state), triage.Verdict(verdict)
		for i := range feature {
			j.Evidence = append(j.Evidence, alert.Evidence{Feature: feature[i], Observed: observed[i], Expected: expected[i], Lower: lower[i],
				Upper: upper[i], PValue: p[i], WindowSeconds: window[i]})
		}
		alert.Contribute(j.Score, j.Evidence)
		for i := range id {
			j.Techniques = append(j.Techniques, alert.Technique{Framework: framework[i], Version: version[i], ID: id[i], Name: name[i]})
		}
		out = append(out, j)
	}
	return out, rows.Err()
}

// Letter is a dead letter with what became of it.
type Letter struct {
	Topic     string
	Partition int32
	Offset    int64
	Index     uint32
	Code      string
	Field     string
	Reason    string
	Key, Raw  string
	Size      int64 // of the message's value as it came
	// Headers are those of the message that were kept, names and values; HeadersSize is how many bytes all had as they came.
	HeaderKeys, HeaderValues []string
	HeadersSize              int64

	Time   time.Time
	Action string // the last thing done: "", claim, replay
	Acted  time.Time
}

// ID names a letter on a command line: topic/partition/offset, and /index where it is not 0.
func (l Letter) ID() string {
	s := fmt.Sprintf("%s/%d/%d", l.Topic, l.Partition, l.Offset)
	if l.Index != 0 {
		s += fmt.Sprintf("/%d", l.Index)
	}
	return s
}

// LetterFilter selects dead letters; an empty field selects any.
type LetterFilter struct {
	Topic     string
	Partition int32 // -1: any
	Offset    int64 // -1: any
	Code      string
	Since     time.Time
	Waiting   bool // only those nobody has written again
	Limit     int  // default 50, at most 100,000
}

// Letters returns dead letters, the newest first.
func (l *Ledger) Letters(ctx context.Context, f LetterFilter) ([]Letter, error) {
	where := []string{"1"}
	var args []any
	add := func(clause string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(clause, len(args)))
	}
	if f.Topic != "" {
		add("d.topic = $%d", f.Topic)
	}
	if f.Partition >= 0 {
		add("d.partition = $%d", f.Partition)
	}
	if f.Offset >= 0 {
		add("d.offset = $%d", f.Offset)
	}
	if f.Code != "" {
		add("d.code = $%d", f.Code)
	}
	if !f.Since.IsZero() {
		add("d.time >= fromUnixTimestamp64Micro($%d, 'UTC')", f.Since.UnixMicro())
	}
	if f.Waiting {
		where = append(where, "a.did = ''")
	}
	limit := min(f.Limit, maxRows)
	if limit <= 0 {
		limit = 50
	}
	rows, err := l.conn.Query(ctx, fmt.Sprintf(`SELECT d.topic, d.partition, d.offset, d.idx, d.code, d.field, d.reason, d.key, d.headers.key, d.headers.value, d.headers_size, d.raw, d.size, d.time, a.did, a.at
		FROM (SELECT * FROM dead_letters FINAL) AS d
		LEFT JOIN (SELECT topic, partition, offset, idx, argMax(toString(action), time) AS did, max(time) AS at FROM dead_letter_actions
			GROUP BY topic, partition, offset, idx) AS a USING (topic, partition, offset, idx)
		WHERE %s ORDER BY d.time DESC, d.topic, d.partition, d.offset DESC LIMIT %d`, strings.Join(where, " AND "), limit), args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	defer rows.Close()
	var out []Letter
	for rows.Next() {
		var x Letter
		if err := rows.Scan(&x.Topic, &x.Partition, &x.Offset, &x.Index, &x.Code, &x.Field, &x.Reason, &x.Key, &x.HeaderKeys, &x.HeaderValues, &x.HeadersSize, &x.Raw, &x.Size, &x.Time, &x.Action, &x.Acted); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

// Note appends what is done with a letter: claim, before it is written to its topic again, and replay, when it was.
func (l *Ledger) Note(ctx context.Context, x Letter, who, action, why string) error {
	if who == "" || len(who) > triage.MaxName || len(why) > triage.MaxText {
		return fmt.Errorf("who and why: who is needed, up to %d bytes; why has up to %d", triage.MaxName, triage.MaxText)
	}
	err := l.conn.Exec(synchronous(ctx), "INSERT INTO dead_letter_actions (topic, partition, offset, idx, who, action, why) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		x.Topic, x.Partition, x.Offset, x.Index, who, action, why)
	if err != nil {
		return fmt.Errorf("note what is done with %s: %w", x.ID(), err)
	}
	return nil
}
