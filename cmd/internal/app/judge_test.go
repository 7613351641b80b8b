package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// book is decisions in memory.
type book struct {
	rules     []triage.Suppression
	benign    []triage.Judgement
	err       error
	askedFrom time.Time
}

func (b *book) Suppressions(context.Context) ([]triage.Suppression, error) { return b.rules, b.err }
func (b *book) Benign(_ context.Context, since time.Time) ([]triage.Judgement, error) {
	b.askedFrom = since
	var out []triage.Judgement
	for _, x := range b.benign {
		if !x.Time.Before(since) {
			out = append(out, x)
		}
	}
	return out, b.err
}

// pupil is an engine that writes down what it is told.
type pupil struct {
	told   []string
	alerts []*alert.Alert
}

func (p *pupil) Observe(ev *event.Event) { p.told = append(p.told, "event "+ev.ID) }
func (p *pupil) Alerts(yield func(*alert.Alert)) {
	for _, a := range p.alerts {
		yield(a)
	}
}
func (p *pupil) Checkpoint(yield func(string, []byte) error) error {
	return yield("agent/x", []byte{1})
}
func (p *pupil) Restore(key string, _ []byte) error {
	p.told = append(p.told, "restore "+key)
	return nil
}
func (p *pupil) Baselines(func(*baseline.Summary)) {}
func (p *pupil) Agents() int                       { return 1 }
func (p *pupil) StateBytes() int64                 { return 1 }
func (p *pupil) Verdict(alertID, agentID string, from, to time.Time) {
	p.told = append(p.told, fmt.Sprint("benign ", alertID, " ", agentID, " ", to.Sub(from)))
}

var _ pipeline.Engine = (*pupil)(nil)

func newTestJudge(b *book, fixed ...triage.Suppression) *judge {
	return newJudge(b, fixed, func() time.Time { return noon }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func judgement(id, agent string, at time.Time) triage.Judgement {
	return triage.Judgement{ID: id, AlertID: "alert-" + id, AgentID: agent, Verdict: triage.Benign, Time: at, From: at.Add(-time.Hour), To: at}
}

// A verdict reaches every engine once, before the next event, over a restart too.
func TestVerdictsReachTheEngineOnce(t *testing.T) {
	b := &book{benign: []triage.Judgement{judgement("1", "x", noon.Add(-time.Hour)), judgement("1", "y", noon.Add(-time.Hour))}}
	j := newTestJudge(b)
	poll := func() {
		t.Helper()
		if err := j.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	p := &pupil{}
	e := j.wrap(p)
	e.Observe(&event.Event{ID: "1"})
	poll()
	e.Observe(&event.Event{ID: "2"})
	// A row of another writer's, older than the newest that was read.
	b.benign = append(b.benign, judgement("2", "x", noon.Add(-time.Hour-time.Minute)), judgement("3", "x", noon))
	poll()
	e.Observe(&event.Event{ID: "3"})
	want := "benign alert-1 x 1h0m0s|benign alert-1 y 1h0m0s|event 1|event 2|benign alert-2 x 1h0m0s|benign alert-3 x 1h0m0s|event 3"
	if got := strings.Join(p.told, "|"); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
	states := map[string][]byte{}
	save := func() (n int) {
		if err := e.Checkpoint(func(key string, state []byte) error { states[key] = append([]byte(nil), state...); n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := save(); n != 2 {
		t.Errorf("%d states, want the engine's and the applied verdicts", n)
	}
	if n := save(); n != 1 {
		t.Errorf("%d states when no verdict is new", n)
	}
	// Another process takes over: it reads everything again and applies what is new only.
	b.benign = append(b.benign, judgement("4", "x", noon))
	j = newTestJudge(b)
	poll()
	p2 := &pupil{}
	e = j.wrap(p2)
	for key, state := range states {
		if err := e.Restore(key, state); err != nil {
			t.Fatal(err)
		}
	}
	e.Observe(&event.Event{ID: "4"})
	if got, want := strings.Join(p2.told, "|"), "restore agent/x|benign alert-4 x 1h0m0s|event 4"; got != want {
		t.Errorf("after the restart: %s, want %s", got, want)
	}
	if err := e.Restore(appliedKey, []byte(`{"version":2}`)); err == nil {
		t.Error("a state of another version was taken")
	}
}

func TestSuppressedAlertsAreMarked(t *testing.T) {
	b := &book{rules: []triage.Suppression{{ID: "late", EntityID: "y", Until: noon}}}
	j := newTestJudge(b, triage.Suppression{ID: "file", Detector: "burst"})
	if err := j.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := j.wrap(&pupil{alerts: []*alert.Alert{{ID: "1", Detector: "burst", Severity: alert.Critical}, {ID: "2", Detector: "worm", EntityID: "y", SuppressedBy: "of old"}}})
	got := func() string {
		var out []string
		e.Alerts(func(a *alert.Alert) { out = append(out, a.ID+"="+a.SuppressedBy) })
		return strings.Join(out, " ")
	}
	if got() != "1=file 2=" {
		t.Error(got())
	}
	b.rules[0].Until = time.Time{}
	if err := j.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got() != "1=file 2=late" {
		t.Error(got())
	}
	// While they cannot be read, those that are known go on counting.
	b.err = errors.New("database is down")
	if err := j.poll(t.Context()); err == nil || got() != "1=file 2=late" {
		t.Error(err, got())
	}
	if n := testutil.ToFloat64(j.rulesGauge); n != 2 {
		t.Errorf("%v rules", n)
	}
}

// Rejected messages beyond the limit of an hour become one letter a reason; the same batch again is treated the same.
func TestAFloodOfGarbageIsFolded(t *testing.T) {
	now := noon
	d := newDam(3, 1<<20, func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	letters := func(from, n int) []pipeline.DeadLetter {
		var out []pipeline.DeadLetter
		for i := range n {
			code := "bad_json"
			if i%2 == 1 {
				code = "empty"
			}
			out = append(out, pipeline.DeadLetter{Position: event.Position{Topic: "t", Partition: 1, Offset: int64(from + i)}, Code: code, Raw: []byte("x"), Size: 10})
		}
		return out
	}
	first := letters(100, 8)
	for range 2 {
		out := d.letThrough(first)
		if len(out) != 5 {
			t.Fatalf("%d letters, want 3 kept and 2 that stand for the rest", len(out))
		}
		f := out[3]
		if f.Code != FloodCode || f.Field != "empty" || f.Size != 30 || f.Raw != nil || f.Position.Offset != 103 ||
			!strings.Contains(f.Reason, "3 messages rejected as empty, offsets 103 to 107") {
			t.Errorf("%+v", f)
		}
		if n := testutil.ToFloat64(d.foldedTotal); n != 5 {
			t.Errorf("%v folded", n)
		}
	}
	if out := d.letThrough(letters(200, 2)); len(out) != 2 || out[0].Code != FloodCode {
		t.Errorf("%+v", out)
	}
	now = now.Add(time.Hour)
	if out := d.letThrough(letters(300, 2)); len(out) != 2 || out[0].Code != "bad_json" {
		t.Errorf("in the next hour: %+v", out)
	}
	d.rows, d.bytes = 1000, 5 // two of the bytes are used
	if out := d.letThrough(letters(400, 6)); len(out) != 5 || out[2].Code == FloodCode || out[3].Code != FloodCode || out[4].Code != FloodCode {
		t.Errorf("the limit of bytes: %+v", out)
	}
	if out := d.letThrough(nil); len(out) != 0 {
		t.Error("letters out of nothing")
	}
}

// Every code that a dead letter can have is documented with a remedy.
func TestEveryCodeHasARemedy(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	source := read("../../../ingest/event/reject.go")
	codes := []string{FloodCode, "rejected"}
	for _, m := range regexp.MustCompile(`(?m)^\s+Code\w+\s+= "([a-z0-9_]+)"`).FindAllStringSubmatch(source, -1) {
		codes = append(codes, m[1])
	}
	if len(codes) < 12 {
		t.Fatalf("found only %v", codes)
	}
	pages := read("../../../docs/formats/rejections.md") + read("../../../docs/operations/dead-letters.md")
	for _, c := range codes {
		if !regexp.MustCompile("(?m)^\\| `" + c + "` \\| [^|]+ \\| [^|]+ \\|$").MatchString(pages) {
			t.Errorf("no page has a remedy for %s", c)
		}
	}
}

// A person says of an alert that what the agent did was benign: the engine knows the agent for it and does not tell it again,
// on another day and at another hour. Without the verdict it does.
func TestABenignVerdictIsLearned(t *testing.T) {
	start := noon.Add(-6 * 24 * time.Hour).Truncate(24 * time.Hour)
	days := func(vouch bool) (alerts []time.Time) {
		b := &book{}
		j := newTestJudge(b)
		e := j.wrap(detect.New(detect.Config{}, catalog.All()...))
		seen := map[string]bool{}
		n := 0
		observe := func(agent int, at time.Time, resource string) {
			n++
			e.Observe(&event.Event{ID: fmt.Sprint("e", n), AgentID: fmt.Sprint("agent-", agent), Cohort: "readers", Kind: event.APICall, Access: event.Read,
				Action: "post.get", Service: "feed", Resource: resource, Time: at.UnixMicro()})
			e.Alerts(func(a *alert.Alert) {
				if seen[a.ID] || a.EntityID != "agent-3" {
					return
				}
				seen[a.ID] = true
				alerts = append(alerts, a.Time)
				if !vouch {
					return
				}
				b.benign = append(b.benign, triage.Judgement{ID: "1", AlertID: a.ID, AgentID: a.EntityID, Verdict: triage.Benign, Time: noon, From: a.FirstSeen, To: a.LastSeen.Add(time.Hour)})
			})
		}
		judged := false
		for minute := range 6 * 24 * 60 {
			at := start.Add(time.Duration(minute) * time.Minute)
			for agent := range 40 {
				if (minute*7+agent*13+minute/1440*5)%17 < 1+(agent+minute/60)%2 {
					observe(agent, at.Add(time.Duration(agent)*time.Second), fmt.Sprint("post/", (minute*31+agent)%97, "x"))
				}
			}
			if from := 4*1440 + 600; minute >= from && minute < from+10 || minute >= from+1440+310 && minute < from+1440+320 {
				for i := range 5 {
					observe(3, at.Add(time.Duration(41+i)*time.Second), fmt.Sprint("post/", (minute+i)%97, "x"))
				}
			}
			if len(b.benign) > 0 && !judged && minute%60 == 59 {
				judged = true
				if err := j.poll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		return alerts
	}
	if got := days(false); len(got) != 2 {
		t.Fatalf("without a verdict there are alerts at %v", got)
	}
	if got := days(true); len(got) != 1 {
		t.Errorf("with a verdict on the first there are alerts at %v", got)
	}
}
