package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/astray-dev/astray/ingest/clickhouse/reader"
)

// query is the model that the query editor writes.
type query struct {
	QueryType        string   `json:"queryType"`
	Kind             string   `json:"kind"`
	ID               string   `json:"id"`
	Agent            string   `json:"agent"`
	Detector         []string `json:"detector"`
	Severity         []string `json:"severity"`
	State            []string `json:"state"`
	Cohort           []string `json:"cohort"`
	Suppressed       string   `json:"suppressed"`
	Text             string   `json:"text"`
	Feature          string   `json:"feature"`
	Window           int64    `json:"window"` // seconds; 0: what fits the panel
	Band             float64  `json:"band"`   // the middle share, default 0.95
	By               string   `json:"by"`
	Metric           string   `json:"metric"`
	Format           string   `json:"format"` // of alerts: table or count
	OlderThanSeconds float64  `json:"olderThanSeconds"`
	Limit            int      `json:"limit"`
	Filters          []struct {
		Key   string `json:"key"`
		Op    string `json:"op"`
		Value string `json:"value"`
	} `json:"filters"`
}

func (q *query) entity() reader.Entity {
	if q.ID == "" {
		return reader.Entity{Kind: "agent", ID: q.Agent}
	}
	return reader.Entity{Kind: q.Kind, ID: q.ID}
}

func (q *query) conditions() []reader.Condition {
	out := make([]reader.Condition, 0, len(q.Filters))
	for _, f := range q.Filters {
		out = append(out, reader.Condition{Key: f.Key, Op: f.Op, Value: f.Value})
	}
	return out
}

const (
	maxQueries  = 4 // at once, of one request
	maxModel    = 64 << 10
	defaultRows = 1000
)

// QueryData answers the queries of panels, of Explore and of Grafana's alerting, which names no user.
func (h *Handler) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	res := backend.NewQueryDataResponse()
	if req.PluginContext.User != nil && roleOf(req.PluginContext.User) < viewer {
		for _, q := range req.Queries {
			res.Responses[q.RefID] = backend.ErrDataResponse(backend.StatusForbidden, "You have no role in this organisation; a Viewer may read.")
		}
		return res, nil
	}
	i, err := h.instance(ctx, req.PluginContext)
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxQueries)
	for _, q := range req.Queries {
		if err != nil {
			res.Responses[q.RefID] = refused(err)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			frames, err := i.query(ctx, q)
			answer := backend.DataResponse{Frames: frames, Status: backend.StatusOK}
			if err != nil {
				answer = refused(err)
			}
			for _, f := range frames {
				f.RefID = q.RefID
			}
			mu.Lock()
			defer mu.Unlock()
			res.Responses[q.RefID] = answer
		})
	}
	wg.Wait()
	return res, nil
}

func refused(err error) backend.DataResponse {
	status := backend.StatusInternal
	switch reader.KindOf(err) {
	case reader.Invalid:
		status = backend.StatusBadRequest
	case reader.NotFound:
		status = backend.StatusNotFound
	case reader.TooMuch:
		status = backend.StatusTimeout
	case reader.Unreachable, reader.Refused, reader.Forbidden, reader.NoSchema:
		status = backend.StatusBadGateway
	}
	return backend.ErrDataResponseWithSource(status, backend.ErrorSourceDownstream, err.Error())
}

func badQuery(format string, a ...any) error {
	return &reader.Problem{Kind: reader.Invalid, Text: fmt.Sprintf(format, a...)}
}

func (i *instance) query(ctx context.Context, dq backend.DataQuery) (data.Frames, error) {
	var q query
	if len(dq.JSON) > maxModel {
		return nil, badQuery("the query is larger than %d KiB", maxModel>>10)
	}
	if len(dq.JSON) > 0 {
		if err := json.Unmarshal(dq.JSON, &q); err != nil {
			return nil, badQuery("the query cannot be read: %v", err)
		}
	}
	if q.QueryType == "" {
		q.QueryType = dq.QueryType
	}
	span := reader.Span{From: dq.TimeRange.From.UTC(), To: dq.TimeRange.To.UTC()}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultRows
	}
	switch q.QueryType {
	case "", "alerts":
		return i.alerts(ctx, &q, span, limit)
	case "events":
		list, err := i.Events(ctx, q.entity(), span, q.conditions(), limit)
		if err != nil {
			return nil, err
		}
		f := eventsFrame(list)
		truncated(f, len(list), limit)
		return data.Frames{f}, nil
	case "rate", "distinct":
		return i.series(ctx, &q, span, dq.MaxDataPoints)
	case "entities":
		list, err := i.Top(ctx, q.By, span, q.conditions(), q.Limit)
		if err != nil {
			return nil, err
		}
		return data.Frames{topFrame(list)}, nil
	case "graph":
		g, err := i.Graph(ctx, q.entity(), span)
		if err != nil {
			return nil, err
		}
		return graphFrames(g), nil
	case "blast":
		b, err := i.Blast(ctx, q.entity(), span)
		if err != nil {
			return nil, err
		}
		return data.Frames{blastFrame(b)}, nil
	case "health":
		return i.pipeline(ctx, &q, span)
	}
	return nil, badQuery("queryType: %.40q is none of alerts, events, rate, distinct, entities, graph, blast, health", q.QueryType)
}

func truncated(f *data.Frame, n, limit int) {
	if n == limit {
		f.Meta.Notices = append(f.Meta.Notices, data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("Only the newest %d are shown; there may be more.", limit)})
	}
}

func (i *instance) alerts(ctx context.Context, q *query, span reader.Span, limit int) (data.Frames, error) {
	f := reader.Filter{Span: span, Detector: q.Detector, Severity: q.Severity, State: q.State, Cohort: q.Cohort, Suppressed: q.Suppressed, Text: q.Text,
		Where: q.conditions(), Limit: limit, OpenFor: time.Duration(q.OlderThanSeconds * float64(time.Second))}
	switch {
	case q.ID != "":
		f.EntityID = []string{q.ID}
		if q.Kind != "" {
			f.EntityKind = []string{q.Kind}
		}
	case q.Agent != "":
		f.Agent = []string{q.Agent}
	}
	if q.Format == "count" {
		counts, err := i.CountBySeverity(ctx, f)
		if err != nil {
			return nil, err
		}
		var fields []*data.Field
		for s, c := range slices.Backward(severityColors) { // the worst first
			if n, ok := counts[reader.Severities[s]]; ok {
				fields = append(fields, field(c.value, c.text, 1, func(int) float64 { return float64(n) }, unit("short"), fixed(c.color)))
			}
		}
		return data.Frames{numbers("alerts", fields...)}, nil
	}
	if q.Format != "" && q.Format != "table" {
		return nil, badQuery("format: %.20q is neither table nor count", q.Format)
	}
	list, _, _, err := i.Alerts(ctx, f)
	if err != nil {
		return nil, err
	}
	frame := alertsFrame(list)
	truncated(frame, len(list), limit)
	return data.Frames{frame}, nil
}

// numbers is one number for each field, as Grafana's alerting takes them.
func numbers(name string, fields ...*data.Field) *data.Frame {
	return data.NewFrame(name, fields...).SetMeta(&data.FrameMeta{Type: data.FrameTypeNumericWide, TypeVersion: data.FrameTypeVersion{0, 1}})
}

const (
	defaultPoints = 300
	defaultShare  = 0.95
)

func (i *instance) series(ctx context.Context, q *query, span reader.Span, points int64) (data.Frames, error) {
	feature, name := q.Feature, "rate"
	if q.QueryType == "distinct" {
		name = "distinct targets"
		if feature == "" {
			feature = "distinct_resources_read"
		}
	}
	if feature == "" {
		feature = "events"
	}
	if points <= 0 {
		points = defaultPoints
	}
	share := q.Band
	if share == 0 {
		share = defaultShare
	}
	if !(share > 0 && share < 1) {
		return nil, badQuery("band: %v is not between 0 and 1", q.Band)
	}
	window := q.Window
	if window == 0 {
		window = reader.WindowFor(span, int(min(points, 5000)))
	}
	e := q.entity()
	list, err := i.Series(ctx, e, feature, window, span, q.conditions())
	if err != nil {
		return nil, err
	}
	var b reader.Baseline
	ok := false
	if e.ID != "" && len(q.Filters) == 0 {
		if b, ok, err = i.Baseline(ctx, e, feature, window); err != nil {
			return nil, err
		}
	}
	return data.Frames{seriesFrame(name, featureName(feature, window), reader.Unit(feature), window, list, b, ok, share)}, nil
}

func featureName(feature string, window int64) string {
	names := map[int64]string{60: "minute", 600: "10 minutes", 3600: "hour", 86400: "day"}
	out := []byte(feature)
	for k := range out {
		if out[k] == '_' {
			out[k] = ' '
		}
	}
	if out[0] >= 'a' && out[0] <= 'z' {
		out[0] -= 'a' - 'A'
	}
	return fmt.Sprintf("%s per %s", out, names[window])
}

func (i *instance) pipeline(ctx context.Context, q *query, span reader.Span) (data.Frames, error) {
	p, err := i.Pipeline(ctx, span)
	if err != nil {
		return nil, err
	}
	one := func(x float64) func(int) float64 { return func(int) float64 { return x } }
	all := []*data.Field{
		field("freshness_seconds", "Newest row", 1, one(number(p.FreshnessSeconds)), unit("s"), described("Time since the newest event was stored; -1 when there is none.")),
		field("lag_seconds", "Lag (p99)", 1, one(number(p.LagSeconds)), unit("s"), described("From an event's time to its row, of the last ten minutes.")),
		field("events_per_second", "Events per second", 1, one(number(p.EventsPerSecond)), unit("eps"), described("Stored during the last minute.")),
		field("dead_letters", "Dead letters", 1, one(float64(p.DeadLetters)), unit("short"), described("Messages that were rejected, in the time range.")),
		field("late", "Late events", 1, one(float64(p.Late)), unit("short"), described("Events that came too late to be counted, in the time range.")),
	}
	if q.Metric == "" {
		return data.Frames{numbers("pipeline health", all...)}, nil
	}
	for _, f := range all {
		if f.Name == q.Metric {
			return data.Frames{numbers("pipeline health", f)}, nil
		}
	}
	return nil, badQuery("metric: %.40q is none of freshness_seconds, lag_seconds, events_per_second, dead_letters, late", q.Metric)
}
