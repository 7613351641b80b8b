package detect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

func attacked(agent, minute int, emit func(event.Event)) {
	if agent == 3 && minute >= 4990 && minute < 5010 {
		for i := range 40 {
			emit(event.Event{Kind: event.APICall, Access: event.Read, Resource: fmt.Sprint("p/", minute*40+i)})
		}
	}
	swarm(agent, minute, emit)
}

// An engine that is stopped at any checkpoint and loaded again goes on as if nothing had happened: the same
// alerts, to the bit, and the same states. Checkpoints are increments: only what changed is written.
func TestRestoredEngineGoesOnAsIfNothingHappened(t *testing.T) {
	outcome := func(restartEvery int) (alerts string, states map[string]string) {
		e := detect.New(detect.Config{}, catalog.All()...)
		disk := map[string]string{}
		last := map[string]string{}
		n := 0
		save := func() {
			err := e.Checkpoint(func(k string, s []byte) error {
				if disk[k] = string(s); len(s) == 0 {
					delete(disk, k)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		world(11, func(ev *event.Event) {
			e.Observe(ev)
			e.Alerts(func(a *alert.Alert) {
				b, err := json.Marshal(a)
				if err != nil {
					t.Fatal(err)
				}
				last[a.ID] = fmt.Sprint(a.Revision, string(b))
			})
			if n++; restartEvery > 0 && n%restartEvery == 0 {
				save()
				e = detect.New(detect.Config{}, catalog.All()...)
				for k, s := range disk { // any order
					if err := e.Restore(k, []byte(s)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, attacked)
		save()
		b, _ := json.Marshal(last)
		return string(b), disk
	}
	wantAlerts, wantStates := outcome(0)
	if len(wantAlerts) < 10 {
		t.Fatal("the undisturbed run found nothing to compare")
	}
	for _, every := range []int{997, 7919} {
		gotAlerts, gotStates := outcome(every)
		if gotAlerts != wantAlerts {
			t.Errorf("restarts every %d events change the alerts:\n%s\n%s", every, gotAlerts, wantAlerts)
		}
		if !maps.Equal(gotStates, wantStates) {
			for _, k := range slices.Sorted(maps.Keys(wantStates)) {
				if gotStates[k] != wantStates[k] {
					t.Errorf("restarts every %d events change the state of %s", every, k)
					break
				}
			}
		}
	}
}

func TestForeignStatesAreRefused(t *testing.T) {
	e := detect.New(detect.Config{}, catalog.All()...)
	for _, key := range []string{"agent/a", "cohort/c", "fleet/", "tails/burst"} {
		if err := e.Restore(key, []byte{99, 1, 2}); !errors.Is(err, feature.ErrVersion) {
			t.Errorf("%s of version 99: %v", key, err)
		}
		if err := e.Restore(key, []byte{feature.Version, 1}); err == nil {
			t.Errorf("%s cut short was accepted", key)
		}
	}
	if err := e.Restore("track/a", []byte(`{"version":99}`)); !errors.Is(err, feature.ErrVersion) {
		t.Errorf("track of version 99: %v", err)
	}
	if err := e.Restore("nobody/a", nil); err == nil {
		t.Error("a state of no known kind was accepted")
	}
}
