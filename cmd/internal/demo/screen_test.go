package demo

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/simulate"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func sample() *State {
	s := &State{
		Phase: Live, Clock: at("2026-03-04T10:20:00Z"), Pace: "live, 4 min of its time each second",
		Produced: 612_400, Stored: 612_345, Rate: 1204.2, Lag: 55, Agents: 300, Rates: []float64{1, 1, 2, 2, 4, 4, 8, 8, 7, 7},
		Query: []string{"clickhouse client --host 127.0.0.1 --port 45123", "http://127.0.0.1:45124"},
		Alerts: []*Told{
			{ID: "a", Time: at("2026-03-04T09:01:00Z"), Severity: "medium", Detector: "burst", Entity: "opal-elk-12", Reason: "760 events in a day; this agent's own past says 64 (95 %: 2–227)."},
			{ID: "b", Time: at("2026-03-04T09:40:12Z"), Severity: "critical", Detector: "lateral-movement", Entity: "iron-crab-7", Agents: []string{"iron-crab-7"}, Reason: "9 services that this agent never used in 12 minutes, " + strings.Repeat("one after the other, ", 12) + "and two keys."},
			{ID: "c", Time: at("2026-03-04T10:11:40Z"), Severity: "high", Detector: "scraping", Entity: "quill-fox-17", Reason: "2,310 distinct profiles read in 20 minutes; this agent's own past says 14 (95 %: 3–41)."},
		},
	}
	truth := &simulate.Truth{Attacks: []simulate.Attack{
		{ID: "1", Kind: "probing", Accept: []string{"probing"}, Note: "admin endpoints", Agents: []string{"opal-elk-9"}, Start: at("2026-03-04T08:00:00Z").Unix(), End: at("2026-03-04T08:30:00Z").Unix()},
		{ID: "2", Kind: "credential-misuse", Accept: []string{"credential-misuse"}, Note: "one source drives many keys", Agents: []string{"x", "iron-crab-7"}, Start: at("2026-03-04T09:30:00Z").Unix(), End: at("2026-03-04T10:30:00Z").Unix()},
		{ID: "3", Kind: "scraping", Accept: []string{"scraping", "drift"}, Note: "profiles, loud", Agents: []string{"quill-fox-17"}, Start: at("2026-03-04T10:10:00Z").Unix(), End: at("2026-03-04T10:11:00Z").Unix()},
		{ID: "4", Kind: "worm", Accept: []string{"worm"}, Note: "later", Agents: []string{"quill-fox-17"}, Start: at("2026-03-04T12:10:00Z").Unix(), End: at("2026-03-04T12:11:00Z").Unix()},
	}}
	s.Attacks, s.Found = judge(truth, s.Alerts, s.Clock)
	return s
}

func TestTheScreenIsDrawn(t *testing.T) {
	golden(t, "live-80x24.txt", draw(sample(), 80, 24, 0))
	golden(t, "live-140x30.txt", draw(sample(), 140, 30, 0))
	s := sample()
	s.Phase, s.Progress, s.Pace, s.Alerts, s.Dead, s.Trouble = History, 0.4, "the past, at full speed", nil, 3, "connection refused"
	golden(t, "history-80x16.txt", draw(s, 80, 16, 0))
	golden(t, "waiting-60x8.txt", draw(&State{What: "starting the database", Progress: -1}, 60, 8, 7))
	golden(t, "starting-60x10.txt", draw(&State{What: "download @x/lib", Progress: 0.25}, 60, 10, 0))
}

func TestTheScreenFitsEverySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(20, 200).Draw(t, "width"), rapid.IntRange(8, 60).Draw(t, "height")
		s := sample()
		s.Phase = Phase(rapid.IntRange(0, 3).Draw(t, "phase"))
		s.Progress = rapid.Float64Range(-1, 1.5).Draw(t, "progress")
		s.What, s.File = Plain(rapid.StringN(0, 40, 60).Draw(t, "what")), rapid.Bool().Draw(t, "file")
		for _, a := range s.Alerts {
			a.Reason, a.Entity = Plain(rapid.String().Draw(t, "reason")), Plain(rapid.String().Draw(t, "entity"))
		}
		lines := strings.Split(draw(s, w, h, rapid.IntRange(0, 1000).Draw(t, "beat")), "\n")
		if len(lines) > h {
			t.Fatalf("%d lines on %d", len(lines), h)
		}
		for _, l := range lines {
			if lipgloss.Width(l) > w {
				t.Fatalf("%q is %d wide, on %d", l, lipgloss.Width(l), w)
			}
		}
	})
}

func TestLinesTellEachThingOnce(t *testing.T) {
	var out bytes.Buffer
	now := at("2026-03-04T10:20:00Z")
	l := &Lines{Out: &out, Every: 5 * time.Second, Now: func() time.Time { return now }}
	show := func(s *State) {
		t.Helper()
		l.Show(s)
		now = now.Add(time.Second)
	}
	show(&State{What: "starting the database", Progress: -1})
	for i := range 30 {
		show(&State{What: "download", Progress: float64(i) / 29})
	}
	s := sample()
	s.Phase = History
	alerts := s.Alerts
	for i := range 12 {
		s.Progress, s.Alerts = float64(i)/11, alerts[:i/4]
		show(s)
	}
	s.Phase, s.Alerts, s.Trouble = Live, alerts, "it is away"
	for range 12 {
		show(s)
	}
	s.Trouble, s.Phase = "", Draining
	show(s)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "lines.txt", out.String())
}

func TestLinesReportWhatCannotBePrinted(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	l := &Lines{Out: w, Now: time.Now}
	l.Show(sample())
	if l.Close() == nil {
		t.Error("nothing was printed and nobody was told")
	}
}

func TestAlertsAreJudgedByTheTruth(t *testing.T) {
	attack := simulate.Attack{ID: "1", Kind: "k", Accept: []string{"right"}, Agents: []string{"a", "b"}, Start: 1000, End: 2000}
	truth := &simulate.Truth{Attacks: []simulate.Attack{attack, {ID: "2", Accept: []string{"right"}, Agents: []string{"a"}, Start: 9000, End: 9100}}}
	for name, c := range map[string]struct {
		alert Told
		want  Judgement
	}{
		"entity":                  {Told{Entity: "a", Detector: "right", Time: time.Unix(1500, 0)}, Right},
		"one of the agents":       {Told{Entity: "key", Agents: []string{"z", "b"}, Detector: "right", Time: time.Unix(1000, 0)}, Right},
		"another detector":        {Told{Entity: "a", Detector: "wrong", Time: time.Unix(1500, 0)}, Elsewise},
		"another agent":           {Told{Entity: "c", Detector: "right", Time: time.Unix(1500, 0)}, False},
		"too early":               {Told{Entity: "a", Detector: "right", Time: time.Unix(999, 0)}, False},
		"in the grace":            {Told{Entity: "a", Detector: "right", Time: time.Unix(2300, 0)}, Right},
		"too late":                {Told{Entity: "a", Detector: "right", Time: time.Unix(2301, 0)}, False},
		"of what is yet to begin": {Told{Entity: "a", Detector: "right", Time: time.Unix(9050, 0)}, False},
	} {
		a := c.alert
		attacks, found := judge(truth, []*Told{&a}, time.Unix(5000, 0))
		if a.Judgement != c.want || len(attacks) != 1 || found["1"] != (c.want == Right) {
			t.Errorf("%s: judged %d, found %v of %d", name, a.Judgement, found, len(attacks))
		}
	}
	a := Told{Entity: "a", Detector: "right"}
	if attacks, found := judge(nil, []*Told{&a}, time.Now()); attacks != nil || len(found) > 0 || a.Judgement != Unjudged {
		t.Error("it judges without a truth")
	}
}

func TestTextOfAgentsCannotMoveTheCursor(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                "plain",
		"a\x1b[2Jb\x1b]0;title\x07c":           "abc",
		"two\nlines\tand\ra return":            "two lines and a return",
		"\u202eevil\u202c \u2066x\u2069":       "·evil· ·x·",
		"zero\u200bwidth\ufeff":                "zero·width·",
		"bell\x07 nul\x00 c1\u009b31m del\x7f": "bell· nul· ",
		"bad \xff utf8":                        "bad · utf8",
		"Grüße, 世界 🦞":                          "Grüße, 世界 🦞",
	} {
		got := Plain(in)
		if want == "bell· nul· " {
			if strings.ContainsAny(got, "\x00\x07\x7f\u009b") {
				t.Errorf("%q became %q", in, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		for _, r := range Plain(in) {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x61c {
				t.Fatalf("%q became %q", in, Plain(in))
			}
		}
	})
}

func TestSentence(t *testing.T) {
	for in, want := range map[string]string{
		"One thing; 1.5 of it. Also another.": "One thing; 1.5 of it.", "only one": "only one", "": "", "v. low": "v. low",
	} {
		if got := Sentence(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
