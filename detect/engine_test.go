package detect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
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

// Looking ahead changes nothing, whatever the events, and comes to an end.
func TestAheadChangesNothing(t *testing.T) {
	var events []event.Event
	world(7, func(ev *event.Event) {
		if len(events) < 3000 {
			events = append(events, *ev)
		}
	}, surge(8, 1))
	events = append(events, event.Event{}, event.Event{AgentID: "agent-1", Access: event.Read, Resource: "r", CredentialID: "k", SourceIP: "10.0.0.1", Time: events[len(events)-1].Time})
	var states [2][]string
	for k := range states {
		e := detect.New(detect.Config{}, catalog.All()...)
		ahead := 0
		for i := range events {
			if k == 1 && i >= ahead {
				n := e.Ahead(events[i:])
				if n < 1 || n > len(events)-i {
					t.Fatalf("%d of %d events", n, len(events)-i)
				}
				ahead += n
			}
			e.Observe(&events[i])
			states[k] = append(states[k], fmt.Sprint(e.Top()))
		}
		if err := e.Checkpoint(func(key string, state []byte) error {
			states[k] = append(states[k], key+string(state))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(states[0], states[1]) {
		t.Error("who looks ahead sees something else")
	}
}

// BenchmarkEngine takes events that are in memory already: bare ones of many agents and of few, the same with all that
// producers usually say of a call, and, again and again, the last of four days of a simulated world.
func BenchmarkEngine(b *testing.B) {
	b.Run("agents=100000", func(b *testing.B) { benchmarkCalls(b, 100_000, false) })
	b.Run("agents=400", func(b *testing.B) { benchmarkCalls(b, 400, false) })
	b.Run("full,agents=100000", func(b *testing.B) { benchmarkCalls(b, 100_000, true) })
	b.Run("world", benchmarkWorld)
}

// callers returns an engine and what gives it the next of endless reads by that many agents. In full ones each agent has
// its own key, address and client.
func callers(agents int, full bool) (e *detect.Engine, step func()) {
	callers := make([]event.Event, agents)
	for i := range callers {
		ev := &callers[i]
		*ev = event.Event{AgentID: fmt.Sprint("agent-", i), Kind: event.APICall, Access: event.Read, Service: "feed", Cohort: "c", Action: "post.get"}
		if full {
			ev.CredentialID, ev.SourceIP, ev.ASN = fmt.Sprint("key_", i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), 64_500+uint32(i%7)
			ev.UserAgent, ev.OwnerID, ev.AgentVersion = fmt.Sprint("sdk/", i%5), fmt.Sprint("org-", i/20), "2025.10"
			ev.Status, ev.RequestBytes, ev.ResponseBytes = 200, 300, 4000
		}
	}
	e = detect.New(detect.Config{}, catalog.All()...)
	rng := rand.New(rand.NewPCG(1, 2))
	resources := make([]string, 4096)
	for i := range resources {
		resources[i] = fmt.Sprint("post/", i)
	}
	at := int64(1_700_000_000) * second
	// Events come in batches, as they do from the decoder.
	var batch []event.Event
	next, ahead := 0, 0
	step = func() {
		if next == len(batch) {
			if batch == nil {
				batch = make([]event.Event, 256)
			}
			next, ahead = 0, 0
			for i := range batch {
				at += 1000
				batch[i] = callers[rng.IntN(agents)]
				batch[i].Time, batch[i].Resource = at, resources[rng.IntN(len(resources))]
			}
		}
		if next >= ahead {
			ahead += e.Ahead(batch[next:])
		}
		e.Observe(&batch[next])
		next++
	}
	for range 5 * max(agents, 100_000) {
		step()
	}
	return e, step
}

// loop takes an event with each step.
func loop(b *testing.B, step func()) {
	b.ReportAllocs()
	from := cpuTime()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64((cpuTime()-from).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func benchmarkCalls(b *testing.B, agents int, full bool) {
	_, step := callers(agents, full)
	loop(b, step)
}

func benchmarkWorld(b *testing.B) {
	const days = 4
	world, err := simulate.New(simulate.Config{Agents: 300, Days: days, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	e := detect.New(detect.Config{}, catalog.All()...)
	const day = 86_400 * second
	var last []event.Event
	var ev event.Event
	from := int64(0)
	for world.Next(&ev) {
		if from == 0 {
			from = ev.Time
		}
		if ev.Time < from+(days-1)*day {
			e.Observe(&ev)
		} else {
			last = append(last, *ev.Clone())
		}
	}
	i, ahead := 0, 0
	loop(b, func() {
		if i >= ahead {
			ahead += e.Ahead(last[i:])
		}
		e.Observe(&last[i])
		last[i].Time += day
		if i++; i == len(last) {
			i, ahead = 0, 0
		}
	})
	e.Alerts(func(*alert.Alert) {})
}

// BenchmarkAgentMemory says what an agent takes, all of the process that goes with agents included: live memory after a
// collection, beside what the engine knows of.
func BenchmarkAgentMemory(b *testing.B) {
	const agents = 100_000
	live := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for range b.N {
		before := live()
		e, step := callers(agents, true)
		b.ReportMetric((live()-before)/agents, "B/agent") // the callers' own strings and events included
		b.ReportMetric(float64(e.StateBytes())/agents, "counted-B/agent")
		runtime.KeepAlive(step)
	}
}
