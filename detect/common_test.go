package detect_test

import (
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/ingest/event"
)

// long is for tests of whole worlds. An engine is one goroutine's, in which the race detector finds nothing and takes ten times as
// long: make test runs them once more without it, by their names, which end in InAWorld.
func long(t *testing.T) {
	t.Helper()
	if !strings.HasSuffix(t.Name(), "InAWorld") {
		t.Fatal("make test does not find it without the race detector: its name must end in InAWorld")
	}
	if underRace {
		t.Skip("a world is too long under the race detector, and one goroutine's")
	}
}

// surge lets the agents below crowd vote for a quarter of an hour, one after the other within its first minutes, and
// agent 7 times times as often.
func surge(crowd, times int) func(agent, minute int, emit func(event.Event)) {
	return func(agent, minute int, emit func(event.Event)) {
		from := 5000 + agent%5
		if agent >= crowd || minute < from || minute >= from+15 {
			return
		}
		n := 6
		if agent == 7 {
			n *= times
		}
		for range n {
			emit(event.Event{Kind: event.Post, Access: event.Write, Action: "vote.create", Service: "feed"})
		}
	}
}

func about(alerts []alert.Alert, detector, agent string) (n int) {
	for _, a := range alerts {
		if a.Detector == detector && (agent == "" || a.EntityID == agent) {
			n++
		}
	}
	return n
}

func TestWhatAllDoAtOnceIsNobodysBurstInAWorld(t *testing.T) {
	long(t)
	for seed := range uint64(3) {
		if n := about(run(seed, surge(40, 1)), "burst", ""); n > 2 {
			t.Errorf("seed %d: %d of 40 agents that surge at once are told as bursts", seed, n)
		}
		if n := about(run(seed, surge(8, 1)), "burst", ""); n < 1 {
			t.Errorf("seed %d: nobody is told of eight agents of forty that surge", seed)
		}
		if about(run(seed, surge(40, 25)), "burst", "agent-7") == 0 {
			t.Errorf("seed %d: who far exceeds the others in a surge is not told", seed)
		}
	}
}
