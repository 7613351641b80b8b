package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/astray-dev/astray/cmd/internal/scene"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/clickhouse/reader"
)

// ask runs one query of the whole scene.
func ask(t *testing.T, h *Handler, pc backend.PluginContext, model string) backend.DataResponse {
	t.Helper()
	res, err := h.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: pc, Queries: []backend.DataQuery{
		{RefID: "A", JSON: json.RawMessage(model), MaxDataPoints: 500, TimeRange: backend.TimeRange{From: start, To: end}}}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Responses["A"]
}

// worldAgent is an agent of the world that an alert is about.
func worldAgent(t *testing.T, h *Handler) string {
	t.Helper()
	f := ask(t, h, datasourceContext(t, "Viewer"), `{"queryType":"alerts"}`).Frames[0]
	kind, _ := f.FieldByName("entity_kind")
	name, _ := f.FieldByName("entity_id")
	id, _ := f.FieldByName("id")
	for i := range f.Rows() {
		if kind.At(i) == "agent" && !strings.HasPrefix(id.At(i).(string), "hostile") && !strings.HasPrefix(id.At(i).(string), "test") {
			return name.At(i).(string)
		}
	}
	t.Fatal("no alert of the world is about an agent")
	return ""
}

// Each type of query gives frames with rows, and with what panels need to look right untouched. Grafana's alerting, which
// names no user, gets them too.
func TestQueries(t *testing.T) {
	h := newHandler(t)
	agent, err := json.Marshal(worldAgent(t, h))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model  string
		frames int
		fields []string
		kind   data.FrameType
	}{
		{`{"queryType":"alerts"}`, 1, []string{"time", "severity", "title", "timeEnd", "text", "tags", "id"}, data.FrameTypeTable},
		{`{"queryType":"alerts","format":"count","severity":["critical"],"state":["open"],"olderThanSeconds":900}`, 1, []string{"critical"}, data.FrameTypeNumericWide},
		{`{"queryType":"alerts","filters":[{"key":"detector","op":"=~","value":"^(scraping|burst|lateral.*)$"},{"key":"score","op":">","value":"2"}]}`, 1, []string{"detector"}, data.FrameTypeTable},
		{`{"queryType":"events","agent":` + string(agent) + `,"limit":10}`, 1, []string{"time", "agent_id", "content"}, data.FrameTypeTable},
		{`{"queryType":"events","filters":[{"key":"kind","op":"=","value":"post"}],"limit":10}`, 1, []string{"kind"}, data.FrameTypeTable},
		{`{"queryType":"rate","agent":` + string(agent) + `}`, 1, []string{"time", "observed", "expected", "lower", "upper"}, data.FrameTypeTimeSeriesWide},
		{`{"queryType":"rate"}`, 1, []string{"time", "observed"}, data.FrameTypeTimeSeriesWide},
		{`{"queryType":"rate","agent":` + string(agent) + `,"feature":"new_resources_read","window":3600}`, 1, []string{"time", "observed"}, data.FrameTypeTimeSeriesWide},
		{`{"queryType":"distinct","agent":` + string(agent) + `,"band":0.5}`, 1, []string{"time", "observed"}, data.FrameTypeTimeSeriesWide},
		{`{"queryType":"entities"}`, 1, []string{"entity_kind", "entity_id", "alerts", "severity"}, data.FrameTypeTable},
		{`{"queryType":"entities","by":"volume"}`, 1, []string{"entity_id", "events"}, data.FrameTypeTable},
		{`{"queryType":"graph","agent":` + string(agent) + `}`, 2, []string{"id", "title", "mainstat"}, ""},
		{`{"queryType":"blast","agent":` + string(agent) + `}`, 1, []string{"service", "events", "sent"}, data.FrameTypeTable},
		{`{"queryType":"health"}`, 1, []string{"freshness_seconds", "lag_seconds", "dead_letters", "late"}, data.FrameTypeNumericWide},
		{`{"queryType":"health","metric":"freshness_seconds"}`, 1, []string{"freshness_seconds"}, data.FrameTypeNumericWide},
	} {
		for _, user := range []string{"Viewer", ""} {
			res := ask(t, h, datasourceContext(t, user), c.model)
			if res.Error != nil || len(res.Frames) != c.frames {
				t.Errorf("%s: %d frames, %v", c.model, len(res.Frames), res.Error)
				continue
			}
			f := res.Frames[0]
			if f.Rows() == 0 || f.RefID != "A" || f.Meta.Type != c.kind {
				t.Errorf("%s: %d rows of %q, ref %q", c.model, f.Rows(), f.Meta.Type, f.RefID)
			}
			for _, name := range c.fields {
				if x, _ := f.FieldByName(name); x == nil || x.Config == nil || x.Config.DisplayNameFromDS == "" {
					t.Errorf("%s: field %s is missing or has no name for people", c.model, name)
				}
			}
			if _, err := data.FrameToJSON(f, data.IncludeAll); err != nil {
				t.Errorf("%s: %v", c.model, err)
			}
			if strings.Contains(c.model, `"rate"`) || strings.Contains(c.model, `"distinct"`) {
				sum := 0.0
				x, _ := f.FieldByName("observed")
				for i := range f.Rows() {
					sum += x.At(i).(float64)
				}
				if sum == 0 || x.Config.Unit == "" {
					t.Errorf("%s: observed nothing, or in no unit", c.model)
				}
			}
		}
	}
	for model, want := range map[string]string{
		`{"queryType":"moon"}`: "queryType", `{`: "cannot be read", `{"queryType":"rate","feature":"moons"}`: "feature", `{"queryType":"rate","window":7}`: "window",
		`{"queryType":"graph"}`: "agent", `{"queryType":"alerts","filters":[{"key":"id) OR 1=1 --","op":"=","value":"x"}]}`: "filter",
		`{"queryType":"alerts","filters":[{"key":"title","op":"UNION","value":"x"}]}`: "filter", `{"queryType":"events","filters":[{"key":"content","op":"=~","value":"("}]}`: "regular expression",
		`{"queryType":"rate","band":2}`: "band", `{"queryType":"health","metric":"x"}`: "metric", `{"queryType":"entities","by":"x"}`: "by", `{"queryType":"alerts","format":"x"}`: "format",
	} {
		res := ask(t, h, datasourceContext(t, "Viewer"), model)
		if res.Error == nil || !strings.Contains(res.Error.Error(), want) || res.Status != backend.StatusBadRequest {
			t.Errorf("%s: %v %v", model, res.Status, res.Error)
		}
	}
	if res := ask(t, h, datasourceContext(t, "None"), `{"queryType":"alerts"}`); res.Error == nil || res.Status != backend.StatusForbidden {
		t.Errorf("a user without a role: %v", res.Error)
	}
	long := backend.DataQuery{RefID: "A", JSON: json.RawMessage(`{"queryType":"rate"}`), TimeRange: backend.TimeRange{From: start.AddDate(-3, 0, 0), To: end}}
	res, err := h.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: datasourceContext(t, "Viewer"), Queries: []backend.DataQuery{long}})
	if err != nil || res.Responses["A"].Error == nil {
		t.Errorf("three years: %v", err)
	}
}

// The count over time is the count: its sum is what the table holds, and the band is the baseline's.
func TestSeriesCounts(t *testing.T) {
	h := newHandler(t)
	agent := worldAgent(t, h)
	model, err := json.Marshal(map[string]any{"queryType": "rate", "agent": agent, "window": 3600})
	if err != nil {
		t.Fatal(err)
	}
	f := ask(t, h, datasourceContext(t, "Viewer"), string(model)).Frames[0]
	sum := 0.0
	x, _ := f.FieldByName("observed")
	for i := range f.Rows() {
		sum += x.At(i).(float64)
	}
	i, err := h.instance(t.Context(), datasourceContext(t, "Viewer"))
	if err != nil {
		t.Fatal(err)
	}
	r := i.Reader
	var want uint64
	if err := r.Ledger().Conn().QueryRow(t.Context(), "SELECT count() FROM events WHERE agent_id = $1", agent).Scan(&want); err != nil {
		t.Fatal(err)
	}
	if sum != float64(want) || want == 0 {
		t.Errorf("%v events in the series, %d in the table", sum, want)
	}
	lower, _ := f.FieldByName("lower")
	expected, _ := f.FieldByName("expected")
	upper, _ := f.FieldByName("upper")
	if upper == nil || !(lower.At(0).(float64) <= expected.At(0).(float64) && expected.At(0).(float64) <= upper.At(0).(float64)) {
		t.Errorf("the band is %v %v %v", lower, expected, upper)
	}
}

// Health says exactly what is wrong.
func TestHealth(t *testing.T) {
	ctx := t.Context()
	h := newHandler(t)
	check := func(pc backend.PluginContext) (backend.HealthStatus, string) {
		t.Helper()
		res, err := h.CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: pc})
		if err != nil {
			t.Fatal(err)
		}
		return res.Status, res.Message
	}
	if status, message := check(appContext(t, "Viewer", nil)); status != backend.HealthStatusOk || !strings.Contains(message, "Connected to ClickHouse") {
		t.Errorf("%v %q", status, message)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	web := strings.TrimPrefix(server.HTTPURL(), "http://")
	if u := strings.Index(web, "/"); u > 0 {
		web = web[:u]
	}
	// Over HTTP: a refused login over the native protocol ends the embedded server.
	conn := admin2(t)
	for _, sql := range []string{"CREATE DATABASE IF NOT EXISTS bare", "CREATE DATABASE IF NOT EXISTS old", "DROP TABLE IF EXISTS old.goose_db_version",
		"CREATE TABLE old.goose_db_version (version_id Int64, is_applied UInt8) ENGINE = MergeTree ORDER BY version_id", "INSERT INTO old.goose_db_version VALUES (0, 1), (1, 1), (2, 1)"} {
		if err := conn.Ledger().Conn().Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	locked := embeddedtest.ClickHouse(ctx, t, embedded.Options{Passwords: true})
	lock := strings.TrimSuffix(strings.TrimPrefix(locked.HTTPURL(), "http://"), "/")
	for name, c := range map[string]struct {
		set  map[string]any
		want string
	}{
		"nobody there":     {map[string]any{"address": nobody}, "is unreachable: nothing listens there"},
		"no such host":     {map[string]any{"address": "no-such-host.invalid:9000"}, "is unreachable"},
		"no such user":     {map[string]any{"address": web, "protocol": "http", "username": "intruder"}, `refuses user "intruder": wrong user or password`},
		"wrong password":   {map[string]any{"address": lock, "protocol": "http"}, `refuses user "analyst": wrong user or password`},
		"no database":      {map[string]any{"address": web, "protocol": "http", "database": "moon", "username": "default"}, `has no database "moon"`},
		"no schema":        {map[string]any{"address": web, "protocol": "http", "database": "bare", "username": "default"}, `database "bare" holds no Astray schema; run `},
		"old schema":       {map[string]any{"address": web, "protocol": "http", "database": "old", "username": "default"}, `in database "old" is version 2, this plugin needs 5 or newer`},
		"no such protocol": {map[string]any{"protocol": "smoke"}, "settings: protocol"},
		"no address":       {map[string]any{"address": "moon"}, "settings: address"},
		"wrong port":       {map[string]any{"address": web}, "port"},
	} {
		pc := appContext(t, "Admin", func(m map[string]any) {
			for k, v := range c.set {
				m[k] = v
			}
		})
		status, message := check(pc)
		if status != backend.HealthStatusError || !strings.Contains(message, c.want) {
			t.Errorf("%s: %v %q, want %q", name, status, message, c.want)
		}
	}
	in := appContext(t, "Admin", func(m map[string]any) { m["address"], m["protocol"] = lock, "http" })
	in.AppInstanceSettings.DecryptedSecureJSONData = map[string]string{"password": locked.Password(embedded.Analyst)}
	in.AppInstanceSettings.Updated = in.AppInstanceSettings.Updated.Add(time.Second)
	if _, message := check(in); !strings.Contains(message, "holds no Astray schema") {
		t.Errorf("the right password: %q", message)
	}
	if status, message := check(appContext(t, "Viewer", func(m map[string]any) { m["address"], m["protocol"] = web, "http" })); status != backend.HealthStatusOk {
		t.Errorf("over HTTP: %q", message)
	}
	if res := ask(t, h, appContext(t, "Viewer", func(m map[string]any) { m["address"] = nobody }), `{"queryType":"alerts"}`); res.Error == nil || !strings.Contains(res.Error.Error(), "nothing listens there") {
		t.Errorf("a query of nobody: %v", res.Error)
	}
}

// The analyst, as whom people work, may append what they decide, and nothing else.
func TestAnalystAppends(t *testing.T) {
	i, err := newHandler(t).instance(t.Context(), datasourceContext(t, "Editor"))
	if err != nil {
		t.Fatal(err)
	}
	conn := i.Reader.Ledger().Conn()
	if err := conn.Exec(t.Context(), "INSERT INTO dead_letter_actions (topic, partition, offset, idx, who, action, why) VALUES ('t', 0, 1, 0, 'ann', 'discard', '')"); err != nil {
		t.Errorf("a note on a dead letter: %v", err)
	}
	for _, sql := range []string{"INSERT INTO alerts (id) VALUES ('x')", "ALTER TABLE alert_actions DELETE WHERE 1", "TRUNCATE TABLE suppressions", "DROP TABLE events"} {
		if err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "Not enough privileges") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// admin2 is a connection that may do everything.
func admin2(t *testing.T) *instance {
	t.Helper()
	addr, user, password := address(t, server.UserDSN(embedded.Writer))
	set, err := json.Marshal(map[string]any{"address": addr, "username": user})
	if err != nil {
		t.Fatal(err)
	}
	i := newInstance(set, map[string]string{"password": password})
	if i.err != nil {
		t.Fatal(i.err)
	}
	t.Cleanup(i.Dispose)
	return i
}

// What attackers write comes back as text: whole and inert in the resources, and with everything that controls or hides
// escaped in the frames. It is a value in a query and nothing else.
func TestHostileTexts(t *testing.T) {
	h, pc := newHandler(t), appContext(t, "Editor", nil)
	for i, p := range scene.Payloads {
		var out struct {
			Alert   struct{ Title, Reason, Query string }
			Actions []struct{ Why string }
		}
		why := p.Text
		if len(why) > 4000 {
			why = why[:4000]
		}
		resource(t, h, pc, "POST", "actions", map[string]any{"ids": []string{scene.HostileID(i)}, "action": "comment", "why": why}, nil)
		if got := resource(t, h, pc, "GET", "alerts/"+scene.HostileID(i), nil, &out); got != 200 || out.Alert.Title != p.Text || out.Alert.Reason != p.Text || out.Alert.Query != p.Text {
			t.Errorf("%s: %d, comes back as %.80q", p.Name, got, out.Alert.Title)
		}
		if n := len(out.Actions); n == 0 || out.Actions[n-1].Why != why {
			t.Errorf("%s: the comment comes back as %.80q", p.Name, out.Actions)
		}
		id := p.Text
		if len(id) > 200 {
			id = id[:200]
		}
		for _, model := range []map[string]any{{"queryType": "events", "agent": id}, {"queryType": "alerts", "agent": id}, {"queryType": "graph", "agent": id}, {"queryType": "blast", "agent": id},
			{"queryType": "events", "filters": []map[string]string{{"key": "agent_id", "op": "=", "value": id}}}, {"queryType": "alerts", "text": id}} {
			m, err := json.Marshal(model)
			if err != nil {
				t.Fatal(err)
			}
			res := ask(t, h, pc, string(m))
			if res.Error != nil || res.Frames[0].Rows() == 0 {
				t.Errorf("%s: %s: %v, no rows", p.Name, m, res.Error)
				continue
			}
			for _, f := range res.Frames {
				for _, x := range f.Fields {
					for k := range x.Len() {
						s, ok := x.At(k).(string)
						if !ok {
							continue
						}
						if len([]rune(s)) > maxShown*10 {
							t.Errorf("%s: field %s has %d bytes", p.Name, x.Name, len(s))
						}
						for _, r := range s {
							if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
								t.Errorf("%s: field %s shows %q", p.Name, x.Name, s)
								break
							}
						}
					}
				}
			}
		}
		var preview struct{ Hidden int }
		if got := resource(t, h, pc, "POST", "suppressions/preview", map[string]any{"entity_kind": "agent", "entity_id": id}, &preview); got != 200 || preview.Hidden < 1 {
			t.Errorf("%s: preview %d, hides %d", p.Name, got, preview.Hidden)
		}
	}
	for in, want := range map[string]string{
		"plain é 漢字 ❤️":          "plain é 漢字 ❤️",
		"a\u202eb":               `a\u{202e}b`,
		"\x1b[31m\x07":           `\x1b[31m\x07`,
		"a\nb\tc\x00":            `a\nb\tc\x00`,
		"bad\xff":                `bad\xff`,
		"=1+1 <b>*x*</b> 'q' \\": "=1+1 <b>*x*</b> 'q' \\",
		"\u3164":                 `\u{3164}`,
	} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func addAlert(t *testing.T, list ...*alert.Alert) {
	t.Helper()
	store, err := clickhouse.Open(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.WriteAlerts(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func made(id string, agents ...string) *alert.Alert {
	at := end.Add(-30 * time.Minute)
	return &alert.Alert{ID: id, Revision: 1, Time: at, FirstSeen: at, LastSeen: at.Add(time.Minute), Detector: "burst", EntityKind: "agent", EntityID: agents[0], AgentIDs: agents, Severity: alert.High,
		Title: id, Evidence: []alert.Evidence{{Feature: "events", Observed: 10, Expected: 1, Upper: 3, WindowSeconds: 60}}}
}

// Two analysts act on the same alerts at once: every action of both is in the trail, and each sees the other's. What an
// alert's state does not allow is refused with the reason, the others of the bulk go through.
func TestTwoAnalysts(t *testing.T) {
	h := newHandler(t)
	ids := []string{"test-two-a", "test-two-b", "test-two-c"}
	addAlert(t, made(ids[0], "two"), made(ids[1], "two"), made(ids[2], "two"))
	before := resourceOf[struct{ Cursor string }](t, h, appContext(t, "Viewer", nil), "GET", "alerts?"+span(), nil)
	var wg sync.WaitGroup
	const each = 8
	for _, who := range []string{"ann", "bob"} {
		wg.Go(func() {
			for n := range each {
				pc := appContext(t, "Editor", nil)
				pc.User.Login = who
				var b bytes.Buffer
				_ = json.NewEncoder(&b).Encode(map[string]any{"ids": ids, "action": "comment", "why": fmt.Sprint(n)})
				err := h.CallResource(t.Context(), &backend.CallResourceRequest{PluginContext: pc, Method: "POST", Path: "actions", URL: "actions", Body: b.Bytes()}, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
					if r.Status != 200 {
						return fmt.Errorf("%d %s", r.Status, r.Body)
					}
					return nil
				}))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	type answer struct {
		Applied []struct{ ID, State, Assignee, Severity, Verdict string }
		Failed  []struct{ ID, Error string }
	}
	as := func(who string) backend.PluginContext {
		pc := appContext(t, "Editor", nil)
		pc.User.Login = who
		return pc
	}
	act := func(who string, body map[string]any) answer {
		t.Helper()
		return resourceOf[answer](t, h, as(who), "POST", "actions", body)
	}
	act("ann", map[string]any{"ids": ids[:1], "action": "acknowledge"})
	got := act("bob", map[string]any{"ids": append(ids, "none", ids[1]), "action": "acknowledge"})
	if len(got.Applied) != 2 || len(got.Failed) != 2 || !strings.Contains(fmt.Sprint(got.Failed), "acknowledged already") || !strings.Contains(fmt.Sprint(got.Failed), "no such alert") {
		t.Errorf("%+v", got)
	}
	act("ann", map[string]any{"ids": ids[:1], "action": "assign", "value": "bob"})
	act("bob", map[string]any{"ids": ids[:1], "action": "severity", "value": "critical"})
	got = act("ann", map[string]any{"ids": ids[:1], "action": "close", "value": "benign", "why": "ours"})
	if len(got.Applied) != 1 || got.Applied[0].State != "closed" || got.Applied[0].Assignee != "bob" || got.Applied[0].Severity != "critical" || got.Applied[0].Verdict != "benign" {
		t.Errorf("%+v", got)
	}
	if got := act("ann", map[string]any{"ids": ids[:1], "action": "reopen"}); len(got.Applied) != 1 || got.Applied[0].State != "open" || got.Applied[0].Verdict != "" {
		t.Errorf("%+v", got)
	}
	trail := resourceOf[struct {
		Actions []struct{ Who, Action, Why string }
	}](t, h, as("ann"), "GET", "alerts/"+ids[0], nil)
	count := map[string]int{}
	for _, a := range trail.Actions {
		count[a.Who+" "+a.Action]++
	}
	if count["ann comment"] != each || count["bob comment"] != each || len(trail.Actions) != 2*each+5 {
		t.Errorf("the trail has %d actions: %v", len(trail.Actions), count)
	}
	seen := resourceOf[struct{ Alerts []struct{ ID string } }](t, h, as("bob"), "GET", "alerts/changes?cursor="+before.Cursor, nil)
	for _, id := range ids {
		if !strings.Contains(fmt.Sprint(seen.Alerts), id) {
			t.Errorf("the change of %s is not told", id)
		}
	}
	for _, bad := range []map[string]any{{"ids": []string{}, "action": "acknowledge"}, {"ids": ids, "action": "destroy"}, {"ids": ids, "action": "close", "value": "maybe"}, {"ids": ids, "action": "comment"},
		{"ids": ids, "action": "comment", "why": strings.Repeat("x", 5000)}} {
		if got := resource(t, h, as("ann"), "POST", "actions", bad, nil); got != 400 {
			t.Errorf("%.80v: %d", bad, got)
		}
	}
}

func resourceOf[T any](t *testing.T, h *Handler, pc backend.PluginContext, method, path string, body any) (out T) {
	t.Helper()
	if got := resource(t, h, pc, method, path, body, &out); got != 200 {
		t.Errorf("%s %s: %d", method, path, got)
	}
	return out
}

// A preview counts what the rule would have hidden; the rule is listed until it is removed, and stays in the list as that.
func TestSuppressions(t *testing.T) {
	h, pc := newHandler(t), appContext(t, "Editor", nil)
	addAlert(t, made("test-s-1", "crawler-1"), made("test-s-2", "crawler-2"), made("test-s-3", "walker-1"))
	rule := map[string]any{"pattern": "crawler-*", "detector": "burst", "why": "ours", "until": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	preview := resourceOf[struct {
		Hidden, Open, Days int
		Sample             []struct{ ID string }
	}](t, h, pc, "POST", "suppressions/preview", rule)
	if preview.Hidden != 2 || preview.Open != 2 || len(preview.Sample) != 2 || preview.Days == 0 {
		t.Errorf("%+v", preview)
	}
	id := resourceOf[struct{ ID string }](t, h, pc, "POST", "suppressions", rule).ID
	type list struct {
		Suppressions []struct {
			ID, Who, Why, Until string
			Removed             bool
		}
	}
	find := func() (who, why, until string, removed bool) {
		for _, s := range resourceOf[list](t, h, pc, "GET", "suppressions", nil).Suppressions {
			if s.ID == id {
				return s.Who, s.Why, s.Until, s.Removed
			}
		}
		t.Fatalf("suppression %s is not listed", id)
		return
	}
	if who, why, until, removed := find(); who != "editor" || why != "ours" || until == "" || removed {
		t.Errorf("%q %q %q %v", who, why, until, removed)
	}
	resourceOf[struct{}](t, h, pc, "DELETE", "suppressions/"+id+"?why=over", nil)
	if who, why, _, removed := find(); who != "editor" || why != "over" || !removed {
		t.Errorf("%q %q %v", who, why, removed)
	}
	if got := resource(t, h, pc, "DELETE", "suppressions/"+id, nil, nil); got != 404 {
		t.Errorf("removed twice: %d", got)
	}
	for _, bad := range []map[string]any{{"why": "all"}, {"pattern": "*", "why": "all"}, {"detector": "burst"}, {"detector": "burst", "why": "x", "until": "soon"}, {"detector": "burst", "why": "x", "until": "2020-01-01T00:00:00Z"}} {
		if got := resource(t, h, pc, "POST", "suppressions", bad, nil); got != 400 {
			t.Errorf("%v: %d", bad, got)
		}
	}
}

// The stream sends what is new, once, and while its receiver is slow it neither asks nor piles up: what came meanwhile
// comes together in the next frame.
func TestStream(t *testing.T) {
	h := newHandler(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	idle, turns := make(chan struct{}), make(chan struct{})
	h.wait = func(ctx context.Context, _ time.Duration) error {
		select {
		case idle <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-turns:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	frames, taken := make(chan []string), make(chan struct{})
	sender := backend.NewStreamSender(packets(func(p *backend.StreamPacket) error {
		var f data.Frame
		if err := json.Unmarshal(p.Data, &f); err != nil {
			return err
		}
		id, _ := f.FieldByName("id")
		var ids []string
		for i := range f.Rows() {
			if s := id.At(i).(string); strings.HasPrefix(s, "test-stream") {
				ids = append(ids, s)
			}
		}
		if ids == nil {
			return nil // of other tests
		}
		select {
		case frames <- ids:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-taken:
		case <-ctx.Done():
		}
		return nil
	}))
	done := make(chan error, 1)
	go func() {
		done <- h.RunStream(ctx, &backend.RunStreamRequest{PluginContext: appContext(t, "Viewer", nil), Path: "alerts"}, sender)
	}()
	// rest waits until the stream has nothing more to send, turn lets it look again.
	rest := func() {
		t.Helper()
		select {
		case <-idle:
		case err := <-done:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	turn := func() { turns <- struct{}{} }
	receive := func(want ...string) {
		t.Helper()
		select {
		case got := <-frames:
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sent %v, want %v", got, want)
			}
		case err := <-done:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal("nothing came")
		}
	}
	rest() // it has its cursor
	addAlert(t, made("test-stream-1", "x"))
	turn()
	receive("test-stream-1")
	// The receiver is slow: it has not given the frame back.
	addAlert(t, made("test-stream-2", "x"))
	addAlert(t, made("test-stream-3", "x"))
	select {
	case <-idle:
		t.Error("the stream went on before its frame was taken")
	default:
	}
	taken <- struct{}{}
	rest()
	turn()
	receive("test-stream-2", "test-stream-3")
	taken <- struct{}{}
	rest()
	turn()
	rest() // nothing is new: what Changes gives twice is not sent again
	resource(t, h, appContext(t, "Editor", nil), "POST", "actions", map[string]any{"ids": []string{"test-stream-1"}, "action": "acknowledge"}, nil)
	turn()
	receive("test-stream-1")
	taken <- struct{}{}
	rest()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for path, c := range map[string]struct {
		role string
		want backend.SubscribeStreamStatus
	}{"alerts": {"Viewer", backend.SubscribeStreamStatusOK}, "alerts ": {"Viewer", backend.SubscribeStreamStatusNotFound}, "alerts  ": {"", backend.SubscribeStreamStatusNotFound}} {
		res, err := h.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: appContext(t, c.role, nil), Path: path})
		if err != nil || res.Status != c.want {
			t.Errorf("%q as %q: %v %v", path, c.role, res, err)
		}
	}
	res, err := h.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: appContext(t, "", nil), Path: "alerts"})
	if err != nil || res.Status != backend.SubscribeStreamStatusPermissionDenied {
		t.Errorf("nobody listens: %v %v", res, err)
	}
	if res, err := h.PublishStream(t.Context(), &backend.PublishStreamRequest{PluginContext: appContext(t, "Admin", nil), Path: "alerts"}); err != nil || res.Status != backend.PublishStreamStatusPermissionDenied {
		t.Errorf("somebody writes: %v %v", res, err)
	}
}

type packets func(*backend.StreamPacket) error

func (p packets) Send(x *backend.StreamPacket) error { return p(x) }

// Every feature can be drawn, as a series, as the chart of an alert and as its sparkline, and the three count the same: in
// the window of the evidence, of one agent.
func TestEveryFeatureIsDrawn(t *testing.T) {
	h, pc := newHandler(t), appContext(t, "Viewer", nil)
	agent := worldAgent(t, h)
	for _, feature := range append(reader.Features(), "sequential_reads") {
		a := made("test-feature-"+feature, agent)
		a.FirstSeen, a.LastSeen = end.Add(-3*time.Hour), end.Add(-time.Second)
		a.Evidence[0].Feature, a.Evidence[0].WindowSeconds = feature, 3600
		addAlert(t, a)
		chart := resourceOf[struct {
			Feature, Unit string
			Window        int64 `json:"window_seconds"`
			Points        []struct {
				T        time.Time
				Observed float64
			}
		}](t, h, pc, "GET", "alerts/"+a.ID+"/chart?feature="+feature, nil)
		spark := resourceOf[struct {
			Sparklines map[string]struct {
				Values []float64
				Banded bool
				Upper  float64
			}
		}](t, h, pc, "POST", "sparklines", map[string]any{"ids": []string{a.ID}}).Sparklines[a.ID]
		if banded := feature != "sequential_reads"; spark.Banded != banded || (spark.Upper > 0) != banded {
			t.Errorf("%s: banded %v, up to %v", feature, spark.Banded, spark.Upper)
		}
		sparks := spark.Values
		want := feature
		if feature == "sequential_reads" {
			want = "events"
		}
		if chart.Feature != want || len(sparks) != 24 || len(chart.Points) == 0 || want == feature && chart.Window != 3600 {
			t.Errorf("%s: %d sparks; the chart is of %s with %d points of %d s", feature, len(sparks), chart.Feature, len(chart.Points), chart.Window)
			continue
		}
		if chart.Window != 3600 {
			continue
		}
		for k, v := range sparks {
			at := end.Add(-time.Duration(24-k) * time.Hour)
			for _, p := range chart.Points {
				// What is new depends on how far back one looks; the sparkline looks less far.
				if p.T.Equal(at) && (p.Observed != v && !strings.HasPrefix(feature, "new_") || p.Observed > v) {
					t.Errorf("%s at %v: the chart says %v, the sparkline %v", feature, at, p.Observed, v)
				}
			}
		}
	}
}
