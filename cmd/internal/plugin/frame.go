package plugin

import (
	"fmt"
	"math"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/astray-dev/astray/ingest/clickhouse/reader"
	"github.com/astray-dev/astray/models/tail"
)

// Colours, by names that Grafana's light and dark themes both have.
var (
	severityColors = []struct{ value, text, color string }{
		{"low", "Low", "blue"}, {"medium", "Medium", "yellow"}, {"high", "High", "orange"}, {"critical", "Critical", "red"},
	}
	stateColors = []struct{ value, text, color string }{
		{"open", "Open", "red"}, {"acknowledged", "Acknowledged", "yellow"}, {"closed", "Closed", "green"},
	}
	kindColors = map[string]string{"agent": "blue", "credential": "orange", "source": "purple", "service": "green", "destination": "yellow", "template": "semi-dark-red"}
)

func mapped(colors []struct{ value, text, color string }) data.ValueMappings {
	m := data.ValueMapper{}
	for i, c := range colors {
		m[c.value] = data.ValueMappingResult{Text: c.text, Color: c.color, Index: i}
	}
	return data.ValueMappings{m}
}

const (
	alertLink  = "/a/" + AppID + "/alert?id=${__data.fields.id:percentencode}"
	entityLink = "/a/" + AppID + "/entity?kind=${__data.fields.entity_kind:percentencode}&id=${__data.fields.entity_id:percentencode}"
	agentLink  = "/a/" + AppID + "/entity?kind=agent&id=${__value.raw:percentencode}"
	keyLink    = "/a/" + AppID + "/entity?kind=credential&id=${__value.raw:percentencode}"
	sourceLink = "/a/" + AppID + "/entity?kind=source&id=${__value.raw:percentencode}"
)

func link(title, url string) []data.DataLink { return []data.DataLink{{Title: title, URL: url}} }

// field makes a field of n values with its name for people.
func field[T any](name, display string, n int, value func(int) T, more ...func(*data.FieldConfig)) *data.Field {
	values := make([]T, n)
	for i := range values {
		values[i] = value(i)
	}
	f := data.NewField(name, nil, values)
	c := &data.FieldConfig{DisplayNameFromDS: display, Custom: map[string]any{}}
	for _, m := range more {
		m(c)
	}
	if len(c.Custom) == 0 {
		c.Custom = nil
	}
	return f.SetConfig(c)
}

func unit(u string) func(*data.FieldConfig) { return func(c *data.FieldConfig) { c.Unit = u } }
func links(title, url string) func(*data.FieldConfig) {
	return func(c *data.FieldConfig) { c.Links = link(title, url) }
}
func custom(key string, v any) func(*data.FieldConfig) {
	return func(c *data.FieldConfig) { c.Custom[key] = v }
}
func filterable(c *data.FieldConfig) { yes := true; c.Filterable = &yes }
func fixed(color string) func(*data.FieldConfig) {
	return func(c *data.FieldConfig) { c.Color = map[string]any{"mode": "fixed", "fixedColor": color} }
}
func colored(colors []struct{ value, text, color string }) func(*data.FieldConfig) {
	return func(c *data.FieldConfig) {
		c.Mappings = mapped(colors)
		c.Custom["cellOptions"] = map[string]any{"type": "color-text"}
	}
}
func described(text string) func(*data.FieldConfig) {
	return func(c *data.FieldConfig) { c.Description = text }
}

// number is a float that JSON and Arrow readers take.
func number(n reader.Number) float64 {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func table(name string, fields ...*data.Field) *data.Frame {
	return data.NewFrame(name, fields...).SetMeta(&data.FrameMeta{Type: data.FrameTypeTable, TypeVersion: data.FrameTypeVersion{0, 1}, PreferredVisualization: data.VisTypeTable})
}

// alertsFrame has one row for each alert. Its names and texts serve as annotations too: time, timeEnd, title, text, tags.
func alertsFrame(list []reader.Row) *data.Frame {
	n := len(list)
	f := table("alerts",
		field("time", "Time", n, func(i int) time.Time { return list[i].Time }, custom("width", 170)),
		field("severity", "Severity", n, func(i int) string { return list[i].Severity }, colored(severityColors), filterable, custom("width", 90)),
		field("title", "Title", n, func(i int) string { return shown(list[i].Title) }, links("Open the alert", alertLink), custom("minWidth", 300)),
		field("entity_kind", "Kind", n, func(i int) string { return list[i].EntityKind }, filterable, custom("width", 90)),
		field("entity_id", "Entity", n, func(i int) string { return shown(list[i].EntityID) }, links("Show the entity", entityLink), filterable),
		field("cohort", "Cohort", n, func(i int) string { return shown(list[i].Cohort) }, filterable),
		field("detector", "Detector", n, func(i int) string { return shown(list[i].Detector) }, filterable),
		field("state", "State", n, func(i int) string { return list[i].State }, colored(stateColors), filterable, custom("width", 110)),
		field("assignee", "Assignee", n, func(i int) string { return shown(list[i].Assignee) }, filterable),
		field("confidence", "Confidence", n, func(i int) float64 { return number(list[i].Confidence) }, unit("percentunit"), custom("width", 100)),
		field("score", "Score", n, func(i int) float64 { return number(list[i].Score) }, described("-log10 of the p-value"), custom("width", 80)),
		field("observed", "Observed", n, func(i int) float64 { return number(list[i].Observed) }, custom("width", 90)),
		field("expected", "Expected", n, func(i int) float64 { return number(list[i].Expected) }, custom("width", 90)),
		field("feature", "Feature", n, func(i int) string { return shown(list[i].Feature) }),
		field("event_count", "Events", n, func(i int) int64 { return list[i].EventCount }, unit("short"), custom("width", 80)),
		field("first_seen", "First seen", n, func(i int) time.Time { return list[i].FirstSeen }),
		field("timeEnd", "Last seen", n, func(i int) time.Time { return list[i].LastSeen }),
		field("verdict", "Verdict", n, func(i int) string { return list[i].Verdict }),
		field("suppressed", "Suppressed", n, func(i int) bool { return list[i].Suppressed }),
		field("text", "Reason", n, func(i int) string { return shown(list[i].Reason) }, custom("minWidth", 400)),
		field("tags", "Tags", n, func(i int) string { return shown(list[i].Detector) + "," + list[i].Severity }, custom("hidden", true)),
		field("id", "Id", n, func(i int) string { return shown(list[i].ID) }, custom("hidden", true)),
	)
	f.Meta.UniqueRowIDFields = []int{len(f.Fields) - 1}
	return f
}

func eventsFrame(list []reader.Event) *data.Frame {
	n := len(list)
	text := func(name, display string, value func(*reader.Event) string, more ...func(*data.FieldConfig)) *data.Field {
		return field(name, display, n, func(i int) string { return shown(value(&list[i])) }, append(more, filterable)...)
	}
	return table("events",
		field("time", "Time", n, func(i int) time.Time { return list[i].Time }, custom("width", 170)),
		text("agent_id", "Agent", func(e *reader.Event) string { return e.AgentID }, links("Show the agent", agentLink)),
		text("kind", "Kind", func(e *reader.Event) string { return e.Kind }, custom("width", 80)),
		text("action", "Action", func(e *reader.Event) string { return e.Action }),
		text("access", "Access", func(e *reader.Event) string { return e.Access }, custom("width", 80)),
		text("service", "Service", func(e *reader.Event) string { return e.Service }),
		text("resource", "Resource", func(e *reader.Event) string { return e.Resource }),
		text("destination", "Destination", func(e *reader.Event) string { return e.Destination }),
		field("status", "Status", n, func(i int) int64 { return int64(list[i].Status) }, unit("none"), filterable, custom("width", 80)),
		text("credential_id", "Credential", func(e *reader.Event) string { return e.CredentialID }, links("Show the credential", keyLink)),
		text("source_ip", "Source", func(e *reader.Event) string { return e.SourceIP }, links("Show the source", sourceLink)),
		field("request_bytes", "Sent", n, func(i int) int64 { return list[i].RequestBytes }, unit("bytes"), custom("width", 90)),
		field("response_bytes", "Received", n, func(i int) int64 { return list[i].ResponseBytes }, unit("bytes"), custom("width", 90)),
		field("duration_ms", "Duration", n, func(i int) float64 { return number(list[i].DurationMS) }, unit("ms"), custom("width", 90)),
		text("cohort", "Cohort", func(e *reader.Event) string { return e.Cohort }),
		text("agent_version", "Version", func(e *reader.Event) string { return e.AgentVersion }),
		text("owner_id", "Owner", func(e *reader.Event) string { return e.OwnerID }),
		text("session_id", "Session", func(e *reader.Event) string { return e.SessionID }),
		text("user_agent", "User agent", func(e *reader.Event) string { return e.UserAgent }),
		text("content", "Content", func(e *reader.Event) string { return e.Content }, custom("minWidth", 300)),
		text("id", "Id", func(e *reader.Event) string { return e.ID }),
	)
}

// band of a baseline around its expectation: the middle share of what is predicted, from the parameters of the
// model where they are stored, as stored where they are not.
func band(b reader.Baseline, share float64) (lower, upper float64) {
	shape, rate := number(b.Shape), number(b.Rate)
	if shape > 0 && rate > 0 {
		return tail.CountBand(share, shape/rate, shape/(rate*rate))
	}
	return number(b.Lower), number(b.Upper)
}

// seriesFrame is a count over time with the band it was expected in, which is left out where there is no baseline.
func seriesFrame(name, what, u string, window int64, points []reader.Point, b reader.Baseline, ok bool, share float64) *data.Frame {
	n := len(points)
	f := data.NewFrame(name,
		field("time", "Time", n, func(i int) time.Time { return points[i].T }, func(c *data.FieldConfig) { c.Interval = float64(window * 1000) }),
		field("observed", what, n, func(i int) float64 { return points[i].Observed }, unit(u), fixed("blue"), custom("lineWidth", 2), custom("fillOpacity", 0)))
	f.SetMeta(&data.FrameMeta{Type: data.FrameTypeTimeSeriesWide, TypeVersion: data.FrameTypeVersion{0, 1}, PreferredVisualization: data.VisTypeGraph})
	if !ok {
		f.Meta.Notices = []data.Notice{{Severity: data.NoticeSeverityInfo, Text: "There is no baseline of this feature and window yet; only what was observed is shown."}}
		return f
	}
	lower, upper := band(b, share)
	f.Fields = append(f.Fields,
		field("expected", "Expected", n, func(int) float64 { return number(b.Expected) }, unit(u), fixed("green"), custom("lineWidth", 1), custom("fillOpacity", 0),
			custom("lineStyle", map[string]any{"fill": "dash", "dash": []int{6, 6}})),
		field("lower", "Lower", n, func(int) float64 { return lower }, unit(u), fixed("green"), custom("lineWidth", 0), custom("fillOpacity", 0), custom("hideFrom", map[string]bool{"legend": true, "tooltip": false, "viz": false})),
		field("upper", "Upper", n, func(int) float64 { return upper }, unit(u), fixed("green"), custom("lineWidth", 0), custom("fillOpacity", 15), custom("fillBelowTo", "Lower"),
			custom("hideFrom", map[string]bool{"legend": true, "tooltip": false, "viz": false})))
	return f
}

func graphFrames(g *reader.Graph) data.Frames {
	n, m := len(g.Nodes), len(g.Edges)
	names := map[string]string{"agent": "Agent", "credential": "Credential", "source": "Source", "service": "Service", "destination": "Destination", "template": "Template"}
	nodes := data.NewFrame("nodes",
		field("id", "Id", n, func(i int) string { return shown(g.Nodes[i].ID) }),
		field("title", "Name", n, func(i int) string { return shown(g.Nodes[i].Name) }),
		field("subtitle", "Kind", n, func(i int) string { return names[g.Nodes[i].Kind] }),
		// As text: the panel writes numbers with two decimals and the name of their unit.
		field("mainstat", "Events", n, func(i int) string { return counted(uint64(g.Nodes[i].Events), "event") }),
		field("secondarystat", "Alerts", n, func(i int) string {
			if g.Nodes[i].Alerts == 0 {
				return ""
			}
			return counted(uint64(g.Nodes[i].Alerts), "alert")
		}),
		field("color", "Red has alerts", n, func(i int) string {
			if g.Nodes[i].Alerts > 0 {
				return "red"
			}
			return kindColors[g.Nodes[i].Kind]
		}),
		field("highlighted", "Main", n, func(i int) bool { return g.Nodes[i].Main }),
		field("detail__kind", "Kind", n, func(i int) string { return g.Nodes[i].Kind }, links("Show the entity", "/a/"+AppID+"/entity?kind=${__data.fields.detail__kind:percentencode}&id=${__data.fields.title:percentencode}")),
	)
	edges := data.NewFrame("edges",
		field("id", "Id", m, func(i int) string { return shown(g.Edges[i].Source + " → " + g.Edges[i].Target) }),
		field("source", "From", m, func(i int) string { return shown(g.Edges[i].Source) }),
		field("target", "To", m, func(i int) string { return shown(g.Edges[i].Target) }),
		field("mainstat", "Events", m, func(i int) string { return counted(uint64(g.Edges[i].Events), "event") }),
		field("thickness", "Thickness", m, func(i int) float64 { return min(1+math.Log10(float64(g.Edges[i].Events)+1), 6) }),
	)
	for _, f := range []*data.Frame{nodes, edges} {
		for _, x := range f.Fields { // the panel's legend knows this name only
			x.Config.DisplayName = x.Config.DisplayNameFromDS
		}
		f.SetMeta(&data.FrameMeta{PreferredVisualization: data.VisTypeNodeGraph})
	}
	return data.Frames{nodes, edges}
}

// counted is a number of things, as people write it: 1 event, 1.8 k events.
func counted(n uint64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	switch x := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d %s", n, thing)
	case x < 1e6:
		return fmt.Sprintf("%.3g k %s", x/1e3, thing)
	default:
		return fmt.Sprintf("%.3g M %s", x/1e6, thing)
	}
}

func blastFrame(b *reader.Blast) *data.Frame {
	n := len(b.Services)
	return table("blast radius",
		field("service", "Service", n, func(i int) string { return shown(b.Services[i].Service) }, filterable),
		field("access", "Access", n, func(i int) string { return shown(b.Services[i].Access) }, filterable),
		field("events", "Events", n, func(i int) float64 { return float64(b.Services[i].Events) }, unit("short")),
		field("resources", "Resources", n, func(i int) float64 { return float64(b.Services[i].Resources) }, unit("short")),
		field("destinations", "Destinations", n, func(i int) float64 { return float64(b.Services[i].Destinations) }, unit("short")),
		field("sent", "Sent", n, func(i int) int64 { return b.Services[i].Sent }, unit("bytes")),
		field("received", "Received", n, func(i int) int64 { return b.Services[i].Received }, unit("bytes")),
		field("credentials", "Credentials", n, func(i int) string { return shownAll(b.Services[i].Credentials) }),
		field("first_seen", "First seen", n, func(i int) time.Time { return b.Services[i].FirstSeen }),
		field("last_seen", "Last seen", n, func(i int) time.Time { return b.Services[i].LastSeen }),
	)
}

func topFrame(list []reader.Ranked) *data.Frame {
	n := len(list)
	return table("entities",
		field("entity_kind", "Kind", n, func(i int) string { return list[i].Kind }, filterable, custom("width", 90)),
		field("entity_id", "Entity", n, func(i int) string { return shown(list[i].ID) }, links("Show the entity", entityLink), filterable),
		field("cohort", "Cohort", n, func(i int) string { return shown(list[i].Cohort) }, filterable),
		field("alerts", "Alerts", n, func(i int) float64 { return float64(list[i].Alerts) }, unit("short")),
		field("open", "Open", n, func(i int) float64 { return float64(list[i].Open) }, unit("short")),
		field("severity", "Worst", n, func(i int) string { return list[i].Severity }, colored(severityColors)),
		field("events", "Events", n, func(i int) float64 { return float64(list[i].Events) }, unit("short")),
		field("last_seen", "Last seen", n, func(i int) time.Time { return list[i].LastSeen }),
	)
}
