package tuning_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astray-dev/astray/cmd/internal/tuning"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

func trial(t *testing.T, current, changed tuning.Setting) tuning.Result {
	t.Helper()
	world, err := simulate.New(simulate.Config{Agents: 40, Days: 3, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	x, err := tuning.New(current, changed)
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	var ev event.Event
	for world.Next(&ev) {
		events = append(events, *ev.Clone())
	}
	for part := range slices.Chunk(events, 1000) {
		x.Observe(part)
	}
	truth := world.Truth()
	return x.Finish(&truth)
}

// What changes is what the numbers say, and nothing changes when nothing is changed.
func TestTrial(t *testing.T) {
	for _, c := range []struct {
		name             string
		current, changed tuning.Setting
		changes          bool
	}{
		{"nothing", tuning.Setting{Budget: 1}, tuning.Setting{Budget: 1}, false},
		{"the default gap, written out", tuning.Setting{Budget: 1}, tuning.Setting{Budget: 1, Gap: time.Hour}, false},
		{"a larger budget", tuning.Setting{Budget: 0.1}, tuning.Setting{Budget: 100}, true},
		{"fewer detectors", tuning.Setting{Budget: 1}, tuning.Setting{Budget: 1, Detectors: []string{"burst", "secret-exposure"}}, true},
		{"all hidden", tuning.Setting{Budget: 1}, tuning.Setting{Budget: 1, Suppressions: []triage.Suppression{{ID: "a", Pattern: "title:*", Who: "sam", Why: "a test"}}}, true},
	} {
		r := trial(t, c.current, c.changed)
		var now, then, added, removed, right, wrong int
		for _, x := range r.Rows {
			now, then, added, removed = now+x.Now, then+x.New, added+x.Added, removed+x.Removed
			right, wrong = right+x.NewRight, wrong+x.NewFalse
			if x.NowRight+x.NowFalse != x.Now || x.NewRight+x.NewFalse != x.New {
				t.Errorf("%s: %+v does not add up", c.name, x)
			}
		}
		if then != now+added-removed || added != len(r.Added) || removed != len(r.Removed) || now == 0 || right == 0 && then > 0 || r.AgentDays < 80 || r.AgentDays > 120 {
			t.Errorf("%s: %d now, %d then, %d added, %d removed, %d right, %d agent-days", c.name, now, then, added, removed, right, r.AgentDays)
		}
		if changed := added+removed+len(r.Renamed) > 0; changed != c.changes {
			t.Errorf("%s: %d added, %d removed", c.name, added, removed)
		}
		if c.name == "a larger budget" {
			again(t, c.current, c.changed, r)
		}
		switch c.name {
		case "fewer detectors":
			for _, x := range r.Rows {
				if x.New > 0 && x.Detector != "burst" && x.Detector != "secret-exposure" {
					t.Errorf("%s is not run and alerts %d times", x.Detector, x.New)
				}
			}
		case "all hidden":
			if r.Hidden != [2]int{0, removed} || added != 0 || removed == 0 {
				t.Errorf("%v hidden, %d removed", r.Hidden, removed)
			}
		}
	}
}

// again holds a second trial against the first.
func again(t *testing.T, current, changed tuning.Setting, first tuning.Result) {
	t.Helper()
	if diff := cmp.Diff(fmt.Sprintf("%+v", first), fmt.Sprintf("%+v", trial(t, current, changed))); diff != "" {
		t.Errorf("two trials differ: %s", diff)
	}
}
