package detect_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

var update = flag.Bool("update", false, "write the golden of the present version of states anew")

// stateGolden is what an engine of some version left behind after three days of a small world, and whom it
// would have raised alerts about on the fourth, on which an agent scrapes.
type stateGolden struct {
	Version int               `json:"version"`
	States  map[string][]byte `json:"states"`
	Alerts  []string          `json:"alerts"`
}

// small is four days of six agents; the last day scrapes.
func small(day func(n int, ev *event.Event)) {
	n := 0
	for minute := range 4 * 24 * 60 {
		for agent := range 6 {
			emit := func(resource string) {
				n++
				day(minute/1440, &event.Event{ID: fmt.Sprint("e", n), AgentID: fmt.Sprint("agent-", agent), Cohort: "readers", Kind: event.APICall,
					Access: event.Read, Action: "post.get", Service: "feed", Resource: resource, CredentialID: fmt.Sprint("key-", agent%5), SourceIP: "10.0.0.1",
					Time: (1_700_000_000/86400*86400 + int64(minute)*60 + int64(n%60)) * second})
			}
			if (minute*7+agent*13)%17 == 0 {
				emit(fmt.Sprint("post/", (minute*31+agent)%97, "x"))
			}
			if agent == 3 && minute >= 5000 && minute < 5010 {
				for i := range 40 {
					emit(fmt.Sprint("profile/", minute*40+i, "x"))
				}
			}
		}
	}
}

// The states of every version so far are either read, and the engine goes on as it would have, or they are refused as
// outdated, upon which package pipeline rebuilds them from the stored events. None is misread.
func TestStatesOfEveryVersion(t *testing.T) {
	name := func(version int) string { return fmt.Sprintf("testdata/state-v%d.json", version) }
	told := func(e *detect.Engine) (ids []string) {
		seen := map[string]bool{}
		e.Alerts(func(a *alert.Alert) {
			if !seen[a.ID] {
				seen[a.ID] = true
				ids = append(ids, a.EntityKind+" "+a.EntityID)
			}
		})
		return ids
	}
	if *update {
		g := stateGolden{Version: feature.Version, States: map[string][]byte{}}
		e := detect.New(detect.Config{}, catalog.All()...)
		small(func(day int, ev *event.Event) {
			if day == 3 && len(g.States) == 0 {
				if err := e.Checkpoint(func(k string, s []byte) error { g.States[k] = append([]byte{}, s...); return nil }); err != nil {
					t.Fatal(err)
				}
				e.Alerts(func(*alert.Alert) {})
			}
			e.Observe(ev)
		})
		g.Alerts = told(e)
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name(g.Version), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/state-v*.json")
	if err != nil {
		t.Fatal(err)
	}
	current := false
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g stateGolden
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(g.States) < 10 || len(g.Alerts) == 0 {
			t.Fatalf("%s holds nothing", file)
		}
		e := detect.New(detect.Config{}, catalog.All()...)
		read, refused := 0, 0
		for k, s := range g.States {
			var old interface{ Outdated() bool }
			switch err := e.Restore(k, s); {
			case err == nil:
				read++
			case errors.As(err, &old) && old.Outdated():
				refused++
			default:
				t.Errorf("%s: %s: %v", file, k, err)
			}
		}
		if g.Version == feature.Version {
			current = true
			small(func(day int, ev *event.Event) {
				if day == 3 {
					e.Observe(ev)
				}
			})
			if got := told(e); refused > 0 || strings.Join(got, "\n") != strings.Join(g.Alerts, "\n") {
				t.Errorf("%s: %d refused, then alerts\n%q, want\n%q", file, refused, got, g.Alerts)
			}
		} else if refused == 0 {
			t.Errorf("%s: %d states of another version were read as if they were of this", file, read)
		}
	}
	if !current {
		t.Errorf("there is no golden of version %d: go test ./detect -run TestStatesOfEveryVersion -update", feature.Version)
	}
}
