package main

import (
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/simulate"
)

// What is played out is what the truth of the world says, and none of its figures is out of place.
func TestAdversariesArePlayedOut(t *testing.T) {
	w, err := simulate.New(simulate.Config{Agents: 40, Days: 6.5, Quiet: 2.5, Seed: 3, Attacks: []string{"none"}, Adversary: "rise"})
	if err != nil {
		t.Fatal(err)
	}
	results := playOut("rise", w, detect.New(detect.Config{}, catalog.All()...))
	truth := w.Truth()
	if len(results) != len(truth.Attacks) || len(results) != 8 {
		t.Fatalf("%d results of %d incidents", len(results), len(truth.Attacks))
	}
	for i, p := range results {
		if p.note != truth.Attacks[i].Note || p.agents != 1 || p.named > 1 || (p.named == 1) != p.found || p.events == 0 || p.before > p.events || !p.found && p.before < p.events || p.reached <= 0 {
			t.Errorf("%+v of %+v", p, truth.Attacks[i])
		}
	}
}

func TestPoisonTables(t *testing.T) {
	r := report{options: options{seed: 1}}
	var b strings.Builder
	if r.poisonTables(&b); b.Len() > 0 {
		t.Errorf("what was not measured is told: %s", b.String())
	}
	r.poisonResults = [][ways][]poisonResult{{
		defended: {{kind: simulate.Poisoning, note: "slowly", by: "drift", found: true, after: 7200, agents: 4, named: 1, before: 75, events: 100, reached: 3},
			{kind: "scraping", note: "loud", found: true, after: 30, agents: 1, named: 1, before: 10, events: 100, reached: 9}},
		trusting: {{kind: simulate.Poisoning, note: "slowly", agents: 4, before: 100, events: 100, reached: 4},
			{kind: "scraping", note: "loud", wentOn: true, agents: 1, before: 100, events: 100, reached: 9}},
		unprepared: {{kind: "scraping", note: "loud", found: true, after: 12, agents: 1, named: 1, before: 2, events: 100, reached: 9}},
	}}
	r.poisonTables(&b)
	for _, want := range []string{
		"| slowly | 1 of 4 | 0 of 4 | 2 h | – | 75 % | 100 % | 3.0 x | 4.0 x |",
		"| scraping | loud | 1 of 1 | 0 of 1, and 1 in an alert that goes on | 1 of 1 | 30 s | – | 12 s | 10 % | 100 % | 2 % |",
		"seeds from 2001",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
