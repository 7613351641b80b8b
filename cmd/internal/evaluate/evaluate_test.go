package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/ingest/simulate"
)

func TestScorersOutputIsRead(t *testing.T) {
	s, err := parseScored("items 50 positive 7  AUC 0.9396\nFPR<=0.01  TPR 0.851  macro-TPR 0.362  {'neptune': 0.99, 'guess passwd': 0.15}\nFPR<=0.001  TPR 0.5  macro-TPR 0.255  {}\n")
	if err != nil || s.items != 50 || s.positive != 7 || s.auc != 0.9396 || s.at["0.01"].macro != 0.362 || s.at["0.001"].tpr != 0.5 || s.at["0.01"].label["guess passwd"] != 0.15 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := parseScored("Traceback"); err == nil {
		t.Error("a failure was read as a score")
	}
}

func TestScoreLinesAreRead(t *testing.T) {
	var got []float64
	use := func(_ int, s float64) error { got = append(got, s); return nil }
	if err := scores(strings.NewReader(`{"id":"a\"score\":9,","score":0.5,"detector":"x"}`+"\n"+`{"id":"b","score":1e-07,"detector":""}`+"\n"), use); err != nil || len(got) != 2 || got[0] != 0.5 || got[1] != 1e-7 {
		t.Errorf("%v, %v", got, err)
	}
	if err := scores(strings.NewReader("{}\n"), use); err == nil {
		t.Error("a line without a score was read")
	}
}

func at(s int64) time.Time { return time.Unix(s, 0) }

func TestAlertsAreHeldAgainstTheTruth(t *testing.T) {
	truth := simulate.Truth{Agents: 10, Days: 2,
		Attacks: []simulate.Attack{
			{Kind: "burst", Accept: []string{"burst"}, Agents: []string{"a"}, Start: 100, End: 200, Note: "loud"},
			{Kind: "worm", Accept: []string{"worm", "coordination"}, Agents: []string{"b", "c"}, Start: 1000, End: 2000},
		},
		Lookalikes: []simulate.Attack{{Kind: "outage", Agents: []string{"d"}, Start: 100, End: 200}},
	}
	w := match(truth, []alert.Alert{
		{Time: at(160), Detector: "burst", EntityID: "a"}, // found, after 60 s
		{Time: at(170), Detector: "burst", EntityID: "a"}, // again
		{Time: at(150), Detector: "drift", EntityID: "a"}, // the right agent
		{Time: at(501), Detector: "burst", EntityID: "a"}, // too late: false
		{Time: at(1500), Detector: "coordination", EntityID: "template-1", AgentIDs: []string{"x", "c"}},
		{Time: at(300), Detector: "probing", EntityID: "d"}, // false, in an outage's wake
	}, map[string][]int64{"a": {100e6, 150e6, 160e6, 190e6, 900e6}})
	first, second := w.attacks[0], w.attacks[1]
	if !first.found || first.after != 60 || first.by != "burst" || first.before != 0.5 || !second.found || second.by != "coordination" {
		t.Errorf("%+v", w.attacks)
	}
	if w.recall() != 1 || w.repeats != 1 || w.wrong != 1 || counts(w.false) != "burst 1, probing 1" || counts(w.during) != "nothing special 1, outage 1" || w.agentDays != 20 {
		t.Errorf("%+v", w)
	}
}

func TestStages(t *testing.T) {
	log := []entry{{0, "a", "x"}, {20e6, "a", "x"}, {45e6, "b", "-"}, {60e6, "b", "x"}, {61e6, "c", "x"}}
	stages, touched, wrong := touchedStages(log, []alert.Alert{
		{FirstSeen: at(10), LastSeen: at(30), EntityID: "a"},
		{FirstSeen: at(59), LastSeen: at(70), EntityID: "key", AgentIDs: []string{"z"}},
		{FirstSeen: at(30), LastSeen: at(40), EntityID: "b"},
	}, "x")
	if stages != 2 || touched != 1 || wrong != 2 {
		t.Errorf("%d stages, %d touched, %d false", stages, touched, wrong)
	}
}

func TestNamedAndRecallAt(t *testing.T) {
	log := []entry{{0, "a", "m"}, {1, "b", "m"}, {2, "c", "-"}}
	p, r := named(log, []alert.Alert{{Detector: "coordination", AgentIDs: []string{"a", "c"}}, {Detector: "burst", AgentIDs: []string{"b"}}}, "m")
	if p != 0.5 || r != 0.5 {
		t.Errorf("precision %v, recall %v", p, r)
	}
	path := filepath.Join(t.TempDir(), "scores")
	if err := os.WriteFile(path, []byte(`{"score":5,}`+"\n"+`{"score":4,}`+"\n"+`{"score":4,}`+"\n"+`{"score":1,}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// At the tie of two at 4, one of them wrong, precision is 2/3.
	if got, err := recallAt(path, []string{"m", "m", "-", "m"}, "m", 0.9); err != nil || math.Abs(got-1.0/3) > 1e-9 {
		t.Errorf("recall %v, %v", got, err)
	}
	if got, err := recallAt(path, []string{"m", "m", "-", "m"}, "m", 0.6); err != nil || got != 1 {
		t.Errorf("recall %v, %v", got, err)
	}
}

func TestShapes(t *testing.T) {
	var s shapes
	if err := s.Set("300x7,1000x0.5"); err != nil || len(s) != 2 || s[1].agents != 1000 || s.String() != "300x7,1000x0.5" {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "300", "0x7", "5x-1", "axb"} {
		if err := s.Set(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// Three agents over three days, of which the first is left out; the third floods on the last.
func TestCalibrationCountsAgentDays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.ndjson")
	var b strings.Builder
	n := 0
	for at := 0; at < 3*86400; at += 300 {
		for agent := range 3 {
			times := 1
			if agent == 2 && at > 2*86400+43200 {
				times = 200
			}
			for range times {
				n++
				fmt.Fprintf(&b, `{"id":"e%d","time":%d,"kind":"api_call","agent_id":"a%d","action":"post.get","resource":"post/%d","service":"posts"}`+"\n", n, 1767571200000+1000*at, agent, n%50)
			}
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	active, total, reached, err := calibration(path)
	if err != nil || active != 6 || total != n {
		t.Fatalf("%d agent-days, %d of %d events, %v", active, total, n, err)
	}
	if got := reached["burst"]; got[0] != 1 || got[1] > got[0] || got[3] > got[2] {
		t.Errorf("of six agent-days, burst's p-values reached the levels in %v", got)
	}
	if _, ok := reached["awakening"]; ok {
		t.Error("awakening never alerts and has no p-value")
	}
}

func TestReportKeepsWhatPeopleWrote(t *testing.T) {
	r := report{options: options{seed: 1, quiet: shapes{{10, 2}}, worlds: shapes{{10, 2}}}, missing: []string{"x"},
		worldResults: []worldResult{{attacks: []attackResult{{kind: "burst", note: "loud", length: 60, found: true, by: "burst", after: 5, before: 0.1}}, agentDays: 20}},
		quietResults: []quietResult{{agentDays: 20, active: 20, alerts: []int{0, 1, 2}, by: make([]map[string]int, 3), reached: map[string][]int{"burst": {2, 1, 0, 0}}}},
		engine:       map[string]string{"events/s": "1.5e+06"}}
	text := r.markdown()
	for _, want := range []string{"| burst | loud | 1 of 1 | 5 s | 10 % | burst 1 |", "| burst | 1.00 | 5.00 | 0.00 | 0.00 |", "| 1 | 50.00 (1 in 20) | 1.27 to 278.58 | 50.00 | no | none |", "| 1001 | 10x2 | 20 | 0 (0.0) | 1 (0.0) | 2 (0.1) |", "| worlds without attacks | alerts per 1,000 agent-days at a budget of 3 | 100.00 | 1.5 to 6 | no | – |", "1.50 M | ≥ 1 M | yes", "Not there, so not measured: x."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	old := "# old\n" + byHand + "\nBecause.\n"
	if got := keep(old); got != byHand+"\nBecause.\n" {
		t.Errorf("kept %q", got)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "|") && !strings.HasSuffix(line, "|") {
			t.Errorf("a broken row: %s", line)
		}
	}
}

func TestParallelStopsAtTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	ran := 0
	jobs := []func(context.Context) error{func(context.Context) error { return broken }}
	for range 50 {
		jobs = append(jobs, func(ctx context.Context) error { ran++; return nil })
	}
	if err := parallel(t.Context(), 1, jobs); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if ran > 2 {
		t.Errorf("%d jobs ran after the error", ran)
	}
}

// Garwood's interval, from his table.
func TestPoissonBand(t *testing.T) {
	for n, want := range map[int][2]float64{0: {0, 3.689}, 1: {0.0253, 5.572}, 10: {4.795, 18.390}} {
		lo, hi := poissonBand(n)
		if math.Abs(lo-want[0]) > 1e-3 || math.Abs(hi-want[1]) > 1e-3 {
			t.Errorf("%d: %.4f to %.4f, want %v", n, lo, hi, want)
		}
	}
	if held(0.4, 1) || !held(0.5, 1) || !held(2, 1) || held(2.1, 1) {
		t.Error("a factor of two is a half to twice")
	}
}
