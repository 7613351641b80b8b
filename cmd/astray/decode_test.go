package main

import (
	"strings"
	"testing"

	"github.com/astray-dev/astray/ingest/decode"
)

func TestExplain(t *testing.T) {
	const good = `{"id":"e","time":1,"kind":"post","agent_id":"a","action":"post.create"}`
	for _, c := range []struct {
		name, in string
		headers  []decode.Header
		whole    bool
		out      int // lines
		reports  []string
		fails    bool
	}{
		{"lines", good + "\n\n" + `{"id":"e"}` + "\n" + `{"resourceSpans":[]}`, nil, false, 1,
			[]string{"line 1: native: 1 events", "line 3: native: rejected: time: is required (missing_field)", "line 4: otlp_json: no events"}, true},
		{"one object", "{\n\"class_uid\": 6003,\n\"metadata\":{\"uid\":\"e\"},\"time\":1,\"ai_agent\":{\"uid\":\"a\"},\"api\":{\"operation\":\"x\"}}\n", nil, false, 1,
			[]string{"message: ocsf: 1 events"}, false},
		{"header", `{"kind":"post","agent_id":"a","action":"x"}`, []decode.Header{{Key: "ce_id", Value: []byte("i")}, {Key: "ce_source", Value: []byte("s")},
			{Key: "ce_type", Value: []byte("t")}, {Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_time", Value: []byte("2020-01-01T00:00:00Z")}}, true, 1,
			[]string{"message: native in a binary CloudEvent: 1 events"}, false},
		{"protobuf", "\n\x02\x12\x00", nil, false, 0, []string{"message: otlp_protobuf: no events"}, false},
		{"long", good + "\n" + strings.Repeat("x", 3<<20) + "\n" + good, nil, false, 2, []string{"line 2: rejected: a message is at most 1 MiB (too_large)"}, true},
	} {
		var out, reports strings.Builder
		err := explain(strings.NewReader(c.in), c.headers, c.whole, false, 1_800_000_000_000_000, &out, &reports)
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if n := strings.Count(out.String(), "\n"); n != c.out {
			t.Errorf("%s: %d events, want %d", c.name, n, c.out)
		}
		for _, r := range c.reports {
			if !strings.Contains(reports.String(), r+"\n") {
				t.Errorf("%s: no %q in\n%s", c.name, r, reports.String())
			}
		}
	}
}
