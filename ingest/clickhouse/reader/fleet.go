package reader

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Pipeline is how well events get into the database.
type Pipeline struct {
	LagSeconds       Number `json:"lag_seconds"`       // from an event's time to its row, 99 % of those of the last ten minutes are faster; 0 when there are none
	FreshnessSeconds Number `json:"freshness_seconds"` // since the newest row came in; -1 when there is none
	EventsPerSecond  Number `json:"events_per_second"` // rows that came in during the last minute
	DeadLetters      uint64 `json:"dead_letters"`      // of the span
	Late             uint64 `json:"late"`              // events of the span that came too late to count
}

// Pipeline measures it.
func (r *Reader) Pipeline(ctx context.Context, s Span) (p Pipeline, err error) {
	if err := s.Check(); err != nil {
		return p, invalid("%v", err)
	}
	p.FreshnessSeconds = -1
	// The newest rows are in the newest parts; the wider questions are asked only when there are none.
	for _, back := range []string{"ingested_at > now64(3) - INTERVAL 10 MINUTE", "ingested_at > now64(3) - INTERVAL 1 DAY", "1"} {
		var n uint64
		var fresh, lag, rate float64
		err := r.row(ctx, "measure the pipeline", `SELECT count(), (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(max(ingested_at))) / 1000,
			quantileIf(0.99)((toUnixTimestamp64Micro(toDateTime64(ingested_at, 6)) - toUnixTimestamp64Micro(time)) / 1e6, ingested_at > now64(3) - INTERVAL 10 MINUTE),
			countIf(ingested_at > now64(3) - INTERVAL 1 MINUTE) / 60 FROM events WHERE `+back,
			nil, &n, &fresh, &lag, &rate)
		if err != nil {
			return p, err
		}
		if n > 0 {
			p.FreshnessSeconds, p.LagSeconds = Number(max(fresh, 0)), Number(lag)
			p.EventsPerSecond = Number(rate)
			if lag != lag || lag < 0 {
				p.LagSeconds = 0
			}
			break
		}
	}
	if err := r.row(ctx, "count the dead letters", "SELECT count() FROM dead_letters WHERE "+inSpan, parameters{}.span(s), &p.DeadLetters); err != nil {
		return p, err
	}
	err = r.row(ctx, "count the late events", "SELECT countIf(late != 0) FROM events WHERE "+inSpan, parameters{}.span(s), &p.Late)
	return p, err
}

// Rate is how many events a window that begins at T held.
type Rate struct {
	T      time.Time `json:"t"`
	Events Number    `json:"events"`
}

// DetectorCount is a detector's alerts by severity.
type DetectorCount struct {
	Detector string `json:"detector"`
	Low      uint64 `json:"low"`
	Medium   uint64 `json:"medium"`
	High     uint64 `json:"high"`
	Critical uint64 `json:"critical"`
}

// Budget of alerts per 1,000 agent-days, as set and as used by alerts that nobody called true.
type Budget struct {
	Set       float64 `json:"set"`
	Used      Number  `json:"used"`
	AgentDays uint64  `json:"agent_days"`
}

// Mover is an agent whose volume changed most against the span before.
type Mover struct {
	AgentID string `json:"agent_id"`
	Cohort  string `json:"cohort"`
	Now     uint64 `json:"now"`
	Before  uint64 `json:"before"`
	Alerts  uint64 `json:"alerts"`
}

// Campaign is alerts that belong together: three agents or more.
type Campaign struct {
	Name      string    `json:"name"`
	Alerts    []string  `json:"alerts"` // the first 200
	Count     int       `json:"count"`  // of alerts
	Agents    int       `json:"agents"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Severity  string    `json:"severity"`
}

// Fleet is what is happening.
type Fleet struct {
	EventsPerSecond Number          `json:"events_per_second"` // in the last five minutes of the span that hold events
	ActiveAgents    uint64          `json:"active_agents"`
	NewAgents       uint64          `json:"new_agents"`
	OpenAlerts      uint64          `json:"open_alerts"`
	Rate            []Rate          `json:"rate"`
	ByDetector      []DetectorCount `json:"by_detector"`
	Budget          Budget          `json:"budget"`
	Movers          []Mover         `json:"movers"`
	Campaigns       []Campaign      `json:"campaigns"`
	Pipeline        Pipeline        `json:"pipeline"`
	// Newest is the time of the newest event there is, told when the span has none.
	Newest When `json:"newest"`
}

// newPast is how far before a span an agent must not have been seen to be new in it.
const newPast = 7 * 24 * time.Hour

// Fleet describes a span; budget is the alert budget that the engine was given.
func (r *Reader) Fleet(ctx context.Context, s Span, budget float64) (*Fleet, error) {
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	f := &Fleet{Rate: []Rate{}, ByDetector: []DetectorCount{}, Movers: []Mover{}, Campaigns: []Campaign{}, Budget: Budget{Set: budget}}
	p := parameters{}.span(s)
	if err := r.row(ctx, "count the agents", "SELECT uniq(agent_id), uniq(agent_id, toDate(time)) FROM events WHERE "+inSpan, p, &f.ActiveAgents, &f.Budget.AgentDays); err != nil {
		return nil, err
	}
	if f.ActiveAgents == 0 {
		// By the parts' bounds alone: days are partitions.
		if err := r.row(ctx, "find the newest event", "SELECT toDateTime64(max(time), 6, 'UTC') FROM events", nil, &f.Newest.Time); err != nil {
			return nil, err
		}
	}
	if err := r.row(ctx, "measure the rate", `WITH (SELECT max(time) FROM events WHERE `+inSpan+`) AS last
		SELECT count() / 300 FROM events WHERE time > last - INTERVAL 5 MINUTE AND time <= last AND `+inSpan, p, (*float64)(&f.EventsPerSecond)); err != nil {
		return nil, err
	}
	if err := r.row(ctx, "count the new agents", `SELECT uniqExact(agent_id) FROM events WHERE `+inSpan+` AND agent_id NOT IN (
		SELECT agent_id FROM events WHERE time >= {past:DateTime64(6,'UTC')} AND time < {from:DateTime64(6,'UTC')} GROUP BY agent_id)`, p.with(parameters{"past": s.From.Add(-newPast)}), &f.NewAgents); err != nil {
		return nil, err
	}
	window := WindowFor(s, 400)
	points, err := r.Series(ctx, Entity{}, "events", window, s, nil)
	if err != nil {
		return nil, err
	}
	for _, x := range points {
		f.Rate = append(f.Rate, Rate{x.T, Number(x.Observed)})
	}
	const alerts = "last_seen >= {from:DateTime64(6,'UTC')} AND first_seen <= {to:DateTime64(6,'UTC')}"
	if err := r.rows(ctx, "count the alerts", `SELECT detector, countIf(severity = 'low'), countIf(severity = 'medium'), countIf(severity = 'high'), countIf(severity = 'critical')
		FROM alerts_latest WHERE `+alerts+` GROUP BY detector ORDER BY count() DESC, detector LIMIT 100`, p, func(rows driver.Rows) error {
		var d DetectorCount
		err := rows.Scan(&d.Detector, &d.Low, &d.Medium, &d.High, &d.Critical)
		f.ByDetector = append(f.ByDetector, d)
		return err
	}); err != nil {
		return nil, err
	}
	var unproven uint64
	if err := r.row(ctx, "count the alerts", "SELECT countIf(state != 'closed' AND suppressed_by = ''), countIf(verdict != 'true' AND suppressed_by = '') FROM alerts_latest WHERE "+alerts, p, &f.OpenAlerts, &unproven); err != nil {
		return nil, err
	}
	if f.Budget.AgentDays > 0 {
		f.Budget.Used = Number(float64(unproven) * 1000 / float64(f.Budget.AgentDays))
	}
	before := p.with(parameters{"past": s.From.Add(-max(s.Length(), time.Second))})
	if err := r.rows(ctx, "find the top movers", `SELECT agent_id, c, now, before, alerts FROM (
			SELECT agent_id, any(cohort) AS c, countIf(time >= {from:DateTime64(6,'UTC')}) AS now, countIf(time < {from:DateTime64(6,'UTC')}) AS before
			FROM events WHERE time >= {past:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')} GROUP BY agent_id
			ORDER BY abs(toFloat64(now) - toFloat64(before)) / sqrt(now + before + 1) DESC, agent_id LIMIT 12) AS m
		LEFT JOIN (SELECT arrayJoin(agent_ids) AS agent, count() AS alerts FROM alerts_latest WHERE `+alerts+` GROUP BY agent) AS a ON a.agent = m.agent_id
		ORDER BY abs(toFloat64(now) - toFloat64(before)) / sqrt(now + before + 1) DESC, agent_id`, before, func(rows driver.Rows) error {
		var m Mover
		err := rows.Scan(&m.AgentID, &m.Cohort, &m.Now, &m.Before, &m.Alerts)
		f.Movers = append(f.Movers, m)
		return err
	}); err != nil {
		return nil, err
	}
	list, _, _, err := r.Alerts(ctx, Filter{Span: s, Suppressed: "without", Limit: 5000})
	if err != nil {
		return nil, err
	}
	f.Campaigns = campaigns(list)
	f.Pipeline, err = r.Pipeline(ctx, s)
	return f, err
}

// together is how close in time two alerts of one detector and cohort must begin to belong together.
const together = 30 * time.Minute

// campaigns joins alerts that share an agent or an entity, and those of one detector in one cohort that begin within
// minutes of each other, and returns the groups of three agents or more, the worst first.
func campaigns(list []Row) []Campaign {
	parent := make([]int, len(list))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	owner := map[string]int{}
	share := func(key string, i int) {
		if j, ok := owner[key]; ok {
			parent[root(i)] = root(j)
		}
		owner[key] = i
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(list[a].FirstSeen.Compare(list[b].FirstSeen), cmp.Compare(list[a].ID, list[b].ID))
	})
	last := map[[2]string]int{}
	for _, i := range order {
		a := &list[i]
		for _, agent := range a.AgentIDs {
			share("agent\x00"+agent, i)
		}
		if a.EntityKind != "agent" {
			share(a.EntityKind+"\x00"+a.EntityID, i)
		}
		if a.Cohort != "" {
			key := [2]string{a.Detector, a.Cohort}
			if j, ok := last[key]; ok && a.FirstSeen.Sub(list[j].FirstSeen) <= together {
				parent[root(i)] = root(j)
			}
			last[key] = i
		}
	}
	groups := map[int][]int{}
	for _, i := range order {
		groups[root(i)] = append(groups[root(i)], i)
	}
	out := []Campaign{}
	for _, members := range groups {
		agents, detectors, cohorts := map[string]bool{}, []string{}, map[string]bool{}
		c := Campaign{FirstSeen: list[members[0]].FirstSeen, Count: len(members)}
		for _, i := range members {
			a := &list[i]
			for _, id := range a.AgentIDs {
				agents[id] = true
			}
			if !slices.Contains(detectors, a.Detector) {
				detectors = append(detectors, a.Detector)
			}
			cohorts[a.Cohort] = true
			if slices.Index(Severities, a.Severity) > slices.Index(Severities, c.Severity) {
				c.Severity = a.Severity
			}
			if a.LastSeen.After(c.LastSeen) {
				c.LastSeen = a.LastSeen
			}
			if len(c.Alerts) < 200 {
				c.Alerts = append(c.Alerts, a.ID)
			}
		}
		if c.Agents = len(agents); c.Agents < 3 {
			continue
		}
		if len(detectors) > 3 {
			detectors = append(detectors[:3], "…")
		}
		c.Name = fmt.Sprintf("%s, %d agents", strings.Join(detectors, " + "), c.Agents)
		if len(cohorts) == 1 && list[members[0]].Cohort != "" {
			c.Name += " of cohort " + list[members[0]].Cohort
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Campaign) int {
		return cmp.Or(cmp.Compare(slices.Index(Severities, b.Severity), slices.Index(Severities, a.Severity)), cmp.Compare(b.Agents, a.Agents),
			b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), 20)]
}

// Retention of a table.
type Retention struct {
	Table  string `json:"table"`
	Keep   string `json:"keep"` // "180 days", "for ever"
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"` // on disk
	Oldest When   `json:"oldest"`
}

var keepDays = regexp.MustCompile(`TTL .*toIntervalDay\((\d+)\)`)

// Retention tells what is kept, and how much there is. Tables that the user may not look into are left out.
func (r *Reader) Retention(ctx context.Context) ([]Retention, error) {
	out := []Retention{}
	at := map[string]int{}
	err := r.rows(ctx, "read the retention", `SELECT name, create_table_query, ifNull(total_rows, 0), ifNull(total_bytes, 0) FROM system.tables
		WHERE database = currentDatabase() AND name IN ('events', 'alerts', 'alert_actions', 'suppressions', 'baselines', 'agent_state', 'dead_letters') ORDER BY total_bytes DESC, name`,
		nil, func(rows driver.Rows) error {
			t := Retention{Keep: "for ever"}
			var create string
			if err := rows.Scan(&t.Table, &create, &t.Rows, &t.Bytes); err != nil {
				return err
			}
			if m := keepDays.FindStringSubmatch(create); m != nil {
				t.Keep = m[1] + " days"
			}
			at[t.Table] = len(out)
			out = append(out, t)
			return nil
		})
	if err != nil {
		return nil, err
	}
	for table, column := range map[string]string{"events": "time", "alerts": "time", "alert_actions": "time", "suppressions": "time", "baselines": "time", "dead_letters": "time", "agent_state": "written_at"} {
		i, ok := at[table]
		if !ok || out[i].Rows == 0 {
			continue
		}
		if err := r.row(ctx, "read the oldest row of "+table, fmt.Sprintf("SELECT toDateTime64(min(%s), 6, 'UTC') FROM %s", column, table), nil, &out[i].Oldest.Time); err != nil && KindOf(err) != Forbidden {
			return nil, err
		}
	}
	return out, nil
}
