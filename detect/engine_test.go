package detect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
)

const second = 1_000_000

// world is five days of forty agents that read a handful of posts an hour, with what the test adds.
func world(seed uint64, each func(*event.Event), extra func(agent, minute int, emit func(event.Event))) {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 0
	for minute := range 5 * 24 * 60 {
		for agent := range 40 {
			emit := func(e event.Event) {
				n++
				e.ID, e.AgentID, e.Cohort = fmt.Sprint("e", n), fmt.Sprint("agent-", agent), "readers"
				e.Time = (1_700_000_000/86400*86400 + int64(minute)*60 + int64(rng.IntN(60))) * second
				each(&e)
			}
			if rng.Float64() < 0.1 {
				for range 1 + rng.IntN(3) {
					emit(event.Event{Kind: event.APICall, Access: event.Read, Action: "post.get", Service: "feed",
						Resource: fmt.Sprint("post/", rng.IntN(500), "x")})
				}
			}
			if extra != nil {
				extra(agent, minute, emit)
			}
		}
	}
}

func run(seed uint64, extra func(agent, minute int, emit func(event.Event))) []alert.Alert {
	e := detect.New(detect.Config{}, catalog.All()...)
	byID := map[string]int{}
	var out []alert.Alert
	world(seed, func(ev *event.Event) {
		e.Observe(ev)
		e.Alerts(func(a *alert.Alert) {
			if i, ok := byID[a.ID]; ok {
				out[i] = *a
				return
			}
			byID[a.ID] = len(out)
			out = append(out, *a)
		})
	}, extra)
	return out
}

func TestQuietWorldIsQuiet(t *testing.T) {
	for seed := range uint64(5) {
		if got := run(seed, nil); len(got) > 1 {
			t.Errorf("seed %d: %d alerts in 200 agent-days of ordinary traffic, first: %s", seed, len(got), got[0].Reason)
		}
	}
}

func TestEachBehaviourIsNamedOnce(t *testing.T) {
	for _, c := range []struct {
		want  string
		extra func(agent, minute int, emit func(event.Event))
	}{
		{"scraping", func(agent, minute int, emit func(event.Event)) {
			if agent == 7 && minute >= 5000 && minute < 5020 {
				for i := range 40 {
					emit(event.Event{Kind: event.APICall, Access: event.Read, Action: "agent.get", Service: "feed", Resource: fmt.Sprintf("agent/%d", minute*40+i)})
				}
			}
		}},
		{"burst", func(agent, minute int, emit func(event.Event)) {
			if agent == 7 && minute >= 5000 && minute < 5010 {
				for range 60 {
					emit(event.Event{Kind: event.Post, Access: event.Write, Action: "vote.create", Service: "feed"})
				}
			}
		}},
		{"probing", func(agent, minute int, emit func(event.Event)) {
			if agent == 7 && minute >= 5000 && minute < 5010 {
				for i := range 20 {
					emit(event.Event{Kind: event.APICall, Access: event.Read, Action: "agent.get", Service: "feed", Status: 403, Resource: fmt.Sprintf("admin/%d/x", minute*20+i)})
				}
			}
		}},
		{"exfiltration", func(agent, minute int, emit func(event.Event)) {
			if agent == 7 && minute >= 5000 && minute < 5010 {
				for i := range 3 {
					emit(event.Event{Kind: event.APICall, Access: event.Write, Action: "file.send", Service: "feed", RequestBytes: 50_000_000, Destination: fmt.Sprint("drop-", minute, i)})
				}
			}
		}},
		{"lateral-movement", func(agent, minute int, emit func(event.Event)) {
			if agent == 7 && minute >= 5000 && minute < 5012 {
				emit(event.Event{Kind: event.APICall, Action: "tool.call", Service: fmt.Sprint("internal-", minute)})
			}
		}},
	} {
		got := run(3, c.extra)
		var mine []alert.Alert
		for _, a := range got {
			if a.EntityID == "agent-7" {
				mine = append(mine, a)
			}
		}
		if len(mine) != 1 || mine[0].Detector != c.want {
			t.Errorf("%s: got %d alerts %+v", c.want, len(mine), mine)
			continue
		}
		a := mine[0]
		if len(a.Evidence) == 0 || a.Evidence[0].Observed <= a.Evidence[0].Upper || a.Reason == "" || a.EventCount < 1 {
			t.Errorf("%s: the alert explains nothing: %+v", c.want, a)
		}
	}
}

// swarm is fourteen agents that vote on one post after the other, ten minutes each, and some who vote every day.
func swarm(agent, minute int, emit func(event.Event)) {
	vote := func(post int) {
		emit(event.Event{Kind: event.Post, Access: event.Write, Action: "vote.create", Service: "votes", Resource: fmt.Sprint("post/", post)})
	}
	if (minute*13+agent*29)%170 == 0 {
		vote(minute)
	}
	if agent >= 20 && agent < 34 && minute >= 6200 && minute < 6260 && minute%10 < 2 {
		vote(90_000 + minute/10)
	}
}

// A swarm that goes from post to post is one cause: one alert that names the agents, all of them and no others.
func TestSwarmIsOneAlert(t *testing.T) {
	var got []alert.Alert
	for _, a := range run(3, swarm) {
		if a.Detector == "coordination" {
			got = append(got, a)
		}
	}
	if len(got) != 1 {
		t.Fatalf("%d alerts of a swarm: %+v", len(got), got)
	}
	theirs := 0
	for _, id := range got[0].AgentIDs {
		var n int
		if _, err := fmt.Sscanf(id, "agent-%d", &n); err == nil && n >= 20 && n < 34 {
			theirs++
		}
	}
	if theirs != 14 || len(got[0].AgentIDs) > 16 {
		t.Errorf("%d of its 14 agents among the %d named", theirs, len(got[0].AgentIDs))
	}
}

func TestSameEventsSameAlerts(t *testing.T) {
	attack := func(agent, minute int, emit func(event.Event)) {
		if agent == 3 && minute == 5000 {
			for i := range 300 {
				emit(event.Event{Kind: event.APICall, Access: event.Read, Resource: fmt.Sprint("p/", i)})
			}
		}
	}
	a, _ := json.Marshal(run(9, attack))
	b, _ := json.Marshal(run(9, attack))
	if string(a) != string(b) || len(a) < 10 {
		t.Errorf("two runs differ, or found nothing:\n%s\n%s", a, b)
	}
}

// An agent's name is hostile text; it must not leave the string literal of the query.
func TestQueryKeepsHostileNamesInside(t *testing.T) {
	e := detect.New(detect.Config{}, catalog.All()...)
	name := `x' OR 1=1 -- \`
	var got []string
	world(1, func(ev *event.Event) {
		if ev.AgentID == "agent-5" {
			ev.AgentID = name
		}
		e.Observe(ev)
		e.Alerts(func(a *alert.Alert) { got = append(got, a.Query) })
	}, func(agent, minute int, emit func(event.Event)) {
		if agent == 5 && minute == 5000 {
			for i := range 400 {
				emit(event.Event{Kind: event.APICall, Access: event.Read, Resource: fmt.Sprint("p/", i)})
			}
		}
	})
	if len(got) == 0 {
		t.Fatal("no alert to look at")
	}
	for _, q := range got {
		if !strings.Contains(q, `agent_id IN ('x\x27 OR 1=1 -- \x5c') AND`) {
			t.Fatalf("the name is not a literal: %s", q)
		}
	}
}

func BenchmarkEngine(b *testing.B) {
	const agents = 100_000
	names := make([]string, agents)
	for i := range names {
		names[i] = fmt.Sprint("agent-", i)
	}
	e := detect.New(detect.Config{}, catalog.All()...)
	rng := rand.New(rand.NewPCG(1, 2))
	ev := event.Event{Kind: event.APICall, Access: event.Read, Service: "feed", Cohort: "c", Action: "post.get"}
	resources := make([]string, 4096)
	for i := range resources {
		resources[i] = fmt.Sprint("post/", i)
	}
	at := int64(1_700_000_000) * second
	step := func() {
		at += 1000
		ev.Time, ev.AgentID, ev.Resource = at, names[rng.IntN(agents)], resources[rng.IntN(len(resources))]
		e.Observe(&ev)
	}
	for range 5 * agents {
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
