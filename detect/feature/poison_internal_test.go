package feature

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/event"
)

// minutes has an agent show so many events in each of the minutes, and one in a minute more, so that the last is learned.
func minutes(s *Store, a string, from int64, counts ...int) *Agent {
	for i, n := range append(counts, 1) {
		for k := range n {
			ev := event.Event{ID: fmt.Sprint(a, i, k), AgentID: a, Cohort: "c", Kind: event.APICall, Action: "x", Status: 200,
				Time: (from + int64(i)*60) * micros}
			s.Update(&ev)
		}
	}
	return s.Agent(a)
}

// However much an agent does in a window, what is usual for it rises by no more than the cap's share of it; a store that trusts
// learns it whole.
func TestOneWindowHardlyPoisons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var past []int
		for range rapid.IntRange(12, 60).Draw(t, "minutes") {
			past = append(past, rapid.IntRange(1, 20).Draw(t, "events"))
		}
		attack := rapid.IntRange(500, 3000).Draw(t, "attack")
		const from = 1_700_000_040 // a whole minute
		i := cellOf[Events][Minute]
		var rise [2]float64
		for k, s := range []*Store{NewStore(), NewStore()} {
			if k == 1 {
				s.Trust()
			}
			a := minutes(s, "a", from, past...)
			before := a.Cells[i].Mean
			m, v := predict(int(i), Moments{a.N[Minute], before, a.Cells[i].Var}, s.prior(a, int(i)), 1)
			// The open minute has an event already.
			minutes(s, "a", from+int64(len(past))*60, attack)
			rise[k] = float64(a.Cells[i].Mean - before)
			// A little more than the cap: what was predicted has the prior in it, and the agent's own mean is below that.
			most := (m - float64(before) + capSigmas*math.Sqrt(v) + capFloor) / float64(a.N[Minute]) * 1.01
			if k == 0 && rise[k] > most {
				t.Fatalf("after %v a minute with %d raises the mean of %v by %v, more than %v", past, attack, before, rise[k], most)
			}
		}
		if whole := float64(attack-20) / float64(len(past)+2); rise[1] < whole {
			t.Fatalf("one that trusts rises by %v instead of %v", rise[1], whole)
		}
	})
}

// What an alert told of is not learned, unless the store trusts.
func TestWhatWasToldIsNotLearned(t *testing.T) {
	i := cellOf[Events][TenMinutes]
	for _, trusting := range []bool{false, true} {
		s := NewStore()
		if trusting {
			s.Trust()
		}
		var past []int
		for range 60 {
			past = append(past, 2)
		}
		const from = 1_700_000_400
		a := minutes(s, "a", from, past...)
		before := a.Cells[i].Mean
		ev := event.Event{AgentID: "a", Cohort: "c", Kind: event.APICall, Action: "x", Status: 200}
		for k := range 400 {
			ev.Time = (from + 3600 + int64(k)) * micros
			s.Update(&ev)
		}
		a.Report()
		ev.Time = (from + 4300) * micros
		s.Update(&ev)
		if rose := a.Cells[i].Mean > 1.5*before; rose != trusting {
			t.Errorf("trusting %v: the mean goes from %v to %v", trusting, before, a.Cells[i].Mean)
		}
	}
}

// A surprising value is its cohort's own when three agents have taken it up, to a store that trusts at once.
func TestOneAgentTeachesItsCohortNothing(t *testing.T) {
	for _, trusting := range []bool{false, true} {
		s := NewStore()
		if trusting {
			s.Trust()
		}
		n := 0
		call := func(agent int, service string) float64 {
			n++
			return s.Update(&event.Event{ID: fmt.Sprint(n), AgentID: fmt.Sprint("a", agent), Cohort: "c", Kind: event.APICall, Service: service, Action: "x",
				Status: 200, Time: (1_700_000_000 + int64(n)) * micros}).ServiceSurprise
		}
		for i := range 400 {
			call(i, "usual")
		}
		first := call(0, "strange")
		if second := call(1, "strange"); first < surprising || (second > first-0.3) == trusting {
			t.Errorf("trusting %v: it surprises by %.2f at first, by %.2f then", trusting, first, second)
		}
	}
}
