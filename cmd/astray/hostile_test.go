package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/astray-dev/astray/cmd/internal/scene"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// What attackers write is text on a terminal, whichever command prints it: nothing moves the cursor, turns the writing
// or begins a line of its own. In JSON and OCSF it comes back whole, one object a line.
func TestHostileTextsOnTheCommandLine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	t.Setenv("ASTRAY_CLICKHOUSE_DSN", server.DSN())
	t.Setenv("ASTRAY_WHO", "sam")
	now := time.Now().UTC()
	if _, err := scene.Fill(ctx, server.DSN(), scene.Options{Hostile: true, End: now}); err != nil {
		t.Fatal(err)
	}
	store, err := clickhouse.Open(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var letters []pipeline.DeadLetter
	for i, p := range scene.Payloads {
		letters = append(letters, pipeline.DeadLetter{Position: event.Position{Topic: "agent.events", Offset: int64(i)}, Code: "bad_json", Field: p.Text, Reason: p.Text, Key: []byte(p.Text), Raw: []byte(p.Text),
			Size: len(p.Text), Time: now.UnixMicro()})
	}
	if err := store.WriteDeadLetters(ctx, letters); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := call(args...)
		if code != 0 {
			t.Errorf("astray %.200q: %d %.300s", args, code, errs)
		}
		for _, r := range out + errs {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("astray %.200q: prints %q in %.300q", args, r, out+errs)
				break
			}
		}
		return out
	}
	lines := func(out string) []string { return strings.Split(strings.TrimSuffix(out, "\n"), "\n") }

	n := len(scene.Payloads)
	if got := lines(run("alerts", "list")); len(got) != n+1 {
		t.Errorf("%d alerts are listed in %d lines", n, len(got))
	}
	for i, p := range scene.Payloads {
		id := p.Text[:min(len(p.Text), 200)]
		run("alerts", "comment", scene.HostileID(i), p.Text[:min(len(p.Text), 4000)])
		run("alerts", "show", scene.HostileID(i))
		run("suppress", "add", "--entity", id, "--why", p.Text[:min(len(p.Text), 1000)])
		run("dead-letters", "show", fmt.Sprintf("agent.events/0/%d", i))
		for _, format := range [][]string{{"--format", "json"}, {"--alerts-format", "ocsf"}} {
			got := lines(run(append([]string{"alerts", "list", "--suppressed", "--entity", id}, format...)...))
			if len(got) != 1 {
				t.Errorf("%s: %d lines of %v", p.Name, len(got), format)
			}
			var whole any
			if err := json.Unmarshal([]byte(got[0]), &whole); err != nil {
				t.Errorf("%s: %v: %v", p.Name, format, err)
			}
			if len(p.Text) <= 4000 && !holds(whole, p.Text) { // a finding is cut to a length
				t.Errorf("%s does not come back in %v: %.300s", p.Name, format, got[0])
			}
		}
	}
	for _, list := range []string{"suppress", "dead-letters"} {
		if got := lines(run(list, "list")); len(got) != n+1 {
			t.Errorf("%d %s are listed in %d lines", n, list, len(got))
		}
	}
}

// holds says whether a value is somewhere in what was decoded from JSON.
func holds(x any, text string) bool {
	switch x := x.(type) {
	case string:
		return x == text
	case []any:
		for _, v := range x {
			if holds(v, text) {
				return true
			}
		}
	case map[string]any:
		for _, v := range x {
			if holds(v, text) {
				return true
			}
		}
	}
	return false
}
