package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/clickhouse/reader"
)

// CallResource answers the pages of the app; dashboards/API.md lists what there is.
func (h *Handler) CallResource(ctx context.Context, req *backend.CallResourceRequest, sender backend.CallResourceResponseSender) error {
	return h.resources.CallResource(ctx, req, sender)
}

const maxBody = 1 << 20 // bytes of a request

// call is one request to a resource.
type call struct {
	*instance
	*http.Request
	user *backend.User
	role role
}

// failure is an error with the HTTP status to answer with.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

// route is a resource: the least role that may ask for it, and what returns what the answer is made of.
type route struct {
	least role
	serve func(context.Context, *call) (any, error)
}

// resources are all there are. A role is asked of each.
func resources() map[string]route {
	return map[string]route{
		"GET /me":                    {viewer, me},
		"GET /alerts":                {viewer, within(alerts)},
		"GET /alerts/changes":        {viewer, changes},
		"POST /sparklines":           {viewer, sparklines},
		"GET /alerts/{id}":           {viewer, oneAlert},
		"GET /alerts/{id}/chart":     {viewer, chart},
		"GET /alerts/{id}/events":    {viewer, alertEvents},
		"GET /timeline":              {viewer, within(timeline)},
		"GET /graph":                 {viewer, within(graph)},
		"GET /blast":                 {viewer, within(blast)},
		"GET /entity":                {viewer, within(entity)},
		"GET /fleet":                 {viewer, within(fleet)},
		"GET /values":                {viewer, values},
		"GET /configuration":         {viewer, configuration},
		"GET /suppressions":          {viewer, suppressions},
		"POST /suppressions/preview": {viewer, preview},
		"POST /suppressions":         {editor, suppress},
		"DELETE /suppressions/{id}":  {editor, unsuppress},
		"POST /actions":              {editor, act},
		"POST /test":                 {admin, test},
	}
}

func (h *Handler) routes(mux *http.ServeMux) {
	for pattern, x := range resources() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			pc := backend.PluginConfigFromContext(req.Context())
			answer, err := h.serve(req, pc, x.least, x.serve)
			status := http.StatusOK
			if err != nil {
				status, answer = statusOf(err), map[string]string{"error": err.Error()}
			}
			body, err := json.Marshal(answer)
			if err != nil {
				backend.Logger.Error("encoding an answer", "path", req.URL.Path, "err", err)
				status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(status)
			if _, err := w.Write(body); err != nil {
				backend.Logger.Debug("writing an answer", "err", err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"the backend does not know this address"}`)
	})
}

func (h *Handler) serve(req *http.Request, pc backend.PluginContext, least role, serve func(context.Context, *call) (any, error)) (any, error) {
	c := &call{Request: req, user: pc.User, role: roleOf(pc.User)}
	if c.role < least {
		if c.role == nobody {
			return nil, &failure{http.StatusForbidden, "You have no role in this organisation; a Viewer may read."}
		}
		return nil, &failure{http.StatusForbidden, fmt.Sprintf("You are a %s; this takes an %s.", c.role, least)}
	}
	if least > viewer && who(c.user) == "" {
		return nil, &failure{http.StatusForbidden, "Grafana did not say who you are; actions are recorded under a name."}
	}
	i, err := h.instance(req.Context(), pc)
	if err != nil {
		return nil, err
	}
	c.instance = i
	return serve(req.Context(), c)
}

func statusOf(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	switch reader.KindOf(err) {
	case reader.Invalid:
		return http.StatusBadRequest
	case reader.NotFound:
		return http.StatusNotFound
	case reader.TooMuch:
		return http.StatusGatewayTimeout
	case reader.Unreachable, reader.Refused, reader.Forbidden, reader.NoSchema:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// body decodes the JSON of a request.
func (c *call) body(into any) error {
	d := json.NewDecoder(io.LimitReader(c.Body, maxBody))
	if err := d.Decode(into); err != nil {
		return badQuery("the request cannot be read as JSON of at most %d KiB: %v", maxBody>>10, err)
	}
	return nil
}

// span of the request, from and to in milliseconds.
func (c *call) span() (s reader.Span, err error) {
	if s.From, err = reader.Milliseconds(c.FormValue("from")); err != nil {
		return s, badQuery("from: %v", err)
	}
	if s.To, err = reader.Milliseconds(c.FormValue("to")); err != nil {
		return s, badQuery("to: %v", err)
	}
	return s, nil
}

// within serves what is asked of the span that the request must name.
func within(serve func(context.Context, *call, reader.Span) (any, error)) func(context.Context, *call) (any, error) {
	return func(ctx context.Context, c *call) (any, error) {
		span, err := c.span()
		if err != nil {
			return nil, err
		}
		return serve(ctx, c, span)
	}
}

// count is a number of the request, 0 when it is not there.
func (c *call) count(name string) (int, error) {
	v := c.FormValue(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 1_000_000 {
		return 0, badQuery("%s: %.20q is no count", name, v)
	}
	return n, nil
}

func me(_ context.Context, c *call) (any, error) {
	return map[string]any{"login": who(c.user), "role": c.role.String(), "can_triage": c.role >= editor && who(c.user) != "", "can_admin": c.role >= admin}, nil
}

func alerts(ctx context.Context, c *call, span reader.Span) (any, error) {
	limit, err := c.count("limit")
	if err != nil {
		return nil, err
	}
	offset, err := c.count("offset")
	if err != nil {
		return nil, err
	}
	q := c.Form
	list, total, cursor, err := c.Alerts(ctx, reader.Filter{Span: span, State: q["state"], Severity: q["severity"], Detector: q["detector"], Cohort: q["cohort"],
		EntityKind: q["entity_kind"], EntityID: q["entity_id"], Agent: q["agent"], Text: q.Get("q"), Suppressed: q.Get("suppressed"),
		Sort: q.Get("sort"), Ascending: q.Get("order") == "asc", Limit: limit, Offset: offset})
	return map[string]any{"alerts": list, "total": total, "truncated": total > uint64(offset+len(list)), "cursor": cursor}, err
}

func changes(ctx context.Context, c *call) (any, error) {
	list, cursor, err := c.Changes(ctx, c.FormValue("cursor"), 0)
	return map[string]any{"alerts": list, "cursor": cursor}, err
}

func sparklines(ctx context.Context, c *call) (any, error) {
	var in struct{ IDs []string }
	if err := c.body(&in); err != nil {
		return nil, err
	}
	out, err := c.Sparklines(ctx, in.IDs)
	return map[string]any{"sparklines": out}, err
}

func oneAlert(ctx context.Context, c *call) (any, error) {
	a, err := c.Alert(ctx, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	actions, err := c.Actions(ctx, a.ID)
	return map[string]any{"alert": a, "actions": actions}, err
}

type chartPoint struct {
	T        time.Time     `json:"t"`
	Observed reader.Number `json:"observed"`
	Expected reader.Number `json:"expected"`
	Lower    reader.Number `json:"lower"`
	Upper    reader.Number `json:"upper"`
}

const maxChart = 400 // points

// chart draws a feature of an alert: the episode and about twice its length before, with the band that the evidence
// was held against, or the stored baseline's where the alert holds no evidence of the feature.
func chart(ctx context.Context, c *call) (any, error) {
	a, err := c.Alert(ctx, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	feature := c.FormValue("feature")
	if feature == "" {
		feature = a.Feature
	}
	var b reader.Baseline
	ok := false
	i := slices.IndexFunc(a.Evidence, func(e reader.Evidence) bool { return e.Feature == feature })
	window := int64(60)
	if i >= 0 && slices.Contains(reader.Windows, a.Evidence[i].WindowSeconds) {
		e := a.Evidence[i]
		window, ok = e.WindowSeconds, true
		b = reader.Baseline{Expected: e.Expected, Lower: e.Lower, Upper: e.Upper}
	}
	if !slices.Contains(reader.Features(), feature) {
		feature, ok = "events", false
	}
	episode := func() int64 { return int64(a.LastSeen.Sub(a.FirstSeen)/time.Second)/window + 1 }
	for k, w := range reader.Windows {
		// An episode longer than the chart is drawn in longer windows, for which the evidence's band does not hold.
		if window == w && episode() > maxChart/2 && k+1 < len(reader.Windows) {
			window, ok = reader.Windows[k+1], false
		}
	}
	entity := reader.Entity{Kind: a.EntityKind, ID: a.EntityID}
	if !ok {
		if b, ok, err = c.Baseline(ctx, entity, feature, window); err != nil {
			return nil, err
		}
	}
	length := time.Duration(window) * time.Second
	before := min(max(2*episode(), 30), max(maxChart-episode()-4, 10))
	span := reader.Span{From: a.FirstSeen.Add(-time.Duration(before) * length), To: a.LastSeen.Add(2 * length)}
	list, err := c.Series(ctx, entity, feature, window, span, nil)
	if err != nil {
		return nil, err
	}
	if len(list) > maxChart {
		list = list[len(list)-maxChart:]
	}
	lower, upper := number(b.Lower), number(b.Upper)
	if ok && b.Shape > 0 {
		lower, upper = band(b, defaultShare)
	}
	points := make([]chartPoint, len(list))
	for k, p := range list {
		points[k] = chartPoint{p.T, reader.Number(p.Observed), b.Expected, reader.Number(lower), reader.Number(upper)}
	}
	return map[string]any{"feature": feature, "unit": reader.Unit(feature), "window_seconds": window, "points": points, "banded": ok,
		"marked": map[string]time.Time{"from": a.FirstSeen, "to": a.LastSeen}}, nil
}

func alertEvents(ctx context.Context, c *call) (any, error) {
	limit, err := c.count("limit")
	if err != nil {
		return nil, err
	}
	a, err := c.Alert(ctx, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	list, total, err := c.AlertEvents(ctx, a, limit)
	return map[string]any{"events": list, "total": total}, err
}

func timeline(ctx context.Context, c *call, span reader.Span) (any, error) {
	limit, err := c.count("limit")
	if err != nil {
		return nil, err
	}
	list, err := c.Timeline(ctx, c.FormValue("agent"), span, limit)
	return map[string]any{"items": list}, err
}

func (c *call) entity() reader.Entity {
	return reader.Entity{Kind: c.FormValue("kind"), ID: c.FormValue("id")}
}

func graph(ctx context.Context, c *call, span reader.Span) (any, error) {
	return c.Graph(ctx, c.entity(), span)
}

func blast(ctx context.Context, c *call, span reader.Span) (any, error) {
	return c.Blast(ctx, c.entity(), span)
}

func entity(ctx context.Context, c *call, span reader.Span) (any, error) {
	return c.Profile(ctx, c.entity(), span)
}

func fleet(ctx context.Context, c *call, span reader.Span) (any, error) {
	return c.Fleet(ctx, span, c.budget)
}

// valuesPast is how far back values are looked for when the request names no span.
const valuesPast = 30 * 24 * time.Hour

func values(ctx context.Context, c *call) (any, error) {
	now := time.Now().UTC()
	span := reader.Span{From: now.Add(-valuesPast), To: now}
	if c.FormValue("from") != "" || c.FormValue("to") != "" {
		var err error
		if span, err = c.span(); err != nil {
			return nil, err
		}
	}
	list, err := c.Values(ctx, c.FormValue("of"), c.FormValue("q"), span)
	return map[string]any{"values": list}, err
}

var rights = []struct {
	Role string   `json:"role"`
	Can  []string `json:"can"`
}{
	{"Viewer", []string{"see alerts, agents, events and dashboards", "try what a suppression would hide"}},
	{"Editor", []string{"everything a Viewer can", "acknowledge, assign, comment, close and reopen alerts, change their severity", "suppress alerts and end suppressions"}},
	{"Admin", []string{"everything an Editor can", "change the connection and test it"}},
}

func configuration(ctx context.Context, c *call) (any, error) {
	schema, err := c.Schema(ctx)
	if err != nil {
		return nil, err
	}
	retention := []reader.Retention{}
	if schema.Version > 0 {
		if retention, err = c.Retention(ctx); err != nil {
			return nil, err
		}
	}
	connection := map[string]any{"address": "", "database": "", "user": "", "tls": false}
	if c.role >= admin {
		cfg := c.Config()
		connection = map[string]any{"address": cfg.Address, "database": cfg.Database, "user": cfg.Username, "tls": cfg.TLS}
	}
	return map[string]any{"connection": connection, "schema": schema, "retention": retention, "roles": rights}, nil
}

func test(ctx context.Context, c *call) (any, error) {
	findings, ok, message := c.Health(ctx)
	return map[string]any{"ok": ok, "message": message, "details": findings}, nil
}

func act(ctx context.Context, c *call) (any, error) {
	var in struct {
		IDs                []string
		Action, Value, Why string
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	applied, failed, err := c.Act(ctx, in.IDs, triage.Action{Who: who(c.user), Kind: triage.Kind(in.Action), Value: in.Value, Why: in.Why})
	return map[string]any{"applied": applied, "failed": failed}, err
}

func suppressions(ctx context.Context, c *call) (any, error) {
	list, err := c.Suppressions(ctx)
	return map[string]any{"suppressions": list}, err
}

// rule reads a suppression from the request.
func (c *call) rule() (s triage.Suppression, err error) {
	var in struct {
		Detector   string `json:"detector"`
		EntityKind string `json:"entity_kind"`
		EntityID   string `json:"entity_id"`
		Pattern    string `json:"pattern"`
		Until      string `json:"until"`
		Why        string `json:"why"`
	}
	if err := c.body(&in); err != nil {
		return s, err
	}
	s = triage.Suppression{Who: who(c.user), Why: in.Why, Detector: in.Detector, EntityKind: in.EntityKind, EntityID: in.EntityID, Pattern: in.Pattern}
	if in.Until != "" {
		if s.Until, err = time.Parse(time.RFC3339, in.Until); err != nil {
			return s, badQuery("until: %.40q is no RFC 3339 time", in.Until)
		}
		s.Until = s.Until.UTC()
	}
	return s, nil
}

func preview(ctx context.Context, c *call) (any, error) {
	s, err := c.rule()
	if err != nil {
		return nil, err
	}
	if s.Who == "" {
		s.Who = "preview"
	}
	return c.Preview(ctx, s)
}

func suppress(ctx context.Context, c *call) (any, error) {
	s, err := c.rule()
	if err != nil {
		return nil, err
	}
	s, err = c.Suppress(ctx, s)
	return map[string]any{"id": s.ID}, err
}

func unsuppress(ctx context.Context, c *call) (any, error) {
	return map[string]any{}, c.Unsuppress(ctx, c.PathValue("id"), who(c.user), c.FormValue("why"))
}
