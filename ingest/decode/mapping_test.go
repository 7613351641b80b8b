package decode

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/astray-dev/astray/ingest/event"
)

// table reads the rows of a page that map a field to a list of paths.
func table(t *testing.T, page string) map[string][]string {
	text, err := os.ReadFile("../../docs/formats/" + page)
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		for _, m := range quoted.FindAllStringSubmatch(row[2], -1) {
			rows[row[1]] = append(rows[row[1]], m[1])
		}
	}
	return rows
}

func same(t *testing.T, page string, code []source) {
	t.Helper()
	written := table(t, page)
	for _, m := range code {
		if !slices.Equal(written[m.field], m.paths) {
			t.Errorf("%s: %s is from %v, the page says %v", page, m.field, m.paths, written[m.field])
		}
		delete(written, m.field)
	}
	for field := range written {
		t.Errorf("%s: %s is mapped on the page only", page, field)
	}
}

// fieldOfEvent is a field as text.
func fieldOfEvent(e *event.Event, field string) string {
	if p := textField(e, field); p != nil {
		return *p
	}
	switch field {
	case "time":
		return fmt.Sprint(e.Time / 1000)
	case "asn":
		return fmt.Sprint(e.ASN)
	case "status":
		return fmt.Sprint(e.Status)
	case "request_bytes":
		return fmt.Sprint(e.RequestBytes)
	case "response_bytes":
		return fmt.Sprint(e.ResponseBytes)
	case "duration_ms":
		return fmt.Sprint(e.DurationMS)
	case "on_behalf_of":
		return strings.Join(e.OnBehalfOf, ",")
	}
	return "?"
}

// put sets the value at a dotted path; 0 is the first element of an array.
func put(m map[string]any, path string, v any) {
	step, rest, more := strings.Cut(path, ".")
	if !more {
		m[step] = v
		return
	}
	if after, ok := strings.CutPrefix(rest, "0."); ok {
		sub := map[string]any{}
		put(sub, after, v)
		m[step] = []any{sub}
		return
	}
	sub, ok := m[step].(map[string]any)
	if !ok {
		sub = map[string]any{}
		m[step] = sub
	}
	put(sub, rest, v)
}

func one(t *testing.T, msg any) *event.Event {
	t.Helper()
	raw, err := json.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	var f Formats
	var e event.Event
	if err := f.Decode(Message{Value: raw}, 1_800_000_000_000_000, func() *event.Event { return &e }); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return &e
}

// The page and the code name the same paths in the same order, each path works alone, and the earlier one wins.
func TestOCSFMappingIsAsDocumented(t *testing.T) {
	all := append(ocsfTexts(), ocsfNumbers()...)
	same(t, "ocsf.md", all)
	required := map[string][]string{"id": {"metadata.uid", "api.request.uid"}, "agent_id": nil, "action": nil, "time": nil}
	for _, m := range all {
		required[m.field] = m.paths
	}
	for i, m := range all {
		for k := range m.paths {
			for _, paths := range [][]string{m.paths[k : k+1], m.paths[k:]} {
				msg := map[string]any{"class_uid": 6003, "activity_id": 1}
				for _, field := range []string{"id", "agent_id", "action"} {
					if m.field != field {
						put(msg, required[field][0], "given")
					}
				}
				put(msg, "time", 1)
				for n := len(paths) - 1; n >= 0; n-- {
					if i < len(ocsfTexts()) {
						put(msg, paths[n], fmt.Sprint("value ", n))
					} else {
						put(msg, paths[n], 100+n)
					}
				}
				want := "value 0"
				if i >= len(ocsfTexts()) {
					want = "100"
				}
				if got := fieldOfEvent(one(t, msg), m.field); got != want {
					t.Errorf("%s from %v is %q, want %q", m.field, paths, got, want)
				}
			}
		}
	}
}

func TestOTLPMappingIsAsDocumented(t *testing.T) {
	all := append(otlpTexts(), source{"session_id", otlpSession()}, source{"on_behalf_of", otlpBehalf()}, source{"agent_id", otlpAgent()},
		source{"agent_version", otlpVersion()}, source{"status", otlpStatus()}, source{"request_bytes", otlpRequestBytes()}, source{"response_bytes", otlpResponseBytes()})
	same(t, "otlp.md", all)
	for _, m := range all {
		for k := range m.paths {
			for _, paths := range [][]string{m.paths[k : k+1], m.paths[k:]} {
				attributes := []any{}
				add := func(key, value string) {
					attributes = append(attributes, map[string]any{"key": key, "value": map[string]any{"stringValue": value}})
				}
				add("gen_ai.operation.name", "create_agent")
				if m.field != "agent_id" {
					add("gen_ai.agent.id", "given")
				}
				for n := len(paths) - 1; n >= 0; n-- {
					add(paths[n], fmt.Sprint(100+n))
				}
				span := map[string]any{"traceId": strings.Repeat("ab", 16), "spanId": strings.Repeat("cd", 8), "startTimeUnixNano": "1000000", "attributes": attributes}
				msg := map[string]any{"resourceSpans": []any{map[string]any{"scopeSpans": []any{map[string]any{"spans": []any{span}}}}}}
				if got := fieldOfEvent(one(t, msg), m.field); got != "100" {
					t.Errorf("%s from %v is %q", m.field, paths, got)
				}
			}
		}
	}
	for operation, want := range map[string]string{"execute_tool": "tool.call", "chat": "model.chat", "retrieval": "data.search", "other": "gen_ai.other"} {
		if got := otlpAction(operation); got != want {
			t.Errorf("%s is %s, want %s", operation, got, want)
		}
	}
}

// Every code has a row with a remedy, and no row is for a code that is not.
func TestRejectionsAreDocumented(t *testing.T) {
	code, err := os.ReadFile("../event/reject.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/formats/rejections.md")
	if err != nil {
		t.Fatal(err)
	}
	var have, told []string
	for _, m := range regexp.MustCompile(`\tCode\w+ += "(\w+)"`).FindAllStringSubmatch(string(code), -1) {
		have = append(have, m[1])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		told = append(told, m[1])
	}
	slices.Sort(have)
	if len(have) < 12 || !slices.Equal(have, told) {
		t.Errorf("codes %v, documented %v", have, told)
	}
}
