package simulate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

var update = flag.Bool("update", false, "write the golden files anew")

func world(t testing.TB, cfg simulate.Config) *simulate.World {
	t.Helper()
	w, err := simulate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// digest is of all events and of the truth.
func digest(t testing.TB, cfg simulate.Config) string {
	w := world(t, cfg)
	h := sha256.New()
	var ev event.Event
	var line []byte
	for w.Next(&ev) {
		line = decode.AppendEvent(line[:0], &ev)
		h.Write(line)
	}
	truth, err := json.Marshal(w.Truth())
	if err != nil {
		t.Fatal(err)
	}
	h.Write(truth)
	return fmt.Sprintf("%d events %s\n", w.Events(), hex.EncodeToString(h.Sum(nil)))
}

// Floating point differs in its last digit between processors that fuse operations and those that do not, so the
// golden digest is that of one architecture.
func TestWorldsOfOneSeedAreEqual(t *testing.T) {
	cfg := simulate.Config{Agents: 60, Days: 2, Seed: 7}
	got := digest(t, cfg)
	if again := digest(t, cfg); again != got {
		t.Errorf("a second world differs: %s, %s", got, again)
	}
	cfg.Seed = 8
	if digest(t, cfg) == got {
		t.Error("another seed gives the same world")
	}
	if runtime.GOARCH != "amd64" {
		return
	}
	const golden = "testdata/world.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got %swant %s", got, want)
	}
}

func TestEventsAreInOrderAndPassTheDecoder(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w := world(t, simulate.Config{Agents: 120, Days: 3, Seed: 3, Start: start})
	truth := w.Truth()
	if truth.Start != start.Unix() || truth.End != start.Unix()+3*86400 || truth.Agents != 120 {
		t.Errorf("the truth's span: %+v", truth)
	}
	ids := map[string]bool{}
	last := start.UnixMicro()
	var ev, back event.Event
	var dec decode.Decoder
	missing := map[string]int{}
	statuses := map[int32]int{}
	var line []byte
	for w.Next(&ev) {
		if ev.Time < last || ev.Time >= truth.End*1e6 {
			t.Fatalf("event %s at %d comes after one at %d", ev.ID, ev.Time, last)
		}
		last = ev.Time
		if ids[ev.ID] {
			t.Fatalf("id %s twice", ev.ID)
		}
		ids[ev.ID] = true
		line = decode.AppendEvent(line[:0], &ev)
		if err := dec.Decode(line, ev.Time, &back); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		back.Secrets = nil
		secret := strings.ContainsAny(ev.Content, "=:") || strings.Contains(ev.Content, " is ") // may have been redacted
		if a, b := flat(&ev), flat(&back); !secret && !reflect.DeepEqual(a, b) {
			t.Fatalf("decoding changes the event:\n%+v\n%+v", a, b)
		}
		for name, absent := range map[string]bool{"cohort": ev.Cohort == "", "source_ip": ev.SourceIP == "", "request_bytes": ev.RequestBytes == 0,
			"session_id": ev.SessionID == "", "credential_id": ev.CredentialID == "", "user_agent": ev.UserAgent == ""} {
			if absent {
				missing[name]++
			}
		}
		statuses[ev.Status]++
	}
	if len(ids) < 50_000 {
		t.Errorf("only %d events", len(ids))
	}
	for name, n := range missing {
		if n == len(ids) {
			t.Errorf("no event has %s", name)
		}
	}
	if missing["cohort"] == 0 || missing["source_ip"] == 0 || missing["request_bytes"] == 0 {
		t.Errorf("every producer tells everything: %v", missing)
	}
	for _, s := range []int32{200, 201, 403, 404, 429, 500, 503} {
		if statuses[s] == 0 {
			t.Errorf("no event of status %d", s)
		}
	}
}

// flat is the event without the difference between an empty slice and none.
func flat(e *event.Event) event.Event {
	c := *e
	if len(c.OnBehalfOf) == 0 {
		c.OnBehalfOf = nil
	}
	if len(c.Mentions) == 0 {
		c.Mentions = nil
	}
	if len(c.Labels) == 0 {
		c.Labels = nil
	}
	c.Secrets = nil
	return c
}

func TestTruthIsWellFormed(t *testing.T) {
	cfg := simulate.Config{Agents: 300, Days: 5, Seed: 11}
	w := world(t, cfg)
	planned := w.Truth()
	seen := map[string][]int64{}
	var ev event.Event
	for w.Next(&ev) {
		seen[ev.AgentID] = append(seen[ev.AgentID], ev.Time)
	}
	truth := w.Truth()
	if len(planned.Attacks) != len(truth.Attacks) {
		t.Errorf("%d attacks were planned and %d happened", len(planned.Attacks), len(truth.Attacks))
	}
	kinds, ids := map[string]int{}, map[string]bool{}
	for _, a := range append(slices.Clone(truth.Attacks), truth.Lookalikes...) {
		if ids[a.ID] {
			t.Errorf("%s twice", a.ID)
		}
		ids[a.ID] = true
		if a.Start > a.End || a.Start < truth.Start || a.End > truth.End || len(a.Agents) == 0 || a.Note == "" {
			t.Errorf("malformed: %+v", a)
		}
		for _, who := range a.Agents {
			if len(seen[who]) == 0 {
				t.Errorf("%s: there is no agent %s", a.ID, who)
			}
		}
	}
	quiet := truth.Start + (truth.End-truth.Start)*35/100
	for _, a := range truth.Attacks {
		kinds[a.Kind]++
		if a.Start < quiet {
			t.Errorf("%s starts before there is a past", a.ID)
		}
		if !slices.Contains(a.Accept, a.Kind) {
			t.Errorf("%s does not accept %s", a.ID, a.Kind)
		}
		for _, d := range a.Accept {
			if !slices.Contains(simulate.Kinds(), d) {
				t.Errorf("%s accepts %s, which is no detector", a.ID, d)
			}
		}
		inside := 0
		for _, who := range a.Agents {
			for _, at := range seen[who] {
				if at >= a.Start*1e6 && at <= a.End*1e6 {
					inside++
				}
			}
		}
		if (a.Kind == "silence") != (inside == 0) {
			t.Errorf("%s (%s): %d events in its time", a.ID, a.Kind, inside)
		}
	}
	for _, k := range simulate.Kinds() {
		if kinds[k] < 2 {
			t.Errorf("%d attacks of kind %s", kinds[k], k)
		}
	}
	benign := map[string]bool{}
	for _, l := range truth.Lookalikes {
		benign[l.Kind] = true
		if len(l.Accept) != 0 {
			t.Errorf("%s accepts alerts", l.ID)
		}
	}
	if len(benign) < 12 {
		t.Errorf("only these lookalikes: %v", benign)
	}
}

func TestAttacksAreChosenByKind(t *testing.T) {
	all := world(t, simulate.Config{Agents: 100, Days: 2, Seed: 5})
	none := world(t, simulate.Config{Agents: 100, Days: 2, Seed: 5, Attacks: []string{"none"}})
	if n := len(none.Truth().Attacks); n != 0 {
		t.Errorf("%d attacks in a world without", n)
	}
	if !reflect.DeepEqual(all.Truth().Lookalikes, none.Truth().Lookalikes) {
		t.Error("attacks change what else happens")
	}
	for _, a := range world(t, simulate.Config{Agents: 100, Days: 2, Attacks: []string{"worm", "burst"}}).Truth().Attacks {
		if a.Kind != "worm" && a.Kind != "burst" {
			t.Errorf("an attack of kind %s", a.Kind)
		}
	}
	for range 3 { // a small world has every kind, too
		kinds := map[string]bool{}
		for _, a := range world(t, simulate.Config{Agents: 40, Days: 1, Seed: 1}).Truth().Attacks {
			kinds[a.Kind] = true
		}
		if len(kinds) != len(simulate.Kinds()) {
			t.Errorf("kinds of a small world: %v", kinds)
		}
	}
}

func TestAttacksFollowEachOther(t *testing.T) {
	cfg := simulate.Config{Agents: 200, Days: 4, Quiet: 2, Every: 30 * time.Minute, Seed: 2}
	truth := world(t, cfg).Truth()
	if n := len(truth.Attacks); n < 80 || n > 110 {
		t.Errorf("%d attacks in two days, one each half hour", n)
	}
	for i, a := range truth.Attacks {
		if a.Start < truth.Start+2*86400 {
			t.Errorf("%s starts in the quiet", a.ID)
		}
		if i < 8 && strings.Contains(a.Note, "slow") {
			t.Errorf("attack %d is %s, %s", i, a.Kind, a.Note)
		}
	}
}

// Sessions, days and people differ: variances are far above those of independent events.
func TestRatesAreOverdispersed(t *testing.T) {
	const days = 14
	w := world(t, simulate.Config{Agents: 200, Days: days, Seed: 9, Attacks: []string{"none"}})
	byDay := map[string]*[days]float64{}
	var byHour [24]float64
	start := w.Truth().Start
	var ev event.Event
	for w.Next(&ev) {
		c := byDay[ev.AgentID]
		if c == nil {
			c = new([days]float64)
			byDay[ev.AgentID] = c
		}
		c[(ev.Time/1e6-start)/86400]++
		if ev.Kind == event.Post {
			byHour[ev.Time/3600e6%24]++
		}
	}
	var totals []float64
	spread := 0
	for _, c := range byDay {
		mean, ss := 0.0, 0.0
		for _, n := range c {
			mean += n / days
		}
		for _, n := range c {
			ss += (n - mean) * (n - mean) / (days - 1)
		}
		totals = append(totals, mean)
		if ss > 4*mean {
			spread++
		}
	}
	slices.Sort(totals)
	if spread < len(byDay)/2 {
		t.Errorf("only %d of %d agents have a variance over days above four times the mean", spread, len(byDay))
	}
	if lo, hi := totals[len(totals)/10], totals[len(totals)*9/10]; hi < 8*lo {
		t.Errorf("agents are too much alike: the tenth percentile is %.0f a day, the ninetieth %.0f", lo, hi)
	}
	if lo, hi := slices.Min(byHour[:]), slices.Max(byHour[:]); hi < 1.3*lo {
		t.Errorf("no rhythm of the day: %v", byHour)
	}
}

func TestMemoryDoesNotGrowWithDays(t *testing.T) {
	w := world(t, simulate.Config{Agents: 100, Days: 40, Seed: 4, Attacks: []string{"none"}})
	var ev event.Event
	used := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	var at [2]float64
	start := time.Unix(w.Truth().Start, 0)
	for w.Next(&ev) {
		switch d := w.Now().Sub(start).Hours() / 24; {
		case at[0] == 0 && d > 5:
			at[0] = used()
		case at[1] == 0 && d > 39:
			at[1] = used()
		}
	}
	if at[1] == 0 || at[1] > at[0]+256<<10 {
		t.Errorf("%.0f bytes after 5 days, %.0f after 39", at[0], at[1])
	}
	runtime.KeepAlive(w)
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]simulate.Config{
		"agents": {Agents: 1, Days: 1}, "days": {Agents: 50}, "NaN": {Agents: 50, Days: math.NaN()},
		"quiet": {Agents: 50, Days: 1, Quiet: 2}, "attacks": {Agents: 50, Days: 1, Attacks: []string{"arson"}},
		"none": {Agents: 50, Days: 1, Attacks: []string{"worm", "none"}}, "every": {Agents: 50, Days: 1, Every: 1},
		"start": {Agents: 50, Days: 1, Start: time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := simulate.New(cfg); err == nil {
			t.Errorf("%s: %+v is accepted", name, cfg)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	w := world(b, simulate.Config{Agents: 1000, Days: 3650, Seed: 1})
	var ev event.Event
	b.ReportAllocs()
	for b.Loop() {
		if !w.Next(&ev) {
			b.Fatal("the span is over")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
