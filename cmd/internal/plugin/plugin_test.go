package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/astray-dev/astray/cmd/internal/scene"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/simulate"
)

var (
	start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	days  = 3
	end   = start.AddDate(0, 0, days)
)

// The database of all tests, which add to it but do not rely on the others' additions.
var server *embedded.Server

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	os.Exit(func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		dir, err := os.MkdirTemp("", "astray-plugin")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if server, err = embedded.StartClickHouse(ctx, embedded.Options{Dir: dir}); err != nil {
			panic(err)
		}
		defer server.Kill()
		done, err := scene.Fill(ctx, server.DSN(), scene.Options{World: simulate.Config{Agents: 60, Days: float64(days), Seed: 3, Start: start}, Hostile: true, End: end})
		if err != nil {
			panic(err)
		}
		fmt.Printf("scene: %+v\n", done)
		if done.Alerts <= len(scene.Payloads) || done.Baselines == 0 {
			panic("the scene has no alerts or no baselines of the world")
		}
		return m.Run()
	}())
}

func address(t *testing.T, dsn string) (addr, user, password string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ = u.User.Password()
	return u.Host, u.User.Username(), password
}

func appContext(t *testing.T, role string, change func(map[string]any)) backend.PluginContext {
	t.Helper()
	addr, user, password := address(t, server.UserDSN(embedded.Analyst))
	set := map[string]any{"address": addr, "username": user}
	if change != nil {
		change(set)
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var who *backend.User
	if role != "" {
		who = &backend.User{Login: strings.ToLower(role), Role: role}
	}
	return backend.PluginContext{PluginID: AppID, User: who, AppInstanceSettings: &backend.AppInstanceSettings{JSONData: data, DecryptedSecureJSONData: map[string]string{"password": password}, Updated: time.Unix(int64(crc32.ChecksumIEEE(data)), 0)}}
}

func newHandler(t *testing.T) *Handler { return New() }

// resource calls one and decodes the answer into out, which may be nil.
func resource(t *testing.T, h *Handler, pc backend.PluginContext, method, path string, body, out any) int {
	t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	var res backend.CallResourceResponse
	plain, _, _ := strings.Cut(path, "?")
	err := h.CallResource(t.Context(), &backend.CallResourceRequest{PluginContext: pc, Method: method, Path: plain, URL: path, Body: b}, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
		res = *r
		return nil
	}))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if out != nil {
		if err := json.Unmarshal(res.Body, out); err != nil {
			t.Fatalf("%s %s: %d %.300s: %v", method, path, res.Status, res.Body, err)
		}
	}
	return res.Status
}

func span() string { return fmt.Sprintf("from=%d&to=%d", start.UnixMilli(), end.UnixMilli()) }

// Every answer of every resource has what the pages ask for.
func TestResources(t *testing.T) {
	h, pc := newHandler(t), appContext(t, "Viewer", nil)
	var list struct {
		Alerts []map[string]any
		Total  int
		Cursor string
	}
	if got := resource(t, h, pc, "GET", "alerts?"+span(), nil, &list); got != 200 || len(list.Alerts) == 0 || list.Total != len(list.Alerts) {
		t.Fatalf("%d, %d of %d alerts", got, len(list.Alerts), list.Total)
	}
	var alert map[string]any
	for _, a := range list.Alerts {
		if !strings.HasPrefix(a["id"].(string), "hostile") && a["entity_kind"] == "agent" {
			alert = a
		}
	}
	id, agent := alert["id"].(string), url.QueryEscape(alert["entity_id"].(string))
	for _, c := range []struct {
		path string
		has  []string // arrays and numbers that must not be empty
		body any
	}{
		{"me", []string{"login", "role"}, nil},
		{"alerts/changes?cursor=" + list.Cursor, []string{"cursor"}, nil},
		{"alerts/" + id, []string{"alert", "alert.evidence", "alert.reason", "alert.query", "alert.techniques", "alert.event_ids"}, nil},
		{"alerts/" + id + "/chart", []string{"points", "feature", "unit", "window_seconds", "marked"}, nil},
		{"alerts/" + id + "/events?limit=5", []string{"events", "total"}, nil},
		{"timeline?agent=" + agent + "&" + span(), []string{"items"}, nil},
		{"graph?kind=agent&id=" + agent + "&" + span(), []string{"nodes", "edges"}, nil},
		{"blast?kind=agent&id=" + agent + "&" + span(), []string{"services", "totals", "totals.events"}, nil},
		{"entity?kind=agent&id=" + agent + "&" + span(), []string{"events", "first_seen", "cohorts", "alerts", "heat", "services", "baselines", "networks"}, nil},
		{"fleet?" + span(), []string{"active_agents", "rate", "by_detector", "movers", "budget.agent_days", "pipeline", "open_alerts", "new_agents"}, nil},
		{"values?of=agents&" + span(), []string{"values"}, nil}, {"values?of=detectors&" + span(), []string{"values"}, nil},
		{"values?of=cohorts&" + span(), []string{"values"}, nil}, {"values?of=severities", []string{"values"}, nil}, {"values?of=features", []string{"values"}, nil},
		{"configuration", []string{"schema.version", "retention", "roles"}, nil},
		{"sparklines", []string{"sparklines." + id + ".values"}, map[string]any{"ids": []string{id}}},
		{"suppressions/preview", []string{"hidden", "open", "sample"}, map[string]any{"entity_kind": "agent", "entity_id": alert["entity_id"], "why": "x"}},
	} {
		method := "GET"
		if c.body != nil {
			method = "POST"
		}
		var out map[string]any
		if got := resource(t, h, pc, method, c.path, c.body, &out); got != 200 {
			t.Errorf("%s: %d %v", c.path, got, out)
			continue
		}
		for _, path := range c.has {
			var x any = out
			for _, p := range strings.Split(path, ".") {
				m, _ := x.(map[string]any)
				x = m[p]
			}
			if empty(x) {
				t.Errorf("%s: %s is %v", c.path, path, x)
			}
		}
	}
	// What each piece of evidence counts for sums to the score.
	var one struct {
		Alert struct {
			Score    float64
			Evidence []struct{ Contribution float64 }
		}
	}
	resource(t, h, pc, "GET", "alerts/"+id, nil, &one)
	sum := 0.0
	for i, e := range one.Alert.Evidence {
		if sum += e.Contribution; i > 0 && e.Contribution > one.Alert.Evidence[i-1].Contribution+1e-9 {
			t.Errorf("evidence %d counts for more than the one before it: %+v", i, one.Alert.Evidence)
		}
	}
	if math.Abs(sum-one.Alert.Score) > 1e-6*one.Alert.Score {
		t.Errorf("the evidence of %s counts for %g of %g", id, sum, one.Alert.Score)
	}
	var who struct{ Peers []struct{ Kind, ID string } }
	resource(t, h, pc, "GET", "entity?kind=agent&id="+agent+"&"+span(), nil, &who)
	for _, p := range who.Peers {
		if p.ID == alert["entity_id"] {
			t.Errorf("%s is a peer of its own", p.ID)
		}
	}
	// A time without events says when the newest one was; one with events need not.
	var empty, full struct {
		ActiveAgents int `json:"active_agents"`
		Newest       string
	}
	resource(t, h, pc, "GET", fmt.Sprintf("fleet?from=%d&to=%d", end.AddDate(1, 0, 0).UnixMilli(), end.AddDate(1, 0, 1).UnixMilli()), nil, &empty)
	resource(t, h, pc, "GET", "fleet?"+span(), nil, &full)
	newest, err := time.Parse(time.RFC3339, empty.Newest)
	if err != nil || empty.ActiveAgents != 0 || newest.Before(start) {
		t.Errorf("a year later: %+v", empty)
	}
	if full.ActiveAgents == 0 || full.Newest != "" {
		t.Errorf("with events: %+v", full)
	}
	// What was observed in the window of the evidence is what the chart and the sparkline count.
	var sparks struct {
		Sparklines map[string]struct{ Values []float64 }
	}
	resource(t, h, pc, "POST", "sparklines", map[string]any{"ids": []string{id}}, &sparks)
	most := 0.0
	for _, v := range sparks.Sparklines[id].Values {
		most = max(most, v)
	}
	if most == 0 {
		t.Errorf("the sparkline of %s shows nothing: %v", id, sparks)
	}
	for path, want := range map[string]int{
		"alerts": 400, "alerts?from=x&to=1": 400, "alerts?from=5&to=1": 400, "alerts/none": 404, "nothing": 404, "graph?kind=moon&id=x&" + span(): 400, "values?of=moons": 400,
		"alerts?sort=1,DROP&" + span(): 400, "timeline?" + span(): 400, "alerts/changes?cursor=x": 400,
	} {
		var out struct{ Error string }
		if got := resource(t, h, pc, "GET", path, nil, &out); got != want || out.Error == "" {
			t.Errorf("%s: %d %q, want %d", path, got, out.Error, want)
		}
	}
}

func empty(x any) bool {
	switch x := x.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case float64:
		return x == 0
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}

// A Viewer reads, an Editor triages, an Admin tests the connection, and nobody does nothing.
func TestRoles(t *testing.T) {
	h := newHandler(t)
	addAlert(t, made("test-roles", "roles"))
	rule := map[string]any{"detector": "none-such", "why": "test"}
	agent := "kind=agent&id=x&" + span()
	calls := map[string]struct {
		path  string
		body  any
		least string
	}{
		"GET /me": {"me", nil, "Viewer"}, "GET /alerts": {"alerts?" + span(), nil, "Viewer"}, "GET /alerts/changes": {"alerts/changes?cursor=1", nil, "Viewer"},
		"GET /alerts/{id}": {"alerts/" + scene.HostileID(0), nil, "Viewer"}, "GET /alerts/{id}/chart": {"alerts/" + scene.HostileID(0) + "/chart", nil, "Viewer"},
		"GET /alerts/{id}/events": {"alerts/" + scene.HostileID(0) + "/events", nil, "Viewer"}, "GET /timeline": {"timeline?agent=x&" + span(), nil, "Viewer"},
		"GET /graph": {"graph?" + agent, nil, "Viewer"}, "GET /blast": {"blast?" + agent, nil, "Viewer"}, "GET /entity": {"entity?" + agent, nil, "Viewer"},
		"GET /fleet": {"fleet?" + span(), nil, "Viewer"}, "GET /values": {"values?of=states", nil, "Viewer"}, "GET /configuration": {"configuration", nil, "Viewer"},
		"GET /suppressions": {"suppressions", nil, "Viewer"}, "POST /suppressions/preview": {"suppressions/preview", rule, "Viewer"},
		"POST /sparklines":   {"sparklines", map[string]any{"ids": []string{}}, "Viewer"},
		"POST /actions":      {"actions", map[string]any{"ids": []string{"test-roles"}, "action": "comment", "why": "seen"}, "Editor"},
		"POST /suppressions": {"suppressions", rule, "Editor"}, "DELETE /suppressions/{id}": {"suppressions/none", nil, "Editor"},
		"POST /test": {"test", nil, "Admin"},
	}
	for pattern := range resources() {
		if _, ok := calls[pattern]; !ok {
			t.Errorf("nobody tries %s as each role", pattern)
		}
	}
	for pattern, c := range calls {
		method, _, _ := strings.Cut(pattern, " ")
		for level, role := range []string{"", "None", "Viewer", "Editor", "Admin"} {
			least := map[string]int{"Viewer": 2, "Editor": 3, "Admin": 4}[c.least]
			var out struct{ Error string }
			got := resource(t, h, appContext(t, role, nil), method, c.path, c.body, &out)
			if allowed := got != 403; allowed != (level >= least) || got >= 500 {
				t.Errorf("%s %s as %q: %d %s", method, c.path, role, got, out.Error)
			}
		}
	}
	var trail struct {
		Actions []struct{ Who, Action, Why string }
	}
	resource(t, h, appContext(t, "Viewer", nil), "GET", "alerts/test-roles", nil, &trail)
	if len(trail.Actions) != 2 || trail.Actions[0].Who != "editor" || trail.Actions[1].Who != "admin" {
		t.Errorf("the trail is %+v", trail.Actions)
	}
	// Without a name there is nobody to record.
	pc := appContext(t, "Editor", nil)
	pc.User.Login = ""
	if got := resource(t, h, pc, "POST", "actions", map[string]any{"ids": []string{scene.HostileID(0)}, "action": "acknowledge"}, nil); got != 403 {
		t.Errorf("an action of nobody: %d", got)
	}
	var cfg struct{ Connection struct{ Address string } }
	if resource(t, h, appContext(t, "Editor", nil), "GET", "configuration", nil, &cfg); cfg.Connection.Address != "" {
		t.Errorf("an Editor is told the address %q", cfg.Connection.Address)
	}
	if resource(t, h, appContext(t, "Admin", nil), "GET", "configuration", nil, &cfg); cfg.Connection.Address == "" {
		t.Error("an Admin is not told the address")
	}
}

// datasourceContext is the same connection as a datasource's.
func datasourceContext(t *testing.T, role string) backend.PluginContext {
	t.Helper()
	pc := appContext(t, role, nil)
	pc.PluginID = DatasourceID
	pc.DataSourceInstanceSettings = &backend.DataSourceInstanceSettings{ID: 1, UID: "astray", JSONData: pc.AppInstanceSettings.JSONData, DecryptedSecureJSONData: pc.AppInstanceSettings.DecryptedSecureJSONData}
	pc.AppInstanceSettings = nil
	return pc
}
