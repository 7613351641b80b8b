package reader

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const inSpan = "time >= {from:DateTime64(6,'UTC')} AND time <= {to:DateTime64(6,'UTC')}"

// in returns the condition under which an event of a span is the entity's, and the parameters of both.
func (e Entity) in(s Span) (parameters, string, error) {
	if err := s.Check(); err != nil {
		return nil, "", invalid("%v", err)
	}
	p := parameters{}.span(s)
	cond, err := e.where(p)
	return p, cond, err
}

// Node of a graph. ID is kind:name.
type Node struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"` // agent, credential, source, destination, service
	Name   string `json:"name"`
	Events uint64 `json:"events"`
	Alerts uint64 `json:"alerts"`
	Main   bool   `json:"main"`
}

// Edge of a graph, between the ids of nodes.
type Edge struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Events uint64 `json:"events"`
}

// Graph of who touched what.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

const (
	maxNodes    = 60
	maxSpread   = 12 // of each kind around the entity
	maxStranger = 16 // other agents with the same credential or source
)

// Graph returns an entity, the credentials, sources, services and destinations (agents, of a credential or source) it
// was seen with most, and the other agents that used its credentials and sources.
func (r *Reader) Graph(ctx context.Context, e Entity, s Span) (*Graph, error) {
	p, cond, err := e.in(s)
	if err != nil {
		return nil, err
	}
	p["n"] = uint8(maxSpread)
	g := &Graph{[]Node{}, []Edge{}}
	at := map[string]int{}
	node := func(kind, name string, events uint64, main bool) string {
		id := kind + ":" + name
		if i, ok := at[id]; ok {
			g.Nodes[i].Events = max(g.Nodes[i].Events, events)
			return id
		}
		if len(g.Nodes) >= maxNodes {
			return ""
		}
		at[id] = len(g.Nodes)
		g.Nodes = append(g.Nodes, Node{id, kind, name, events, 0, main})
		return id
	}
	edge := func(from, to string, events uint64) {
		if from != "" && to != "" && from != to {
			g.Edges = append(g.Edges, Edge{from, to, events})
		}
	}
	center := node(e.kind(), e.ID, 0, true)
	query := fmt.Sprintf(`SELECT kind, name, count() AS n FROM (
			SELECT arrayJoin([('agent', agent_id), ('credential', credential_id), ('source', source_ip), ('service', service), ('destination', destination)]) AS x,
				x.1 AS kind, x.2 AS name FROM events WHERE %s AND %s)
		WHERE name NOT IN ('', 'unknown') GROUP BY kind, name ORDER BY n DESC LIMIT {n:UInt8} BY kind`, inSpan, cond)
	var credentials, sources []string
	err = r.rows(ctx, "read the graph", query, p, func(rows driver.Rows) error {
		var kind, name string
		var n uint64
		if err := rows.Scan(&kind, &name, &n); err != nil {
			return err
		}
		if kind == e.kind() && name == e.ID {
			g.Nodes[0].Events = n
			return nil
		}
		switch kind {
		case "credential":
			credentials = append(credentials, name)
		case "source":
			sources = append(sources, name)
		case "agent":
			edge(node(kind, name, n, false), center, n)
			return nil
		}
		edge(center, node(kind, name, n, false), n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if e.kind() == "agent" {
		for _, x := range []struct {
			kind, column string
			names        []string
		}{{"credential", "credential_id", credentials}, {"source", "source_ip", sources}} {
			if len(x.names) == 0 {
				continue
			}
			p := parameters{"names": x.names, "entity": e.ID, "n": uint8(maxStranger)}.span(s)
			query := fmt.Sprintf(`SELECT agent_id, %s AS name, count() AS n FROM events WHERE %s IN {names:Array(String)} AND agent_id != {entity:String} AND %s
				GROUP BY agent_id, name ORDER BY n DESC LIMIT {n:UInt8}`, x.column, x.column, inSpan)
			if err := r.rows(ctx, "read who shares a "+x.kind, query, p, func(rows driver.Rows) error {
				var agent, name string
				var n uint64
				if err := rows.Scan(&agent, &name, &n); err != nil {
					return err
				}
				edge(node("agent", agent, n, false), node(x.kind, name, n, false), n)
				return nil
			}); err != nil {
				return nil, err
			}
		}
	}
	var agents []string
	for _, n := range g.Nodes {
		if n.Kind == "agent" {
			agents = append(agents, n.Name)
		}
	}
	err = r.rows(ctx, "count the alerts", `SELECT kind, name, uniqExact(id) FROM (
			SELECT id, 'agent' AS kind, arrayJoin(agent_ids) AS name FROM alerts WHERE hasAny(agent_ids, {agents:Array(String)}) AND last_seen >= {from:DateTime64(6,'UTC')} AND first_seen <= {to:DateTime64(6,'UTC')}
			UNION ALL SELECT id, entity_kind, entity_id FROM alerts WHERE entity_kind != 'agent' AND last_seen >= {from:DateTime64(6,'UTC')} AND first_seen <= {to:DateTime64(6,'UTC')})
		GROUP BY kind, name LIMIT 100000`, parameters{"agents": agents}.span(s), func(rows driver.Rows) error {
		var kind, name string
		var n uint64
		if err := rows.Scan(&kind, &name, &n); err != nil {
			return err
		}
		if i, ok := at[kind+":"+name]; ok {
			g.Nodes[i].Alerts = n
		}
		return nil
	})
	return g, err
}

// Touched is what was done on one service, by class of operation.
type Touched struct {
	Service      string    `json:"service"`
	Access       string    `json:"access"`
	Events       uint64    `json:"events"`
	Resources    uint64    `json:"resources"`
	Destinations uint64    `json:"destinations"`
	Credentials  []string  `json:"credentials"`
	Sent         int64     `json:"sent"`     // bytes
	Received     int64     `json:"received"` // bytes
	FirstSeen    time.Time `json:"first_seen"`
	LastSeen     time.Time `json:"last_seen"`
}

// User is an agent that used a credential.
type User struct {
	AgentID   string    `json:"agent_id"`
	Events    uint64    `json:"events"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// Use of a credential, by whom and from where.
type Use struct {
	CredentialID string   `json:"credential_id"`
	Agents       []User   `json:"agents"`
	Sources      []string `json:"sources"`
}

// Totals of a blast radius.
type Totals struct {
	Events           uint64 `json:"events"`
	ResourcesRead    uint64 `json:"resources_read"`
	ResourcesWritten uint64 `json:"resources_written"`
	Destinations     uint64 `json:"destinations"`
	Sent             int64  `json:"sent"`
	Received         int64  `json:"received"`
}

// Blast is the blast radius: what was read, written and reached, with which credentials, and who else used those.
type Blast struct {
	Services    []Touched `json:"services"`
	Credentials []Use     `json:"credentials"`
	Totals      Totals    `json:"totals"`
}

// Blast measures the blast radius of an entity in a span.
func (r *Reader) Blast(ctx context.Context, e Entity, s Span) (*Blast, error) {
	p, cond, err := e.in(s)
	if err != nil {
		return nil, err
	}
	b := &Blast{[]Touched{}, []Use{}, Totals{}}
	err = r.rows(ctx, "measure the blast radius", `SELECT service, access, count() AS n, uniqIf(resource, resource != ''), uniqIf(destination, destination != ''),
			arrayFilter(x -> x != '', groupUniqArray(20)(credential_id)), sum(request_bytes), sum(response_bytes), min(time), max(time)
		FROM events WHERE `+inSpan+` AND `+cond+` GROUP BY service, access ORDER BY n DESC, service, access LIMIT 500`, p, func(rows driver.Rows) error {
		var t Touched
		err := rows.Scan(&t.Service, &t.Access, &t.Events, &t.Resources, &t.Destinations, &t.Credentials, &t.Sent, &t.Received, &t.FirstSeen, &t.LastSeen)
		if t.Credentials == nil {
			t.Credentials = []string{}
		}
		b.Services = append(b.Services, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.row(ctx, "sum the blast radius", `SELECT count(), uniqIf(resource, access = 'read' AND resource != ''), uniqIf(resource, access NOT IN ('read', 'unknown', '') AND resource != ''),
		uniqIf(destination, destination != ''), sum(request_bytes), sum(response_bytes) FROM events WHERE `+inSpan+` AND `+cond, p,
		&b.Totals.Events, &b.Totals.ResourcesRead, &b.Totals.ResourcesWritten, &b.Totals.Destinations, &b.Totals.Sent, &b.Totals.Received)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	err = r.rows(ctx, "read who used the credentials", `SELECT credential_id, agent_id, count() AS n, min(time), max(time), arrayFilter(x -> x != '', groupUniqArray(20)(source_ip))
		FROM events WHERE `+inSpan+` AND credential_id != '' AND credential_id IN (SELECT credential_id FROM events WHERE `+inSpan+` AND `+cond+` GROUP BY credential_id ORDER BY count() DESC LIMIT 20)
		GROUP BY credential_id, agent_id ORDER BY credential_id, n DESC LIMIT 50 BY credential_id`, p, func(rows driver.Rows) error {
		var credential string
		var u User
		var sources []string
		if err := rows.Scan(&credential, &u.AgentID, &u.Events, &u.FirstSeen, &u.LastSeen, &sources); err != nil {
			return err
		}
		i, ok := at[credential]
		if !ok {
			i = len(b.Credentials)
			at[credential] = i
			b.Credentials = append(b.Credentials, Use{credential, nil, []string{}})
		}
		c := &b.Credentials[i]
		c.Agents = append(c.Agents, u)
		for _, x := range sources {
			if !slices.Contains(c.Sources, x) && len(c.Sources) < 50 {
				c.Sources = append(c.Sources, x)
			}
		}
		return nil
	})
	return b, err
}

// Seen is a value and how often and when it was last seen.
type Seen struct {
	ID       string    `json:"id"`
	Events   uint64    `json:"events"`
	LastSeen time.Time `json:"last_seen"`
}

// Version of an agent.
type Version struct {
	Version   string    `json:"version"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Events    uint64    `json:"events"`
}

// Network an entity came from.
type Network struct {
	SourceIP string    `json:"source_ip"`
	ASN      uint32    `json:"asn"`
	Events   uint64    `json:"events"`
	LastSeen time.Time `json:"last_seen"`
}

// Counted is a value and how often it was seen.
type Counted struct {
	Value  string `json:"value"`
	Events uint64 `json:"events"`
}

// ServiceUse is how often a service was called, by class of operation.
type ServiceUse struct {
	Service string `json:"service"`
	Access  string `json:"access"`
	Events  uint64 `json:"events"`
}

// Peer is somebody or something that an entity deals with.
type Peer struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Events uint64 `json:"events"`
}

// Profile is who an entity is and what it is used to do.
type Profile struct {
	Kind        string        `json:"kind"`
	ID          string        `json:"id"`
	OwnerIDs    []string      `json:"owner_ids"`
	Cohorts     []string      `json:"cohorts"`
	Versions    []Version     `json:"versions"`
	Credentials []Seen        `json:"credentials"`
	Networks    []Network     `json:"networks"`
	UserAgents  []Counted     `json:"user_agents"`
	FirstSeen   When          `json:"first_seen"`
	LastSeen    When          `json:"last_seen"`
	Events      uint64        `json:"events"`
	Alerts      []Row         `json:"alerts"`
	Heat        [7][24]uint64 `json:"heat"` // events by day of the week, Monday first, and hour, UTC
	Services    []ServiceUse  `json:"services"`
	Peers       []Peer        `json:"peers"`
	Baselines   []Baseline    `json:"baselines"`
}

// Profile describes an entity by what it did in a span. One that did nothing in it has no events and no times.
func (r *Reader) Profile(ctx context.Context, e Entity, s Span) (*Profile, error) {
	p, cond, err := e.in(s)
	if err != nil {
		return nil, err
	}
	p["self"] = e.ID
	x := &Profile{Kind: e.kind(), ID: e.ID, OwnerIDs: []string{}, Cohorts: []string{}, Versions: []Version{}, Credentials: []Seen{}, Networks: []Network{},
		UserAgents: []Counted{}, Alerts: []Row{}, Services: []ServiceUse{}, Peers: []Peer{}, Baselines: []Baseline{}}
	from := " FROM events WHERE " + inSpan + " AND " + cond
	if err := r.row(ctx, "read the profile", "SELECT count(), min(time), max(time), arrayFilter(x -> x != '', groupUniqArray(50)(owner_id)), arrayFilter(x -> x != '', groupUniqArray(50)(toString(cohort)))"+from, p,
		&x.Events, &x.FirstSeen.Time, &x.LastSeen.Time, &x.OwnerIDs, &x.Cohorts); err != nil {
		return nil, err
	}
	for _, q := range []struct {
		what, query string
		scan        func(driver.Rows) error
	}{
		{"versions", "SELECT agent_version, min(time), max(time) AS t, count()" + from + " AND agent_version != '' GROUP BY agent_version ORDER BY t DESC LIMIT 50", func(rows driver.Rows) error {
			var v Version
			err := rows.Scan(&v.Version, &v.FirstSeen, &v.LastSeen, &v.Events)
			x.Versions = append(x.Versions, v)
			return err
		}},
		{"credentials", "SELECT credential_id, count() AS n, max(time)" + from + " AND credential_id != '' GROUP BY credential_id ORDER BY n DESC LIMIT 50", func(rows driver.Rows) error {
			var v Seen
			err := rows.Scan(&v.ID, &v.Events, &v.LastSeen)
			x.Credentials = append(x.Credentials, v)
			return err
		}},
		{"networks", "SELECT source_ip, max(asn), count() AS n, max(time)" + from + " AND source_ip != '' GROUP BY source_ip ORDER BY n DESC LIMIT 50", func(rows driver.Rows) error {
			var v Network
			err := rows.Scan(&v.SourceIP, &v.ASN, &v.Events, &v.LastSeen)
			x.Networks = append(x.Networks, v)
			return err
		}},
		{"user agents", "SELECT user_agent, count() AS n" + from + " AND user_agent != '' GROUP BY user_agent ORDER BY n DESC LIMIT 50", func(rows driver.Rows) error {
			var v Counted
			err := rows.Scan(&v.Value, &v.Events)
			x.UserAgents = append(x.UserAgents, v)
			return err
		}},
		{"hours", "SELECT toDayOfWeek(time) AS d, toHour(time) AS h, count()" + from + " GROUP BY d, h", func(rows driver.Rows) error {
			var d, h uint8
			var n uint64
			if err := rows.Scan(&d, &h, &n); err != nil {
				return err
			}
			x.Heat[(d+6)%7][h%24] = n
			return nil
		}},
		{"services", "SELECT service, access, count() AS n" + from + " GROUP BY service, access ORDER BY n DESC LIMIT 100", func(rows driver.Rows) error {
			var v ServiceUse
			err := rows.Scan(&v.Service, &v.Access, &v.Events)
			x.Services = append(x.Services, v)
			return err
		}},
		{"peers", `SELECT kind, name, count() AS n FROM (SELECT arrayJoin(arrayConcat(arrayMap(m -> ('agent', m), mentions), [('destination', destination)` + peerAgent(e) + `])) AS x,
			x.1 AS kind, x.2 AS name` + from + `) WHERE name NOT IN ('', {self:String}) GROUP BY kind, name ORDER BY n DESC LIMIT 25 BY kind`, func(rows driver.Rows) error {
			var v Peer
			err := rows.Scan(&v.Kind, &v.ID, &v.Events)
			x.Peers = append(x.Peers, v)
			return err
		}},
	} {
		if err := r.rows(ctx, "read the "+q.what, q.query, p, q.scan); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(x.Peers, func(a, b Peer) int { return cmp.Compare(b.Events, a.Events) })
	f := Filter{Span: s, Limit: 200}
	if e.kind() == "agent" {
		f.Agent = []string{e.ID}
	} else {
		f.EntityKind, f.EntityID = []string{e.kind()}, []string{e.ID}
	}
	if x.Alerts, _, _, err = r.Alerts(ctx, f); err != nil {
		return nil, err
	}
	if x.Baselines, err = r.Baselines(ctx, e); err != nil {
		return nil, err
	}
	if x.Events > 0 {
		err = r.current(ctx, e, x.LastSeen.Time, x.Baselines)
	}
	return x, err
}

// peerAgent adds the acting agent to the peers of what is not one.
func peerAgent(e Entity) string {
	if e.kind() == "agent" {
		return ""
	}
	return ", ('agent', agent_id)"
}

// Ranked is an entity in a list of the top ones.
type Ranked struct {
	Kind     string
	ID       string
	Cohort   string
	Events   uint64
	Alerts   uint64
	Open     uint64
	Severity string // the worst
	LastSeen time.Time
}

// Top returns the entities with the most alerts (by "alerts"), or the agents with the most events (by "volume").
func (r *Reader) Top(ctx context.Context, by string, s Span, filters []Condition, limit int) ([]Ranked, error) {
	if err := s.Check(); err != nil {
		return nil, invalid("%v", err)
	}
	if limit <= 0 || limit > 1000 {
		limit = 20
	}
	p := parameters{"limit": uint64(limit)}.span(s)
	columns := alertColumns
	if by == "volume" {
		columns = eventColumns
	}
	more, err := where(filters, columns, p)
	if err != nil {
		return nil, err
	}
	const levels = "['low','medium','high','critical']"
	var query string
	switch by {
	case "", "alerts":
		query = `SELECT entity_kind, entity_id, any(cohort), toUInt64(sum(event_count)), count() AS n, countIf(state != 'closed'),
			arrayElement(` + levels + `, max(indexOf(` + levels + `, severity))), max(last_seen)
			FROM alerts_latest WHERE ` + all(append([]string{"last_seen >= {from:DateTime64(6,'UTC')} AND first_seen <= {to:DateTime64(6,'UTC')}"}, more...)) + `
			GROUP BY entity_kind, entity_id ORDER BY n DESC, entity_id LIMIT {limit:UInt64}`
	case "volume":
		query = `SELECT 'agent', e.agent_id, c, n, alerts, open, arrayElement(` + levels + `, worst), t FROM (
			SELECT agent_id, any(cohort) AS c, count() AS n, max(time) AS t FROM events WHERE ` + all(append([]string{inSpan}, more...)) + ` GROUP BY agent_id ORDER BY n DESC LIMIT {limit:UInt64}) AS e
			LEFT JOIN (SELECT arrayJoin(agent_ids) AS agent, count() AS alerts, countIf(state != 'closed') AS open, max(indexOf(` + levels + `, severity)) AS worst FROM alerts_latest
				WHERE last_seen >= {from:DateTime64(6,'UTC')} AND first_seen <= {to:DateTime64(6,'UTC')} GROUP BY agent) AS a ON a.agent = e.agent_id ORDER BY n DESC, e.agent_id`
	default:
		return nil, invalid("by: %.20q is neither alerts nor volume", by)
	}
	var out []Ranked
	err = r.rows(ctx, "rank the entities", query, p, func(rows driver.Rows) error {
		var x Ranked
		err := rows.Scan(&x.Kind, &x.ID, &x.Cohort, &x.Events, &x.Alerts, &x.Open, &x.Severity, &x.LastSeen)
		out = append(out, x)
		return err
	})
	return out, err
}
