package reader

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestWindowFitsThePanel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Span{noon, noon.Add(time.Duration(rapid.Int64Range(0, int64(300*24*time.Hour)).Draw(t, "length")))}
		n := rapid.IntRange(400, 5000).Draw(t, "points")
		w := WindowFor(s, n)
		if int64(s.Length()/time.Second)/w >= int64(n) {
			t.Fatalf("%v in windows of %d s are more than %d", s.Length(), w, n)
		}
		for _, shorter := range Windows {
			if shorter < w && int64(s.Length()/time.Second)/shorter < int64(n) {
				t.Fatalf("windows of %d s would do, %d s were chosen", shorter, w)
			}
		}
	})
}

// Alerts that share an agent, or that one detector raises in one cohort within minutes, are one campaign; others are not,
// and neither is what concerns fewer than three agents.
func TestCampaigns(t *testing.T) {
	row := func(id, detector, cohort, severity string, after time.Duration, agents ...string) Row {
		return Row{ID: id, Detector: detector, Cohort: cohort, Severity: severity, FirstSeen: noon.Add(after), LastSeen: noon.Add(after + time.Minute), EntityKind: "agent", EntityID: agents[0], AgentIDs: agents}
	}
	got := campaigns([]Row{
		row("a", "worm", "x", "high", 0, "1", "2"), row("b", "burst", "y", "critical", 5*time.Hour, "2", "3"),
		row("c", "scraping", "z", "low", time.Hour, "4"), row("d", "scraping", "z", "low", time.Hour+10*time.Minute, "5"), row("e", "scraping", "z", "medium", time.Hour+39*time.Minute, "6"),
		row("f", "scraping", "z", "critical", 9*time.Hour, "7"), row("g", "scraping", "w", "critical", time.Hour, "8"), row("h", "burst", "", "high", 0, "9"),
	})
	want := "[{worm + burst, 3 agents [a b] 3 critical} {scraping, 3 agents of cohort z [c d e] 3 medium}]"
	var short []any
	for _, c := range got {
		short = append(short, struct {
			Name     string
			Alerts   []string
			Agents   int
			Severity string
		}{c.Name, c.Alerts, c.Agents, c.Severity})
	}
	if fmt.Sprint(short) != want {
		t.Errorf("%v, want %s", short, want)
	}
}

func TestFiltersNameColumnsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, op, value := rapid.String().Draw(t, "key"), rapid.String().Draw(t, "op"), rapid.String().Draw(t, "value")
		p := parameters{}
		out, err := where([]Condition{{key, op, value}}, eventColumns, p)
		if err == nil && (eventColumns[key] == "" || len(out) != 1 || p["f0"] != value) {
			t.Fatalf("%q %q %q became %q", key, op, value, out)
		}
		if err != nil && KindOf(err) != Invalid {
			t.Fatal(err)
		}
	})
	for column := range eventColumns {
		for _, op := range []string{"=", "!=", "=~", "!~"} {
			p := parameters{}
			const value = "'; DROP TABLE events; --"
			out, err := where([]Condition{{column, op, value}}, eventColumns, p)
			if err != nil || len(out) != 1 || p["f0"] != value {
				t.Errorf("%s %s: %q %v", column, op, out, err)
			}
		}
	}
}

func TestConfigNamesTheField(t *testing.T) {
	for want, c := range map[string]Config{"address": {}, "address ": {Address: "x"}, "protocol": {Address: "x:1", Protocol: "smoke"}, "timeout": {Address: "x:1", Timeout: time.Hour}} {
		if err := c.Check(); err == nil {
			t.Errorf("%+v was taken, want an error about %s", c, want)
		}
	}
	if _, err := New(Config{Address: "x:1", TLS: true, TLSCA: "nonsense"}); err == nil {
		t.Error("a CA that is none was taken")
	}
	if KindOf(errors.New("x")) != Broken {
		t.Error("an error of another type has a kind")
	}
}
