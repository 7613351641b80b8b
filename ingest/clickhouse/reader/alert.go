package reader

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/triage"
)

// Row is one alert as the queue shows it: its newest revision, and where people have taken it.
type Row struct {
	ID               string    `json:"id"`
	Time             time.Time `json:"time"`
	FirstSeen        time.Time `json:"first_seen"`
	LastSeen         time.Time `json:"last_seen"`
	Detector         string    `json:"detector"`
	EntityKind       string    `json:"entity_kind"`
	EntityID         string    `json:"entity_id"`
	AgentIDs         []string  `json:"agent_ids"`
	Cohort           string    `json:"cohort"`
	Severity         string    `json:"severity"`          // the one that counts
	SeverityDetected string    `json:"severity_detected"` // the detector's
	Confidence       Number    `json:"confidence"`
	Score            Number    `json:"score"`
	PValue           Number    `json:"p_value"`
	Title            string    `json:"title"`
	State            string    `json:"state"` // open, acknowledged, closed
	Assignee         string    `json:"assignee"`
	Verdict          string    `json:"verdict"`
	EventCount       int64     `json:"event_count"`
	ActedAt          When      `json:"acted_at"`
	Suppressed       bool      `json:"suppressed"`
	Reason           string    `json:"-"`
	Actions          uint64    `json:"-"`
	Revision         uint64    `json:"-"`

	// Of the first piece of evidence.
	Feature  string `json:"feature"`
	Observed Number `json:"observed"`
	Expected Number `json:"expected"`
	Lower    Number `json:"lower"`
	Upper    Number `json:"upper"`
	Window   int64  `json:"window_seconds"`

	changed time.Time
}

// Number is a float that has a JSON form: what is not a number is 0, what is infinite the largest there is.
type Number float64

// MarshalJSON writes a number that JSON has.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		f = 0
	case math.IsInf(f, 0):
		f = math.Copysign(math.MaxFloat64, f)
	}
	return json.Marshal(f)
}

// When is a time that may not have come: its JSON form is then "".
type When struct{ time.Time }

// MarshalJSON writes RFC 3339, or "".
func (w When) MarshalJSON() ([]byte, error) {
	if w.IsZero() || w.Unix() == 0 {
		return []byte(`""`), nil
	}
	return json.Marshal(w.Time)
}

const rowColumns = `id, time, first_seen, last_seen, detector, entity_kind, entity_id, agent_ids, cohort, severity, severity_detected,
	confidence, score, p_value, title, state, assignee, verdict, event_count, acted_at, suppressed_by != '' AS suppressed, reason, actions, revision,
	evidence.feature[1], evidence.observed[1], evidence.expected[1], evidence.lower[1], evidence.upper[1], evidence.window_seconds[1],
	greatest(toDateTime64(written_at, 6, 'UTC'), acted_at) AS changed`

func scanRow(rows driver.Rows) (a Row, err error) {
	var suppressed uint8
	err = rows.Scan(&a.ID, &a.Time, &a.FirstSeen, &a.LastSeen, &a.Detector, &a.EntityKind, &a.EntityID, &a.AgentIDs, &a.Cohort,
		&a.Severity, &a.SeverityDetected, (*float64)(&a.Confidence), (*float64)(&a.Score), (*float64)(&a.PValue), &a.Title, &a.State, &a.Assignee, &a.Verdict,
		&a.EventCount, &a.ActedAt.Time, &suppressed, &a.Reason, &a.Actions, &a.Revision,
		&a.Feature, (*float64)(&a.Observed), (*float64)(&a.Expected), (*float64)(&a.Lower), (*float64)(&a.Upper), &a.Window, &a.changed)
	a.Suppressed = suppressed != 0
	if a.AgentIDs == nil {
		a.AgentIDs = []string{}
	}
	return a, err
}

// Condition is an ad-hoc filter: a field, an operator (= != =~ !~ < >) and a value. =~ is a regular expression (RE2).
type Condition struct {
	Key, Op, Value string
}

// Filter of alerts. Empty fields match anything; the alerts' episodes overlap the span.
type Filter struct {
	Span
	State, Severity, Detector, Cohort, EntityKind, EntityID, Agent []string
	Text                                                           string // in title, reason or the entity's id, any case
	Suppressed                                                     string // "" with the suppressed ones, "only", "without"
	OpenFor                                                        time.Duration
	Where                                                          []Condition
	Sort                                                           string // a column, default time
	Ascending                                                      bool
	Limit, Offset                                                  int
}

// MaxAlerts is the most alerts one answer holds.
const MaxAlerts = 20_000

var alertColumns = map[string]string{
	"id": "id", "detector": "detector", "severity": "severity", "state": "state", "cohort": "cohort", "entity_kind": "entity_kind",
	"entity_id": "entity_id", "entity": "entity_id", "assignee": "assignee", "verdict": "verdict", "title": "title", "reason": "reason",
	"confidence": "confidence", "score": "score", "event_count": "event_count",
}

var alertOrder = map[string]string{
	"": "time", "time": "time", "first_seen": "first_seen", "last_seen": "last_seen", "detector": "detector", "entity": "entity_id",
	"entity_id": "entity_id", "cohort": "cohort", "confidence": "confidence", "score": "score", "title": "title", "state": "state",
	"assignee": "assignee", "event_count": "event_count", "acted_at": "acted_at",
	"severity": "indexOf(['low','medium','high','critical'], severity)",
}

const (
	maxFilters = 20
	maxValues  = 200
	maxValue   = 1024 // bytes of one value
)

// where adds the conditions of an ad-hoc filter, on columns that the map names; no text of the filter reaches SQL.
func where(filters []Condition, columns map[string]string, p parameters) (out []string, err error) {
	if len(filters) > maxFilters {
		return nil, invalid("filters: at most %d", maxFilters)
	}
	for i, f := range filters {
		name := fmt.Sprintf("f%d", i)
		if len(f.Value) > maxValue {
			return nil, invalid("filter %s: a value is at most %d bytes", f.Key, maxValue)
		}
		p[name] = f.Value
		if f.Key == "agent" || f.Key == "agent_ids" {
			if columns["agent"] == "" {
				switch f.Op {
				case "=":
					out = append(out, fmt.Sprintf("has(agent_ids, {%s:String})", name))
				case "!=":
					out = append(out, fmt.Sprintf("NOT has(agent_ids, {%s:String})", name))
				default:
					return nil, invalid("filter agent: takes = or !=")
				}
				continue
			}
		}
		column, ok := columns[f.Key]
		if !ok {
			return nil, invalid("filter %.40q: there is no such field", f.Key)
		}
		switch f.Op {
		case "=", "!=":
			out = append(out, fmt.Sprintf("toString(%s) %s {%s:String}", column, f.Op, name))
		case "=~":
			out = append(out, fmt.Sprintf("match(toString(%s), {%s:String})", column, name))
		case "!~":
			out = append(out, fmt.Sprintf("NOT match(toString(%s), {%s:String})", column, name))
		case "<", ">":
			n, err := strconv.ParseFloat(f.Value, 64)
			if err != nil {
				return nil, invalid("filter %s %s: %.40q is not a number", f.Key, f.Op, f.Value)
			}
			p[name] = n
			out = append(out, fmt.Sprintf("toFloat64OrZero(toString(%s)) %s {%s:Float64}", column, f.Op, name))
		default:
			return nil, invalid("filter %s: %.10q is none of = != =~ !~ < >", f.Key, f.Op)
		}
	}
	return out, nil
}

// in adds the condition that a column has one of the values; none is any.
func in(out []string, p parameters, column, name string, values []string) ([]string, error) {
	if len(values) == 0 {
		return out, nil
	}
	if len(values) > maxValues {
		return nil, invalid("%s: at most %d values", name, maxValues)
	}
	p[name] = values
	return append(out, fmt.Sprintf("has({%s:Array(String)}, %s)", name, column)), nil
}

func (f Filter) where(now time.Time) (string, parameters, error) {
	if err := f.Check(); err != nil {
		return "", nil, invalid("%v", err)
	}
	p := parameters{}.span(f.Span)
	out := []string{"last_seen >= {from:DateTime64(6,'UTC')}", "first_seen <= {to:DateTime64(6,'UTC')}"}
	var err error
	for _, x := range []struct {
		column, name string
		values       []string
	}{
		{"state", "state", f.State}, {"severity", "severity", f.Severity}, {"detector", "detector", f.Detector}, {"cohort", "cohort", f.Cohort},
		{"entity_kind", "entity_kind", f.EntityKind}, {"entity_id", "entity_id", f.EntityID},
	} {
		// The view's state and severity are its own columns.
		if out, err = in(out, p, x.column, x.name, x.values); err != nil {
			return "", nil, err
		}
	}
	if len(f.Agent) > maxValues {
		return "", nil, invalid("agent: at most %d values", maxValues)
	}
	if len(f.Agent) > 0 {
		p["agents"] = f.Agent
		out = append(out, "hasAny(agent_ids, {agents:Array(String)})")
	}
	if f.Text != "" {
		if len(f.Text) > maxValue {
			return "", nil, invalid("q: at most %d bytes", maxValue)
		}
		p["text"] = f.Text
		out = append(out, "positionCaseInsensitiveUTF8(concat(title, '\n', reason, '\n', entity_id, '\n', arrayStringConcat(agent_ids, '\n')), {text:String}) > 0")
	}
	switch f.Suppressed {
	case "", "with":
	case "only":
		out = append(out, "suppressed_by != ''")
	case "without":
		out = append(out, "suppressed_by = ''")
	default:
		return "", nil, invalid("suppressed: %.20q is none of with, without, only", f.Suppressed)
	}
	if f.OpenFor > 0 {
		p["open_since"] = now.Add(-f.OpenFor)
		out = append(out, "time <= {open_since:DateTime64(6,'UTC')}")
	}
	more, err := where(f.Where, alertColumns, p)
	if err != nil {
		return "", nil, err
	}
	return all(append(out, more...)), p, nil
}

// Alerts returns alerts, the newest first unless the filter says otherwise, how many there are in all, and the cursor
// from which Changes goes on.
func (r *Reader) Alerts(ctx context.Context, f Filter) (list []Row, total uint64, cursor string, err error) {
	order, ok := alertOrder[f.Sort]
	if !ok {
		return nil, 0, "", invalid("sort: there is no column %.40q", f.Sort)
	}
	if f.Limit <= 0 || f.Limit > MaxAlerts {
		f.Limit = MaxAlerts
	}
	direction := "DESC"
	if f.Ascending {
		direction = "ASC"
	}
	cond, p, err := f.where(r.now())
	if err != nil {
		return nil, 0, "", err
	}
	p["limit"], p["offset"] = uint64(f.Limit), uint64(max(f.Offset, 0))
	// The cursor is taken first: what arrives meanwhile is told by Changes.
	if cursor, err = r.Cursor(ctx); err != nil {
		return nil, 0, "", err
	}
	list = []Row{}
	query := fmt.Sprintf("SELECT %s FROM alerts_latest WHERE %s ORDER BY %s %s, id LIMIT {limit:UInt64} OFFSET {offset:UInt64}", rowColumns, cond, order, direction)
	err = r.rows(ctx, "read the alerts", query, p, func(rows driver.Rows) error {
		a, err := scanRow(rows)
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, 0, "", err
	}
	total = uint64(len(list))
	if len(list) == f.Limit || f.Offset > 0 {
		delete(p, "limit")
		delete(p, "offset")
		err = r.row(ctx, "count the alerts", "SELECT count() FROM alerts_latest WHERE "+cond, p, &total)
	}
	return list, total, cursor, err
}

// CountBySeverity counts the alerts of a filter, for each severity that it asks for (or each there is), zero included.
func (r *Reader) CountBySeverity(ctx context.Context, f Filter) (map[string]uint64, error) {
	cond, p, err := f.where(r.now())
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, s := range Severities {
		if len(f.Severity) == 0 || slices.Contains(f.Severity, s) {
			out[s] = 0
		}
	}
	err = r.rows(ctx, "count the alerts", "SELECT severity, count() FROM alerts_latest WHERE "+cond+" GROUP BY severity", p, func(rows driver.Rows) error {
		var s string
		var n uint64
		if err := rows.Scan(&s, &n); err != nil {
			return err
		}
		out[s] = n
		return nil
	})
	return out, err
}

// Severities, the lowest first.
var Severities = []string{string(alert.Low), string(alert.Medium), string(alert.High), string(alert.Critical)}

// overlap is how far behind the cursor Changes looks once more: a row is seen only some time after the moment
// that is written in it, and the clocks of those who write differ. Rows within it may therefore come twice.
const overlap = 15 * time.Second

// Cursor is the present as Changes takes it, by the server's clock.
func (r *Reader) Cursor(ctx context.Context) (string, error) {
	var now time.Time
	err := r.row(ctx, "read the server's clock", "SELECT now64(6, 'UTC')", nil, &now)
	return strconv.FormatInt(now.Add(-overlap).UnixMicro(), 10), err
}

// Changes returns the alerts that were written or acted upon since the cursor, the oldest change first, and the
// next cursor. Rows may come twice.
func (r *Reader) Changes(ctx context.Context, cursor string, limit int) ([]Row, string, error) {
	since, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || since < 0 || since > endOfTime {
		return nil, "", invalid("cursor: %.40q was not given out by this server", cursor)
	}
	if limit <= 0 || limit > MaxAlerts {
		limit = MaxAlerts
	}
	next, err := r.Cursor(ctx)
	if err != nil {
		return nil, "", err
	}
	list := []Row{}
	query := `SELECT ` + rowColumns + ` FROM alerts_latest WHERE id IN (
			SELECT id FROM alerts WHERE written_at >= {since:DateTime64(6,'UTC')}
			UNION DISTINCT SELECT alert_id FROM alert_actions WHERE time >= {since:DateTime64(6,'UTC')})
		ORDER BY changed, id LIMIT {limit:UInt64}`
	err = r.rows(ctx, "read what changed", query, parameters{"since": time.UnixMicro(since), "limit": uint64(limit)}, func(rows driver.Rows) error {
		a, err := scanRow(rows)
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) == limit {
		next = strconv.FormatInt(list[limit-1].changed.UnixMicro(), 10)
	}
	return list, next, nil
}

const endOfTime = 7_258_118_400_000_000 // 2200, microseconds since the epoch

// Rows returns the alerts of the ids; those that do not exist are left out.
func (r *Reader) Rows(ctx context.Context, ids []string) ([]Row, error) {
	if len(ids) > maxIDs {
		return nil, invalid("ids: at most %d", maxIDs)
	}
	list := []Row{}
	err := r.rows(ctx, "read the alerts", "SELECT "+rowColumns+" FROM alerts_latest WHERE id IN {ids:Array(String)} ORDER BY time DESC, id", parameters{"ids": ids},
		func(rows driver.Rows) error {
			a, err := scanRow(rows)
			list = append(list, a)
			return err
		})
	return list, err
}

const maxIDs = 1000

// Evidence is one feature's contribution, as alert.Evidence.
type Evidence struct {
	Feature       string `json:"feature"`
	Observed      Number `json:"observed"`
	Expected      Number `json:"expected"`
	Lower         Number `json:"lower"`
	Upper         Number `json:"upper"`
	PValue        Number `json:"p_value"`
	WindowSeconds int64  `json:"window_seconds"`
	Contribution  Number `json:"contribution"`
}

// Alert is all that is known of one alert.
type Alert struct {
	Row
	Reason          string            `json:"reason"`
	Evidence        []Evidence        `json:"evidence"`
	EventIDs        []string          `json:"event_ids"`
	Techniques      []alert.Technique `json:"techniques"`
	Query           string            `json:"query"`
	DetectorVersion string            `json:"detector_version"`
	BaselineVersion string            `json:"baseline_version"`
	SuppressedBy    string            `json:"suppressed_by"`
}

// Alert reads one alert.
func (r *Reader) Alert(ctx context.Context, id string) (*Alert, error) {
	list, err := r.Rows(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, &Problem{NotFound, fmt.Sprintf("there is no alert %.80q; it may be older than what is kept", id), nil}
	}
	a := &Alert{Row: list[0], Reason: list[0].Reason, Evidence: []Evidence{}, Techniques: []alert.Technique{}}
	var feature, framework, version, tid, name []string
	var observed, expected, lower, upper, pvalue []float64
	var window []int64
	err = r.row(ctx, "read the alert", `SELECT evidence.feature, evidence.observed, evidence.expected, evidence.lower, evidence.upper, evidence.p_value,
		evidence.window_seconds, event_ids, techniques.framework, techniques.version, techniques.id, techniques.name, query, detector_version,
		baseline_version, suppressed_by FROM alerts WHERE id = {id:String} ORDER BY revision DESC LIMIT 1`, parameters{"id": id},
		&feature, &observed, &expected, &lower, &upper, &pvalue, &window, &a.EventIDs, &framework, &version, &tid, &name, &a.Query,
		&a.DetectorVersion, &a.BaselineVersion, &a.SuppressedBy)
	if err != nil {
		return nil, err
	}
	parts := make([]alert.Evidence, len(feature))
	for i := range parts {
		parts[i].PValue = pvalue[i]
	}
	alert.Contribute(float64(a.Score), parts)
	for i := range feature {
		a.Evidence = append(a.Evidence, Evidence{feature[i], Number(observed[i]), Number(expected[i]), Number(lower[i]), Number(upper[i]), Number(pvalue[i]), window[i],
			Number(parts[i].Contribution)})
	}
	for i := range tid {
		a.Techniques = append(a.Techniques, alert.Technique{Framework: framework[i], Version: version[i], ID: tid[i], Name: name[i]})
	}
	return a, nil
}

// state of a row, as package triage has it.
func (a *Row) state() triage.State {
	return triage.State{Stage: triage.Stage(a.State), Assignee: a.Assignee, Verdict: triage.Verdict(a.Verdict), Severity: alert.Severity(a.Severity)}
}

// Failure says why an action was not taken on an alert.
type Failure struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// Act appends an action on each of the alerts, where its state allows it, and returns the alerts as they are then.
// An action of somebody else that arrives meanwhile is kept as well, and takes effect in the order of the times.
func (r *Reader) Act(ctx context.Context, ids []string, act triage.Action) (applied []Row, failed []Failure, err error) {
	applied, failed = []Row{}, []Failure{}
	switch {
	case len(ids) == 0:
		return nil, nil, invalid("ids: name at least one alert")
	case len(ids) > maxIDs:
		return nil, nil, invalid("ids: at most %d alerts at once", maxIDs)
	}
	act.AlertID = ids[0]
	if err := act.Check(); err != nil {
		return nil, nil, &Problem{Invalid, err.Error(), err}
	}
	found, err := r.Rows(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	byID := map[string]*Row{}
	for i := range found {
		byID[found[i].ID] = &found[i]
	}
	var actions []triage.Action
	var done []string
	for _, id := range ids {
		row := byID[id]
		if row == nil {
			if !slices.Contains(done, id) {
				failed = append(failed, Failure{id, "there is no such alert"})
			}
			continue
		}
		delete(byID, id) // named twice is acted upon once
		done = append(done, id)
		a := act
		a.AlertID = id
		if _, err := row.state().Apply(a); err != nil {
			failed = append(failed, Failure{id, err.Error()})
			continue
		}
		actions = append(actions, a)
	}
	if len(actions) == 0 {
		return applied, failed, nil
	}
	if err := r.append(ctx, actions); err != nil {
		return nil, nil, err
	}
	acted := make([]string, len(actions))
	for i, a := range actions {
		acted[i] = a.AlertID
	}
	applied, err = r.Rows(ctx, acted)
	return applied, failed, err
}

func (r *Reader) append(ctx context.Context, actions []triage.Action) error {
	ctx, cancel := r.within(ctx)
	defer cancel()
	if _, err := r.ledger.Append(ctx, actions...); err != nil {
		return r.problem(ctx, "record the action", err)
	}
	return nil
}

// Action is one row of the audit trail.
type Action struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Who    string    `json:"who"`
	Action string    `json:"action"`
	Value  string    `json:"value"`
	Why    string    `json:"why"`
}

// Actions returns the audit trail of an alert, the oldest first.
func (r *Reader) Actions(ctx context.Context, id string) ([]Action, error) {
	ctx, cancel := r.within(ctx)
	defer cancel()
	list, err := r.ledger.Actions(ctx, id)
	if err != nil {
		return nil, r.problem(ctx, "read the audit trail", err)
	}
	out := []Action{}
	for _, a := range list {
		out = append(out, Action{a.ID, a.Time, a.Who, string(a.Kind), a.Value, a.Why})
	}
	return out, nil
}

// Suppression is a rule that hides alerts, as triage.Suppression.
type Suppression struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	Who        string    `json:"who"`
	Why        string    `json:"why"`
	Detector   string    `json:"detector"`
	EntityKind string    `json:"entity_kind"`
	EntityID   string    `json:"entity_id"`
	Pattern    string    `json:"pattern"`
	Until      When      `json:"until"` // "" for ever
	Removed    bool      `json:"removed"`
}

// Suppressions returns the rules that count or have run out, and those that were removed, the newest first.
func (r *Reader) Suppressions(ctx context.Context) ([]Suppression, error) {
	out := []Suppression{}
	forever := time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
	err := r.rows(ctx, "read the suppressions", `SELECT toString(id), time, who, why, detector, entity_kind, entity_id, pattern, until, removed
		FROM (SELECT * FROM suppressions ORDER BY revision DESC LIMIT 1 BY id) ORDER BY removed, time DESC LIMIT 10000`, nil, func(rows driver.Rows) error {
		var s Suppression
		var removed uint8
		err := rows.Scan(&s.ID, &s.Time, &s.Who, &s.Why, &s.Detector, &s.EntityKind, &s.EntityID, &s.Pattern, &s.Until.Time, &removed)
		if s.Until.After(forever) {
			s.Until = When{}
		}
		s.Removed = removed != 0
		out = append(out, s)
		return err
	})
	return out, err
}

// Suppress adds a rule.
func (r *Reader) Suppress(ctx context.Context, s triage.Suppression) (triage.Suppression, error) {
	if err := s.Check(r.now()); err != nil {
		return s, &Problem{Invalid, err.Error(), err}
	}
	ctx, cancel := r.within(ctx)
	defer cancel()
	s, err := r.ledger.Suppress(ctx, s)
	if err != nil {
		return s, r.problem(ctx, "suppress", err)
	}
	return s, nil
}

// Unsuppress ends a rule, which stays in the trail.
func (r *Reader) Unsuppress(ctx context.Context, id, who, why string) error {
	if strings.TrimSpace(why) == "" {
		why = "removed"
	}
	ctx, cancel := r.within(ctx)
	defer cancel()
	list, err := r.ledger.Suppressions(ctx)
	if err != nil {
		return r.problem(ctx, "read the suppressions", err)
	}
	i := slices.IndexFunc(list, func(s triage.Suppression) bool { return s.ID == id })
	if i < 0 {
		return &Problem{NotFound, fmt.Sprintf("there is no suppression %.80q, or somebody has removed it", id), nil}
	}
	s := list[i]
	s.Who, s.Why, s.Removed = who, why, true
	if err := s.Check(r.now()); err != nil {
		return &Problem{Invalid, err.Error(), err}
	}
	if _, err := r.ledger.Suppress(ctx, s); err != nil {
		return r.problem(ctx, "remove the suppression", err)
	}
	return nil
}

// Preview says which alerts of the past a rule would have hidden.
type Preview struct {
	Hidden int   `json:"hidden"`
	Open   int   `json:"open"` // of these, those that are not closed
	Sample []Row `json:"sample"`
	Days   int   `json:"days"`
}

// previewDays is how far back a preview looks, from the newest alert.
const previewDays = 30

// Preview tries a rule on the alerts of the last days, with the very rules the engine goes by.
func (r *Reader) Preview(ctx context.Context, s triage.Suppression) (Preview, error) {
	if s.Why == "" {
		s.Why = "preview"
	}
	if err := s.Check(r.now()); err != nil {
		return Preview{}, &Problem{Invalid, err.Error(), err}
	}
	p := Preview{Sample: []Row{}, Days: previewDays}
	// What can be an index's or a column's work is done by the server, the pattern by triage.
	cond := []string{"last_seen >= (SELECT max(last_seen) FROM alerts) - INTERVAL {days:UInt16} DAY"}
	values := parameters{"days": uint16(previewDays)}
	for _, x := range []struct{ column, value string }{{"detector", s.Detector}, {"entity_kind", s.EntityKind}, {"entity_id", s.EntityID}} {
		if x.value != "" {
			values[x.column] = x.value
			cond = append(cond, fmt.Sprintf("%s = {%[1]s:String}", x.column))
		}
	}
	type candidate struct {
		a     alert.Alert
		state string
	}
	var ids []string
	query := `SELECT id, detector, entity_kind, entity_id, agent_ids, cohort, title, reason, evidence.feature, state FROM alerts_latest
		WHERE ` + all(cond) + ` ORDER BY last_seen DESC LIMIT 200000`
	err := r.rows(ctx, "try the suppression", query, values, func(rows driver.Rows) error {
		var c candidate
		var features []string
		if err := rows.Scan(&c.a.ID, &c.a.Detector, &c.a.EntityKind, &c.a.EntityID, &c.a.AgentIDs, &c.a.Cohort, &c.a.Title, &c.a.Reason, &features, &c.state); err != nil {
			return err
		}
		for _, f := range features {
			c.a.Evidence = append(c.a.Evidence, alert.Evidence{Feature: f})
		}
		if !s.Matches(&c.a) {
			return nil
		}
		p.Hidden++
		if c.state != string(triage.Closed) {
			p.Open++
		}
		if len(ids) < 5 {
			ids = append(ids, c.a.ID)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return p, err
	}
	p.Sample, err = r.Rows(ctx, ids)
	return p, err
}
