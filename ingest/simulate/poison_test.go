package simulate_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

func poisoned(adversary string, unprepared bool) simulate.Config {
	return simulate.Config{Agents: 100, Days: 9.75, Quiet: 3, Seed: 21, Attacks: []string{"none"}, Adversary: adversary, Unprepared: unprepared}
}

func TestAdversariesPrepareTheSameAttacks(t *testing.T) {
	for _, name := range simulate.Adversaries() {
		of := map[string][]int64{} // times of each incident's events
		w := world(t, poisoned(name, false))
		var ev event.Event
		for w.Next(&ev) {
			if id := w.Incident(); id != "" {
				of[id] = append(of[id], ev.Time/1e6)
			}
		}
		truth := w.Truth()
		var attacks []simulate.Attack
		ready := map[string]int64{} // by agent, when what it prepares is over
		for _, a := range truth.Attacks {
			if len(of[a.ID]) < 20 {
				t.Errorf("%s: %s has %d events", name, a.Note, len(of[a.ID]))
			}
			if a.Start < truth.Start+3*86400 {
				t.Errorf("%s: %s begins in the quiet days", name, a.Note)
			}
			if a.Kind != simulate.Poisoning {
				attacks = append(attacks, a)
				continue
			}
			for _, id := range a.Agents {
				ready[id] = a.End
			}
		}
		for _, a := range attacks {
			if a.Start < ready[a.Agents[0]] {
				t.Errorf("%s: %s begins before it is prepared", name, a.Note)
			}
		}
		other := world(t, poisoned(name, true)).Truth()
		if len(other.Attacks) != len(attacks) || !reflect.DeepEqual(other.Lookalikes, world(t, poisoned(name, false)).Truth().Lookalikes) {
			t.Errorf("%s: %d attacks unprepared instead of %d, or another world", name, len(other.Attacks), len(attacks))
			continue
		}
		planned := world(t, poisoned(name, false)).Truth()
		at := map[string]int64{}
		for _, a := range other.Attacks {
			at[a.Agents[0]+a.Note] = a.Start
		}
		for _, a := range planned.Attacks {
			if start, ok := at[a.Agents[0]+a.Note]; a.Kind != simulate.Poisoning && (!ok || start != a.Start) {
				t.Errorf("%s: %s by %s comes at another time or not at all", name, a.Note, a.Agents[0])
			}
		}
	}
}

func TestAdversariesOfOneSeedAreEqual(t *testing.T) {
	for _, name := range simulate.Adversaries() {
		cfg := poisoned(name, false)
		cfg.Agents, cfg.Quiet = 80, 2.5
		if a, b := digest(t, cfg), digest(t, cfg); a != b {
			t.Errorf("%s: %s, then %s", name, a, b)
		}
	}
}

// Of a rise by 3 % an hour the second day brings about four times as much as the first, by the integral of 1.03^h − 1; the
// agents' days differ.
func TestARiseRises(t *testing.T) {
	var first, second float64
	for seed := range uint64(4) {
		cfg := poisoned("rise", false)
		cfg.Days, cfg.Seed = 7, 30+seed
		w := world(t, cfg)
		start := map[string]int64{}
		for _, a := range w.Truth().Attacks {
			if strings.Contains(a.Note, "rise by") {
				start[a.ID] = a.Start
			}
		}
		var ev event.Event
		for w.Next(&ev) {
			from, ok := start[w.Incident()]
			switch day := (ev.Time/1e6 - from) / 86400; {
			case ok && day == 0:
				first++
			case ok && day == 1:
				second++
			}
		}
	}
	if first < 50 || second < 2*first || second > 10*first {
		t.Errorf("%v events on the first day, %v on the second", first, second)
	}
}

func TestAdversaryIsChecked(t *testing.T) {
	for _, cfg := range []simulate.Config{
		{Agents: 100, Days: 9.75, Quiet: 3, Adversary: "patience"},
		{Agents: 100, Days: 6, Quiet: 3, Adversary: "rise"},
		{Agents: 20, Days: 8, Quiet: 3, Adversary: "cohort"},
	} {
		if _, err := simulate.New(cfg); err == nil || !strings.Contains(err.Error(), "adversary") {
			b, _ := json.Marshal(cfg)
			t.Errorf("%s: error %v", b, err)
		}
	}
}
