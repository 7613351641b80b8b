package ocsf_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/ocsf"
)

// rule is what the schema says of an attribute.
type rule struct {
	kind     string // string, integer, timestamp, boolean, json, or the name of an object
	array    bool
	required bool
	enum     map[int]string // values, and the caption that the sibling without _id has
}

func str() rule            { return rule{kind: "string"} }
func whole() rule          { return rule{kind: "integer"} }
func stamp() rule          { return rule{kind: "timestamp"} }
func object(k string) rule { return rule{kind: k} }
func list(k string) rule   { return rule{kind: k, array: true} }
func (r rule) must() rule  { r.required = true; return r }
func one(of map[int]string) rule {
	return rule{kind: "integer", enum: of}
}

// schema is the part of the OCSF schema that findings use: repository ocsf/ocsf-schema at 1.9.0-dev (commit a5cfc68e),
// dictionary.json for types and enumerations, events/base_event.json, events/findings/finding.json and detection_finding.json for the class,
// objects/*.json for the objects. An attribute that is not here is not written.
var schema = map[string]map[string]rule{
	"detection_finding": {
		"activity_id": one(map[int]string{0: "Unknown", 1: "Create", 2: "Update", 3: "Close", 99: "Other"}).must(), "activity_name": str(),
		"category_uid": one(map[int]string{2: "Findings"}).must(), "category_name": str(),
		"class_uid": one(map[int]string{2004: "Detection Finding"}).must(), "class_name": str(),
		"type_uid": one(map[int]string{200400: "", 200401: "", 200402: "", 200403: "", 200499: ""}).must(), "type_name": str(),
		"time": stamp().must(), "start_time": stamp(), "end_time": stamp(), "count": whole(), "message": str(),
		"severity_id": one(map[int]string{0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal", 99: "Other"}).must(), "severity": str(),
		"confidence_id": one(map[int]string{0: "Unknown", 1: "Low", 2: "Medium", 3: "High", 99: "Other"}), "confidence": str(), "confidence_score": whole(),
		"status_id": one(map[int]string{0: "Unknown", 1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved", 5: "Archived", 6: "Deleted", 99: "Other"}), "status": str(),
		"is_alert": {kind: "boolean"}, "metadata": object("metadata").must(), "finding_info": object("finding_info").must(), "evidences": list("evidences"),
		"anomaly_analyses": list("anomaly_analysis"), "resources": list("resource_details"), "observables": list("observable"), "remediation": object("remediation"), "unmapped": {kind: "json"},
	},
	"metadata": {"version": str().must(), "product": object("product").must(), "uid": str(), "log_name": str()},
	"product":  {"name": str(), "vendor_name": str(), "version": str()},
	"finding_info": {"uid": str().must(), "title": str(), "desc": str(), "created_time": stamp(), "first_seen_time": stamp(), "last_seen_time": stamp(), "types": list("string"),
		"analytic": object("analytic"), "attacks": list("attack"), "tags": list("key_value_object"), "related_events": list("related_event"), "related_events_count": whole()},
	"analytic": {"name": str(), "uid": str(), "version": str(), "type": str(), "type_id": one(map[int]string{0: "Unknown", 1: "Rule", 2: "Behavioral", 3: "Statistical",
		4: "Learning (ML/DL)", 5: "Fingerprinting", 6: "Tagging", 7: "Keyword Match", 8: "Regular Expressions", 9: "Exact Data Match", 10: "Partial Data Match", 11: "Indexed Data Match", 99: "Other"}).must()},
	"attack":           {"technique": object("technique"), "sub_technique": object("technique"), "version": str()},
	"technique":        {"uid": str(), "name": str()},
	"key_value_object": {"name": str().must(), "value": str()},
	"related_event":    {"uid": str().must()},
	"evidences":        {"name": str(), "uid": str(), "data": {kind: "json"}},
	"anomaly_analysis": {"analysis_targets": list("analysis_target").must(), "anomalies": list("anomaly").must(), "baselines": list("baseline")},
	"analysis_target":  {"name": str().must(), "type": str()},
	"anomaly":          {"observation_parameter": str().must(), "observation_type": str(), "observations": list("observation").must(), "observed_pattern": str()},
	"baseline":         {"observation_parameter": str().must(), "observation_type": str(), "observations": list("observation").must(), "observed_pattern": str()},
	"observation":      {"value": str().must()},
	"resource_details": {"uid": str(), "name": str(), "type": str(), "role": str(), "role_id": one(map[int]string{0: "Unknown", 1: "Target", 2: "Actor", 3: "Affected", 4: "Related", 99: "Other"})},
	"observable": {"name": str(), "value": str(), "type": str(), "type_id": one(map[int]string{0: "Unknown", 1: "Hostname", 2: "IP Address", 3: "MAC Address", 4: "User Name",
		5: "Email Address", 6: "URL String", 10: "Resource UID", 19: "User Credential ID", 99: ""}).must()},
	"remediation": {"desc": str().must()},
}

// least is the constraint at_least_one of an object.
var least = map[string][]string{"attack": {"tactic", "technique", "sub_technique"}, "evidences": {"actor", "api", "data", "query", "resources"},
	"technique": {"name", "uid"}, "product": {"name", "uid"}, "analytic": {"name", "uid"}, "resource_details": {"name", "uid"}, "key_value_object": {"value", "values"}}

// check returns what of v breaks the rules of the object.
func check(name, path string, v any) []string {
	m, ok := v.(map[string]any)
	if !ok {
		return []string{path + ": is no object"}
	}
	var bad []string
	rules := schema[name]
	for k, r := range rules {
		if _, ok := m[k]; r.required && !ok {
			bad = append(bad, path+"."+k+": is required")
		}
	}
	if of := least[name]; of != nil && !slices.ContainsFunc(of, func(k string) bool { return m[k] != nil }) {
		bad = append(bad, fmt.Sprintf("%s: has none of %v", path, of))
	}
	for k, x := range m {
		at := path + "." + k
		r, ok := rules[k]
		if !ok {
			bad = append(bad, at+": is no attribute of "+name)
			continue
		}
		all := []any{x}
		if r.array {
			if all, ok = x.([]any); !ok {
				bad = append(bad, at+": is no list")
				continue
			}
		}
		for i, x := range all {
			if r.array {
				at = fmt.Sprintf("%s.%s[%d]", path, k, i)
			}
			n, isNumber := x.(float64)
			_, isText := x.(string)
			_, isTruth := x.(bool)
			switch r.kind {
			case "string":
				ok = isText
			case "boolean":
				ok = isTruth
			case "integer":
				ok = isNumber && n == math.Trunc(n)
			case "timestamp": // milliseconds of this century, not seconds and not microseconds
				ok = isNumber && n == math.Trunc(n) && n > 9e11 && n < 5e12
			case "json":
				ok = true
			default:
				ok = true
				bad = append(bad, check(r.kind, at, x)...)
			}
			if !ok {
				bad = append(bad, fmt.Sprintf("%s: %v is no %s", at, x, r.kind))
			}
			if r.enum == nil {
				continue
			}
			caption, ok := r.enum[int(n)]
			sibling, has := m[strings.Replace(strings.TrimSuffix(k, "_id"), "activity", "activity_name", 1)]
			if strings.HasSuffix(k, "_uid") {
				sibling, has = m[strings.TrimSuffix(k, "_uid")+"_name"]
			}
			if !ok || caption != "" && has && sibling != caption {
				bad = append(bad, fmt.Sprintf("%s: %v (%v) is not of %v", at, x, sibling, r.enum))
			}
		}
	}
	return bad
}

func encoded(t interface{ Fatal(...any) }, f *ocsf.Finding) map[string]any {
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

var at = time.Date(2026, 5, 4, 3, 2, 1, 123_000_000, time.UTC)

func sample() *alert.Alert {
	return &alert.Alert{ID: "3f2a", Time: at, FirstSeen: at.Add(-time.Hour), LastSeen: at, Detector: "scraping", EntityKind: alert.KindAgent, EntityID: "a-1", AgentIDs: []string{"a-1"},
		Severity: alert.High, Confidence: 0.9, PValue: 1e-7, Score: 7, Title: "a-1 reads", Reason: "900 profiles.", EventIDs: []string{"e1"}, EventCount: 3, DetectorVersion: "2", Query: "SELECT 1",
		Evidence: []alert.Evidence{{Feature: "reads", Observed: 900, Expected: 4, Lower: 1, Upper: 9, PValue: 1e-9, WindowSeconds: 600, Contribution: 7}}}
}

// Whatever the alert, the finding keeps the schema's rules.
func TestFindingsKeepTheRulesOfTheSchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		a := sample()
		info := rapid.SampledFrom(catalog.All()).Draw(t, "detector").Info()
		a.Detector, a.Techniques = info.Name, info.Techniques
		a.EntityKind = rapid.SampledFrom([]string{alert.KindAgent, alert.KindCredential, alert.KindSource, alert.KindTemplate}).Draw(t, "kind")
		a.EntityID, a.Title, a.Reason = text.Draw(t, "entity"), text.Draw(t, "title"), text.Draw(t, "reason")
		a.AgentIDs = rapid.SliceOfN(text, 0, 80).Draw(t, "agents")
		a.EventIDs = rapid.SliceOfN(text, 0, 20).Draw(t, "events")
		a.Severity = rapid.SampledFrom([]alert.Severity{alert.Low, alert.Medium, alert.High, alert.Critical}).Draw(t, "severity")
		a.Confidence = rapid.Float64Range(0, 1).Draw(t, "confidence")
		for range rapid.IntRange(0, 3).Draw(t, "evidence") {
			a.Evidence = append(a.Evidence, alert.Evidence{Feature: "x", Observed: rapid.Float64Range(0, 1e12).Draw(t, "observed"), WindowSeconds: 60})
		}
		c := ocsf.Context{Product: "1", Next: info.Next, State: rapid.SampledFrom([]string{"", "open", "acknowledged", "closed"}).Draw(t, "state"), Suppressed: rapid.Bool().Draw(t, "suppressed")}
		v := encoded(t, ocsf.New(a, c))
		if bad := check("detection_finding", "", v); len(bad) > 0 {
			t.Fatal(strings.Join(bad, "\n"))
		}
		if v["type_uid"] != v["class_uid"].(float64)*100+v["activity_id"].(float64) {
			t.Fatalf("type_uid %v", v["type_uid"])
		}
		for _, o := range v["observables"].([]any) { // each points to a resource that is there
			var i int
			if _, err := fmt.Sscanf(o.(map[string]any)["name"].(string), "resources[%d].uid", &i); err != nil || v["resources"].([]any)[i].(map[string]any)["uid"] != o.(map[string]any)["value"] {
				t.Fatalf("%v points nowhere", o)
			}
		}
		var each func(path string, v any)
		each = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, x := range v {
					each(path+"."+k, x)
				}
			case []any:
				for _, x := range v {
					each(path, x)
				}
			case string:
				if utf8.RuneCountInString(v) > 7000 || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Fatalf("%s: %q is long or not plain", path, v)
				}
			}
		}
		each("", v)
	})
}

// The check itself finds what is wrong.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(v map[string]any)
	}{
		{".finding_info: is required", func(v map[string]any) { delete(v, "finding_info") }},
		{".severity_id: 7 (High) is not of", func(v map[string]any) { v["severity_id"] = 7.0 }},
		{".severity_id: 4 (Low) is not of", func(v map[string]any) { v["severity"] = "Low" }},
		{".time: 1.7e+09 is no timestamp", func(v map[string]any) { v["time"] = 1.7e9 }},
		{".colour: is no attribute", func(v map[string]any) { v["colour"] = "red" }},
		{".evidences[0]: has none of", func(v map[string]any) { delete(v["evidences"].([]any)[0].(map[string]any), "data") }},
		{".metadata.product: is no object", func(v map[string]any) { v["metadata"].(map[string]any)["product"] = "Astray" }},
	} {
		v := encoded(t, ocsf.New(sample(), ocsf.Context{}))
		c.change(v)
		if got := strings.Join(check("detection_finding", "", v), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// What a SIEM groups and routes by has the values that an analyst expects.
func TestFinding(t *testing.T) {
	a := sample()
	a.EntityKind, a.EntityID, a.AgentIDs = alert.KindSource, "198.51.100.7", []string{"a-1", "evil\u202e\nname" + strings.Repeat("x", 300)}
	a.Techniques = []alert.Technique{{Framework: "ATT&CK", Version: "18", ID: "T1021.007", Name: "Cloud Services"}, {Framework: "ATLAS", Version: "5", ID: "AML.T0091.000", Name: "Token"}, {Framework: "OWASP Agentic", Version: "2026", ID: "ASI03", Name: "Identity"}}
	f := ocsf.New(a, ocsf.Context{Next: "Check it.", State: "acknowledged"})
	if f.Time != 1777863721123 || f.StartTime != f.Time-3_600_000 || f.TypeUID != 200402 || f.SeverityID != 4 || f.ConfidenceID != 3 || f.Score != 90 || f.Status != "In Progress" || !f.IsAlert {
		t.Errorf("%+v", f)
	}
	x := f.FindingInfo.Attacks
	if len(x) != 2 || x[0].Technique.UID != "T1021" || x[0].SubTechnique.UID != "T1021.007" || x[0].SubTechnique.Name != "Cloud Services" || x[1].Technique.UID != "AML.T0091" {
		t.Errorf("%+v", x)
	}
	if g := f.FindingInfo.Tags; len(g) != 1 || g[0].Value != "ASI03 Identity" {
		t.Errorf("%+v", g)
	}
	if r := f.Resources; len(r) != 3 || r[2].UID != "198.51.100.7" || !strings.HasPrefix(r[1].UID, `evil\u202e\u000aname`) || utf8.RuneCountInString(r[1].UID) > 280 {
		t.Errorf("%+v", r)
	}
	if o := f.Observables[2]; o.TypeID != 2 || o.Value != "198.51.100.7" {
		t.Errorf("%+v", o)
	}
	if e := f.Evidences[0]; e.Data.Observed != 900 || e.Data.Contribution != 7 || f.Analyses[0].Baselines[0].Observations[0].Value != "4" || f.Remediation.Desc != "Check it." {
		t.Errorf("%+v", e)
	}
}
