package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/event"
)

// What is counted in open windows is what a recount of all events of the window gives, late ones included. What is asked for
// again in vain is one question, as long as few others came between.
func TestOpenWindowsAreARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var all []event.Event
		var asked []string // in vain, the last four
		again := map[string]bool{}
		now := int64(1_700_000_000)
		for i := range rapid.IntRange(1, 120).Draw(t, "events") {
			now += int64(rapid.IntRange(0, 400).Draw(t, "pause"))
			ev := event.Event{ID: fmt.Sprint(i), AgentID: "a", Kind: event.APICall, Access: event.Read, Service: "s",
				Resource:      fmt.Sprint("post/", rapid.IntRange(0, 20).Draw(t, "post"), "x"),
				Status:        int32(rapid.SampledFrom([]int{0, 200, 400, 403, 404, 500}).Draw(t, "status")),
				Time:          (now - int64(rapid.SampledFrom([]int{0, 0, 0, 30, 500}).Draw(t, "late"))) * micros,
				ResponseBytes: int64(rapid.IntRange(0, 4096).Draw(t, "bytes"))}
			all = append(all, ev)
			if ev.Status >= 400 && ev.Status < 500 {
				if again[ev.ID] = slices.Contains(asked, ev.Resource); !again[ev.ID] {
					asked = append(asked, ev.Resource)
					asked = asked[max(len(asked)-4, 0):]
				}
			}
			v := s.Update(&all[i])
			newest := slices.MaxFunc(all, func(a, b event.Event) int { return int(a.Time - b.Time) }).Time / micros
			for sc := range NumScales {
				window := newest / scaleSeconds[sc]
				var events, denied, missing, malformed float32
				for _, e := range all {
					if e.Time/micros/scaleSeconds[sc] != window || e.Status >= 500 {
						continue
					}
					events++
					switch {
					case again[e.ID]:
					case e.Status == 400:
						malformed++
					case e.Status == 403:
						denied++
					case e.Status == 404:
						missing++
					}
				}
				for f, want := range map[Feature]float32{Events: events, Denied: denied, Missing: missing, Malformed: malformed} {
					if c := cellOf[f][sc]; c >= 0 && v.Agent.Cells[c].Cur != want {
						t.Fatalf("%d events on, %s at scale %d: %g, a recount says %g", i+1, f, sc, v.Agent.Cells[c].Cur, want)
					}
				}
			}
		}
	})
}

// A baseline's memory fades at the rate that its number of windows says, and settles on what it is shown.
func TestCellsForget(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, limit := range memory {
		var c cell
		n := float32(0)
		show := func(windows int, mean float64) {
			for range windows {
				n = min(n, limit-1) + 1
				c.learn(float32(mean+2*r.NormFloat64()), 1/n)
			}
		}
		show(int(6*limit), 50)
		if math.Abs(float64(c.mean)-50) > 2 || c.vari < 2 || c.vari > 7 {
			t.Errorf("memory %g: mean %g and variance %g of windows with 50 and 4", limit, c.mean, c.vari)
		}
		show(int(float64(limit)*math.Ln2), 150)
		if c.mean < 95 || c.mean > 105 {
			t.Errorf("memory %g: after ln 2 of it the mean is %g, half the way is 100", limit, c.mean)
		}
	}
}

// A value that enough agents of a group took up is the group's; one that a single agent repeats never becomes so.
func TestSurprisesWaitForOthers(t *testing.T) {
	var v Vocabulary
	for i := range uint64(50) {
		v.add(i%5, false)
	}
	usual, strange := takesUp.Next(v.seen(1), unheard), takesUp.Next(v.seen(99), unheard)
	if usual < 20*strange {
		t.Errorf("a usual value has %g, one nobody has shown %g", usual, strange)
	}
	for range acceptAgents - 1 {
		if v.add(99, true) {
			t.Error("fewer agents than it takes made a surprise the group's own")
		}
	}
	if got := takesUp.Next(v.seen(99), unheard); got > strange*1.01 {
		t.Errorf("a surprise became usual by being repeated: %g after %g", got, strange)
	}
	if !v.add(99, true) || takesUp.Next(v.seen(99), unheard) < 2*strange {
		t.Error("enough agents did not make it the group's own")
	}
	sum := 0.0
	for h := range v.Agents {
		sum += takesUp.Next(v.seen(h), 0)
	}
	if sum > 1 {
		t.Errorf("the values known have probability %g together", sum)
	}
}
