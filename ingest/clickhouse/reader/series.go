package reader

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// measure is how a feature is counted from stored events: an expression over the events of a window, or the values
// of a column that were not seen before.
type measure struct {
	count string // an aggregate
	fresh string // a column: counted in the window of its first event
	when  string // of fresh: which events count
	unit  string // as Grafana names it
}

// measures are the features that can be counted from what is stored. The engine's own counts differ from these where it
// forgets (only so many values are remembered) and where a value new to the agent is known to its cohort.
var measures = map[string]measure{
	"events":                  {count: "count()", unit: "short"},
	"posts":                   {count: "countIf(kind = 'post')", unit: "short"},
	"distinct_resources_read": {count: "uniqIf(resource, access = 'read' AND resource != '')", unit: "short"},
	"new_resources_read":      {fresh: "resource", when: "access = 'read' AND resource != ''", unit: "short"},
	"denied":                  {count: "countIf(status IN (401, 403, 407))", unit: "short"},
	"missing":                 {count: "countIf(status IN (404, 410))", unit: "short"},
	"distinct_services":       {count: "uniqIf(service, service NOT IN ('', 'unknown'))", unit: "short"},
	"new_services":            {fresh: "service", when: "service NOT IN ('', 'unknown')", unit: "short"},
	"distinct_destinations":   {count: "uniqIf(destination, destination != '')", unit: "short"},
	"new_destinations":        {fresh: "destination", when: "destination != ''", unit: "short"},
	"new_actions":             {fresh: "action", when: "1", unit: "short"},
	"new_credentials":         {fresh: "credential_id", when: "credential_id != ''", unit: "short"},
	"new_agents":              {fresh: "agent_id", when: "1", unit: "short"},
	"kilobytes_sent":          {count: "sum(request_bytes) / 1024", unit: "deckbytes"},
	"kilobytes_received":      {count: "sum(response_bytes) / 1024", unit: "deckbytes"},
	"privileged_operations":   {count: "countIf(access IN ('delete', 'auth', 'admin'))", unit: "short"},
	"distinct_agents":         {count: "uniq(agent_id)", unit: "short"},
}

// Features that can be counted from what is stored, in the order of the alphabet.
func Features() []string {
	var out []string
	for f := range measures {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// Unit of a feature, as Grafana names it.
func Unit(feature string) string { return measures[feature].unit }

// measured is the feature itself, or "events" where it cannot be counted.
func measured(feature string) string {
	if _, ok := measures[feature]; ok {
		return feature
	}
	return "events"
}

// Windows the engine counts in, seconds. They are aligned to the epoch.
var Windows = []int64{60, 600, 3600, 86400}

// WindowFor is the shortest window of which at most n cover the span.
func WindowFor(s Span, n int) int64 {
	for _, w := range Windows {
		if int64(s.Length()/time.Second)/w < int64(n) {
			return w
		}
	}
	return Windows[len(Windows)-1]
}

// Entity names whose events are meant.
type Entity struct{ Kind, ID string }

const maxEntity = 1024 // bytes of an id

// where is the condition on events that are the entity's.
func (e Entity) where(p parameters) (string, error) {
	if e.ID == "" {
		return "", invalid("%s: name one", e.kind())
	}
	if len(e.ID) > maxEntity {
		return "", invalid("%s: an id is at most %d bytes", e.kind(), maxEntity)
	}
	p["entity"] = e.ID
	switch e.kind() {
	case "agent":
		return "agent_id = {entity:String}", nil
	case "credential":
		return "credential_id = {entity:String}", nil
	case "source":
		return "source_ip = {entity:String}", nil
	case "destination":
		return "destination = {entity:String}", nil
	case "template":
		return "agent_id IN (SELECT arrayJoin(agent_ids) FROM alerts WHERE entity_kind = 'template' AND entity_id = {entity:String})", nil
	}
	return "", invalid("kind: %.20q is none of agent, credential, source, destination, template", e.Kind)
}

func (e Entity) kind() string {
	if e.Kind == "" {
		return "agent"
	}
	return e.Kind
}

// Point is what was counted in the window that begins at T.
type Point struct {
	T        time.Time
	Observed float64
}

// maxPoints of a series.
const maxPoints = 11_000

// Series counts a feature of an entity window by window, with the windows in which there was nothing. An entity
// without an id is the fleet. filters narrow the events.
func (r *Reader) Series(ctx context.Context, e Entity, feature string, window int64, s Span, filters []Condition) ([]Point, error) {
	m, ok := measures[feature]
	if !ok {
		return nil, invalid("feature: %.40q cannot be counted from stored events; there are %s", feature, strings.Join(Features(), ", "))
	}
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	if !slices.Contains(Windows, window) {
		return nil, invalid("window: %d is none of %v seconds", window, Windows)
	}
	from := s.From.Unix() / window * window
	to := s.To.Unix()
	if (to-from)/window > maxPoints {
		return nil, invalid("time range: more than %d windows of %d s", maxPoints, window)
	}
	p := parameters{"from": time.Unix(from, 0), "to": s.To, "window": uint32(window)}
	cond := "1"
	if e.ID != "" {
		var err error
		if cond, err = e.where(p); err != nil {
			return nil, err
		}
	}
	more, err := where(filters, eventColumns, p)
	if err != nil {
		return nil, err
	}
	cond = all(append([]string{cond}, more...))
	const span = "time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')}"
	query := fmt.Sprintf("SELECT intDiv(toUnixTimestamp(time), {window:UInt32}) AS w, toFloat64(%s) FROM events WHERE %s AND %s GROUP BY w ORDER BY w", m.count, span, cond)
	if m.fresh != "" {
		p["past"] = time.Unix(from, 0).Add(-freshPast)
		query = fmt.Sprintf(`SELECT intDiv(toUnixTimestamp(first), {window:UInt32}) AS w, toFloat64(count()) FROM (
			SELECT min(time) AS first FROM events WHERE time >= {past:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} AND %s AND %s GROUP BY %s)
			WHERE first >= {from:DateTime64(6,'UTC')} GROUP BY w ORDER BY w`, m.when, cond, m.fresh)
	}
	var out []Point
	for t := from; t <= to; t += window {
		out = append(out, Point{T: time.Unix(t, 0).UTC()})
	}
	err = r.rows(ctx, "count "+feature, query, p, func(rows driver.Rows) error {
		var w uint64
		var x float64
		if err := scanWindow(rows, &w, &x); err != nil {
			return err
		}
		if i := int64(w) - from/window; i >= 0 && i < int64(len(out)) {
			out[i].Observed = x
		}
		return nil
	})
	return out, err
}

func scanWindow(rows driver.Rows, w *uint64, x *float64) error {
	var w32 uint32
	err := rows.Scan(&w32, x)
	*w = uint64(w32)
	return err
}

// freshPast is how far before a span a value must not have been seen to be new in it.
const freshPast = 30 * 24 * time.Hour

// Baseline is what an entity is expected to do in one window, as baseline.Summary.
type Baseline struct {
	Feature       string `json:"feature"`
	WindowSeconds int64  `json:"window_seconds"`
	Expected      Number `json:"expected"`
	Lower         Number `json:"lower"`
	Upper         Number `json:"upper"`
	Unit          string `json:"unit"`
	Current       Number `json:"current"`
	Shape         Number `json:"-"`
	Rate          Number `json:"-"`
}

// Baselines returns the newest of each feature and window of an entity, of the features that can be counted.
func (r *Reader) Baselines(ctx context.Context, e Entity) ([]Baseline, error) {
	out := []Baseline{}
	err := r.rows(ctx, "read the baselines", `SELECT feature, window_seconds, expected, lower, upper, shape, rate FROM baselines FINAL
		WHERE entity_kind = {kind:String} AND entity_id = {id:String} ORDER BY feature, window_seconds LIMIT 1000`,
		parameters{"kind": e.kind(), "id": e.ID}, func(rows driver.Rows) error {
			var b Baseline
			if err := rows.Scan(&b.Feature, &b.WindowSeconds, (*float64)(&b.Expected), (*float64)(&b.Lower), (*float64)(&b.Upper), (*float64)(&b.Shape), (*float64)(&b.Rate)); err != nil {
				return err
			}
			if m, ok := measures[b.Feature]; ok {
				b.Unit = m.unit
				out = append(out, b)
			}
			return nil
		})
	return out, err
}

// Baseline returns one of them, ok false when there is none.
func (r *Reader) Baseline(ctx context.Context, e Entity, feature string, window int64) (b Baseline, ok bool, err error) {
	list, err := r.Baselines(ctx, e)
	for _, b := range list {
		if b.Feature == feature && b.WindowSeconds == window {
			return b, true, err
		}
	}
	return b, false, err
}

// current counts what the entity did in the windows that hold a moment.
func (r *Reader) current(ctx context.Context, e Entity, at time.Time, list []Baseline) error {
	for _, window := range Windows {
		var columns []string
		var index []int
		for i, b := range list {
			if m := measures[b.Feature]; b.WindowSeconds == window && m.count != "" {
				columns, index = append(columns, "toFloat64("+m.count+")"), append(index, i)
			}
		}
		if len(columns) == 0 {
			continue
		}
		from := at.Unix() / window * window
		p := parameters{}.span(Span{time.Unix(from, 0), time.Unix(from+window, 0).Add(-time.Microsecond)})
		cond, err := e.where(p)
		if err != nil {
			return err
		}
		dest := make([]any, len(index))
		for j, i := range index {
			dest[j] = (*float64)(&list[i].Current)
		}
		if err := r.row(ctx, "count the present windows", "SELECT "+strings.Join(columns, ", ")+" FROM events WHERE time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} AND "+cond, p, dest...); err != nil {
			return err
		}
	}
	return nil
}

// Sparkline is what an alert's first piece of evidence counted, window by window up to its last.
type Sparkline struct {
	Values        []float64 `json:"values"`
	Expected      Number    `json:"expected"`
	Lower         Number    `json:"lower"`
	Upper         Number    `json:"upper"`
	WindowSeconds int64     `json:"window_seconds"`
	// Banded is false where the feature cannot be counted from stored events: all events are counted instead, and
	// there is no band.
	Banded bool `json:"banded"`
}

const (
	sparkWindows = 24
	// MaxSparklines in one answer.
	MaxSparklines = 100
)

// Sparklines of alerts, by their ids.
func (r *Reader) Sparklines(ctx context.Context, ids []string) (map[string]*Sparkline, error) {
	if len(ids) > MaxSparklines {
		return nil, invalid("ids: at most %d sparklines at once", MaxSparklines)
	}
	list, err := r.Rows(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[string]*Sparkline{}
	type group struct {
		ids, agents []string
		from, to    time.Time
	}
	groups := map[string]*group{}
	for _, a := range list {
		w := max(a.Window, 60)
		out[a.ID] = &Sparkline{make([]float64, sparkWindows), a.Expected, a.Lower, a.Upper, w, true}
		f := measured(a.Feature)
		if f != a.Feature {
			out[a.ID] = &Sparkline{Values: make([]float64, sparkWindows), WindowSeconds: w}
		}
		g := groups[f]
		if g == nil {
			g = &group{from: a.LastSeen, to: a.LastSeen}
			groups[f] = g
		}
		from := a.LastSeen.Add(-time.Duration(sparkWindows*w) * time.Second)
		if from.Before(g.from) {
			g.from = from
		}
		if a.LastSeen.After(g.to) {
			g.to = a.LastSeen
		}
		g.ids, g.agents = append(g.ids, a.ID), append(g.agents, a.AgentIDs...)
	}
	for f, g := range groups {
		m := measures[f]
		// Of alerts about a credential or a source only the events with it count.
		from := `FROM (SELECT agent_id, time, kind, access, action, status, service, resource, destination, credential_id, source_ip, request_bytes, response_bytes
				FROM events WHERE agent_id IN {agents:Array(String)} AND time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')}) AS e
			INNER JOIN (SELECT id AS alert, arrayJoin(agent_ids) AS agent, entity_kind AS ek, entity_id AS ei, last_seen AS last,
				greatest(evidence.window_seconds[1], 60) AS w FROM alerts FINAL WHERE id IN {ids:Array(String)}) AS a ON a.agent = e.agent_id
			WHERE time <= last AND multiIf(ek = 'credential', credential_id = ei, ek = 'source', source_ip = ei, 1)`
		query := fmt.Sprintf("SELECT alert, toInt64(intDiv(toUnixTimestamp(last), w) - intDiv(toUnixTimestamp(time), w)) AS k, toFloat64(%s) %s AND k < %d GROUP BY alert, k", m.count, from, sparkWindows)
		if m.fresh != "" {
			query = fmt.Sprintf(`SELECT alert, toInt64(intDiv(toUnixTimestamp(until), length) - intDiv(toUnixTimestamp(first), length)) AS k, toFloat64(count())
				FROM (SELECT alert, any(last) AS until, any(w) AS length, min(time) AS first %s AND %s GROUP BY alert, %s) WHERE k < %d GROUP BY alert, k`,
				from, m.when, m.fresh, sparkWindows)
			g.from = g.from.Add(-7 * 24 * time.Hour)
		}
		p := parameters{"ids": g.ids, "agents": g.agents}.span(Span{g.from, g.to})
		if err := r.rows(ctx, "draw the sparklines", query, p, func(rows driver.Rows) error {
			var id string
			var k int64
			var x float64
			if err := rows.Scan(&id, &k, &x); err != nil {
				return err
			}
			if s := out[id]; s != nil && k >= 0 && k < sparkWindows {
				s.Values[sparkWindows-1-k] = x
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
