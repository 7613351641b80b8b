package plugin

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/astray-dev/astray/dashboards"
)

// chosen are values of the dashboards' variables, as a person would choose them.
func chosen(t *testing.T, h *Handler) map[string]string {
	t.Helper()
	agent := worldAgent(t, h)
	frame := ask(t, h, datasourceContext(t, "Viewer"), fmt.Sprintf(`{"queryType":"events","agent":%q,"limit":1}`, agent)).Frames[0]
	key, _ := frame.FieldByName("credential_id")
	if key == nil || key.Len() == 0 || key.At(0) == "" {
		t.Fatalf("%s uses no credential", agent)
	}
	return map[string]string{"agent": agent, "credential": key.At(0).(string)}
}

// interpolated is a target as the datasource's frontend sends it: variables replaced, and lists of which all is chosen
// empty.
func interpolated(t *testing.T, target map[string]any, values map[string]string) string {
	t.Helper()
	for name, x := range target {
		if list, ok := x.([]any); ok && len(list) == 1 {
			if s, ok := list[0].(string); ok && strings.HasPrefix(s, "$") {
				target[name] = []any{}
			}
		}
	}
	b, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	for name, value := range values {
		s = strings.ReplaceAll(s, `"$`+name+`"`, fmt.Sprintf("%q", value))
	}
	if strings.Contains(strings.ReplaceAll(s, "${datasource}", ""), "$") {
		t.Fatalf("%s: a variable has no value", s)
	}
	return s
}

// holds tells whether a frame has a value.
func holds(f *data.Frame) bool {
	for _, x := range f.Fields {
		for i := range x.Len() {
			if v, ok := x.ConcreteAt(i); ok && v != "" {
				return true
			}
		}
	}
	return false
}

// Every question that a dashboard asks, of its panels, its variables and its annotations, is answered with rows from a
// database that the simulated world filled.
func TestDashboardsShowData(t *testing.T) {
	h := newHandler(t)
	values := chosen(t, h)
	source := dashboards.Provisioning()
	names, err := fs.Glob(source, "dashboards/*.json")
	if err != nil || len(names) != 4 {
		t.Fatalf("%d dashboards, %v", len(names), err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(source, name)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []map[string]any
			}
			Templating struct {
				List []struct {
					Name, Type string
					Query      any
				}
			}
			Annotations struct {
				List []struct {
					Name   string
					Target map[string]any
				}
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows := func(what string, target map[string]any) {
			t.Helper()
			model := interpolated(t, target, values)
			res := ask(t, h, datasourceContext(t, "Viewer"), model)
			if res.Error != nil || len(res.Frames) == 0 || !holds(res.Frames[0]) {
				t.Errorf("%s: %s: %s: no data, %v", path.Base(name), what, model, res.Error)
			}
		}
		asked := 0
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				rows(p.Title, target)
				asked++
			}
		}
		if asked == 0 {
			t.Errorf("%s asks nothing", name)
		}
		for _, a := range board.Annotations.List {
			if a.Target["queryType"] != nil { // Grafana's own is no question to the datasource
				rows("annotation "+a.Name, a.Target)
			}
		}
		for _, v := range board.Templating.List {
			if v.Type != "query" {
				continue
			}
			of, _ := v.Query.(map[string]any)["of"].(string)
			var out struct{ Values []string }
			if status := resource(t, h, appContext(t, "Viewer", nil), "GET", fmt.Sprintf("values?of=%s&from=%d&to=%d", of, start.UnixMilli(), end.UnixMilli()), nil, &out); status != 200 || len(out.Values) == 0 {
				t.Errorf("%s: variable %s has no values: %d", path.Base(name), v.Name, status)
			}
		}
	}
}

// Each alert rule is answered, without a user, with one number for each field, as Grafana's alerting takes them; and the
// rule for missing data fires when there is no event at all.
func TestAlertRulesAreAnswered(t *testing.T) {
	text, err := fs.ReadFile(dashboards.Provisioning(), "alerting/astray.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				UID, Title, Condition string
				Data                  []struct {
					RefID         string `yaml:"refId"`
					DatasourceUID string `yaml:"datasourceUid"`
					Model         map[string]any
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t)
	rules := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules++
			for _, d := range r.Data {
				if d.DatasourceUID != "astray" {
					continue
				}
				model, err := json.Marshal(d.Model)
				if err != nil {
					t.Fatal(err)
				}
				res := ask(t, h, datasourceContext(t, ""), string(model))
				if res.Error != nil || res.Status != 0 && res.Status != backend.StatusOK || len(res.Frames) != 1 || res.Frames[0].Rows() != 1 {
					t.Errorf("%s: %s: %v", r.Title, model, res.Error)
					continue
				}
				if f := res.Frames[0].Fields[0]; f.Type() != data.FieldTypeFloat64 {
					t.Errorf("%s: the number is a %s", r.Title, f.Type())
				}
			}
			if r.UID != "astray-no-data" {
				continue
			}
			last, err := json.Marshal(r.Data[len(r.Data)-1].Model["conditions"])
			if err != nil {
				t.Fatal(err)
			}
			if want := `[{"evaluator":{"params":[0,300],"type":"outside_range"}}]`; string(last) != want {
				t.Errorf("%s: %s does not fire at -1, which says that there are no events", r.Title, last)
			}
		}
	}
	if rules != 2 {
		t.Errorf("%d rules", rules)
	}
}
