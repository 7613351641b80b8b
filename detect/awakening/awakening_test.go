package awakening_test

import (
	"fmt"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/awakening"
	"github.com/astray-dev/astray/ingest/event"
)

const minute = 60_000_000

// stream is days of agents that make a call every five minutes, and of newcomers, one in each window of that many
// minutes (0 for none). It returns the engine and what remains to be seen of time.
func stream(days, agents, newcomerEvery int) (observe func(agent string, at int64) detect.Score, now int64, alerts func() int) {
	e := detect.New(detect.Config{}, awakening.Detector{})
	n, told := 0, 0
	observe = func(agent string, at int64) detect.Score {
		n++
		e.Observe(&event.Event{ID: fmt.Sprint(n), Time: at, Kind: event.APICall, Access: event.Read, AgentID: agent, Action: "get", Service: "s"})
		e.Alerts(func(*alert.Alert) { told++ })
		return e.Top()
	}
	const start = 1_700_006_400_000_000 // a midnight
	for m := range int64(days * 1440) {
		now = start + m*minute
		if m%5 == 0 {
			for a := range agents {
				observe(fmt.Sprint("regular-", a), now)
			}
		}
		if newcomerEvery > 0 && m%int64(newcomerEvery) == 0 {
			observe(fmt.Sprint("newcomer-", m), now)
		}
	}
	return observe, now, func() int { return told }
}

func many(observe func(string, int64) detect.Score, agent string, now int64, n int) (last float64) {
	for i := range n {
		last = observe(agent, now+int64(i)*1000).Score
	}
	return last
}

func TestWhoWasNeverThereRanksHigh(t *testing.T) {
	observe, now, alerts := stream(10, 5, 0)
	few, lots := many(observe, "stranger", now+minute, 3), many(observe, "other", now+minute, 100)
	if few < 3 {
		t.Errorf("an agent that came first after ten days has rank %.2f, want at least 3", few)
	}
	if lots < few+1 {
		t.Errorf("a hundred events of a newcomer rank %.2f, three rank %.2f: no more", lots, few)
	}
	if n := alerts(); n != 0 {
		t.Errorf("%d alerts: being there is no misbehaviour", n)
	}
}

func TestRegularsAreSilent(t *testing.T) {
	observe, now, _ := stream(10, 5, 0)
	if got := many(observe, "regular-1", now+minute, 4); got > 0 {
		t.Errorf("an agent that is always there has rank %.2f", got)
	}
}

func TestWhereEverybodyIsNewNobodyIs(t *testing.T) {
	observe, now, _ := stream(10, 5, 10)
	if got := many(observe, "stranger", now+minute, 3); got > 1 {
		t.Errorf("a newcomer in a stream of newcomers has rank %.2f", got)
	}
}
