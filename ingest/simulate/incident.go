package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/astray-dev/astray/ingest/event"
)

var kinds = []string{"scraping", "burst", "lateral-movement", "credential-misuse", "exfiltration", "probing", "coordination",
	"secret-exposure", "worm", "beaconing", "silence", "drift"}

// Kinds are the kinds of attack.
func Kinds() []string { return slices.Clone(kinds) }

// An act is what an incident does at its next turn: see source.
type act func(t int64, ev *event.Event) (bool, int64)

// A variety of incident.
type variety struct {
	kind, note string
	loud       bool
	accept     []string // empty: benign
	size       [2]int   // agents, from and to; 0 for one
	hours      [2]float64
	who        func(*agent) bool // nil for any
	cohort     bool              // the agents are a whole cohort
	whole      bool              // it has no beginning: it lasts for the span
	early      bool              // it begins on the first day, before there are baselines
	run        func(w *World, in *incident, r *rand.Rand) act
	prepare    func(w *World, in *incident, r *rand.Rand) // when it is planned
}

type incident struct {
	*variety
	id         string
	agents     []int32
	start, end int64
	rng        *rand.Rand
	act        act

	told                int
	firstTold, lastTold int64
	over                bool
}

func (in *incident) step(w *World, t int64, ev *event.Event) (bool, int64) {
	if in.act == nil {
		in.act = in.run(w, in, in.rng)
	}
	told, next := in.act(t, ev)
	if told {
		if in.told == 0 {
			in.firstTold = t
		}
		in.told++
		in.lastTold = t
		w.fail(ev, t)
	}
	if next > in.end {
		in.over, in.act = true, nil
		return told, never
	}
	return told, next
}

// once is an act that changes the world and says nothing.
func once(change func()) act {
	return func(int64, *event.Event) (bool, int64) { change(); return false, never }
}

// paced spreads n events over the incident, in bursts and pauses.
func (in *incident) paced(r *rand.Rand, n int, do func(k int, ev *event.Event)) act {
	const spread = 0.9
	mean := float64(in.end-in.start) / float64(n) / math.Exp(spread*spread/2)
	k := 0
	return func(t int64, ev *event.Event) (bool, int64) {
		do(k, ev)
		if k++; k >= n {
			return true, never
		}
		return true, t + int64(lognormal(r, mean, spread)) + 1000
	}
}

// agent is the k-th agent of the incident.
func (in *incident) agent(w *World, k int) *agent { return w.agents[in.agents[k%len(in.agents)]] }

// plan decides which incidents there will be, and prepares the world for them.
func (w *World) plan() {
	r := w.random(3, 0)
	size := float64(w.cfg.Agents) * w.cfg.Days
	instances := func(per float64, most int) int { return min(max(1, int(math.Round(math.Sqrt(size/per)))), most) }

	var pool []*variety
	for i := range attacks {
		v := &attacks[i]
		if w.cfg.Attacks == nil || slices.Contains(w.cfg.Attacks, v.kind) {
			pool = append(pool, v)
		}
	}
	quiet := w.start + int64(w.cfg.Quiet*float64(day))
	number := 0
	add := func(v *variety, from, to int64) {
		number++
		in := &incident{variety: v, rng: w.random(4, uint64(number))}
		if w.cast(in, r, from, to) {
			kind := "attack"
			if len(v.accept) == 0 {
				kind = "benign"
			}
			in.id = fmt.Sprintf("%s-%04d", kind, number)
			if v.prepare != nil {
				v.prepare(w, in, r)
			}
			w.incidents = append(w.incidents, in)
		}
	}
	// The benign ones come first, so that they are the same whatever attacks are asked for.
	for i := range lookalikes {
		v := &lookalikes[i]
		n := instances(400, 20)
		if v.whole {
			n = 1
		}
		for range n {
			if v.early {
				add(v, w.start, w.start+min(day, (w.end-w.start)/5))
			} else {
				add(v, w.start+(w.end-w.start)/5, w.end-(w.end-w.start)/50)
			}
		}
	}
	if w.cfg.Every > 0 {
		every := w.cfg.Every.Microseconds()
		for at, round := quiet, 0; at < w.end && len(pool) > 0; round++ {
			r.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
			if round == 0 {
				slices.SortStableFunc(pool, func(a, b *variety) int {
					rank := map[bool]int{true: 0, false: 1}
					return cmp.Compare(rank[a.loud], rank[b.loud])
				})
			}
			for _, v := range pool {
				if at += int64(float64(every) * between(r, 0.5, 1.5)); at < w.end-10*minute {
					add(v, at, at+1)
				}
			}
		}
	} else {
		// The long ones choose their agents first. In a small world not every variety has room, but every kind.
		var list []*variety
		for _, round := range rounds(pool) {
			for range instances(250, 40) {
				list = append(list, round...)
			}
			if len(list) > max(len(kinds), w.cfg.Agents/2) {
				break
			}
		}
		slices.SortStableFunc(list, func(a, b *variety) int { return cmp.Compare(b.hours[1], a.hours[1]) })
		for _, v := range list {
			add(v, quiet, w.end-(w.end-w.start)/50)
		}
	}
}

// rounds orders varieties so that the first round holds one of each kind, and so on.
func rounds(pool []*variety) (out [][]*variety) {
	seen := map[string]int{}
	for _, v := range pool {
		k := seen[v.kind]
		seen[v.kind]++
		if k == len(out) {
			out = append(out, nil)
		}
		out[k] = append(out[k], v)
	}
	return out
}

// cast chooses when the incident happens, from a start between from and to, and to whom. It fails when nobody fits.
func (w *World) cast(in *incident, r *rand.Rand, from, to int64) bool {
	v := in.variety
	if v.whole {
		in.start, in.end = w.start+minute, w.end
		for _, a := range w.agents {
			if v.who(a) {
				in.agents = append(in.agents, a.i)
			}
		}
		return len(in.agents) > 0
	}
	n := 1
	if v.size[1] > 0 {
		n = whole(r, v.size[0], v.size[1])
		n = max(2, min(n, w.cfg.Agents/4))
	}
	for try := range 200 {
		last := span(r, v.hours[0], v.hours[1], hour)
		if room := (w.end - from) * 6 / 10; last > room {
			last = int64(float64(room) * between(r, 0.6, 1))
		}
		in.start = from + r.Int64N(max(1, min(to, w.end-last)-from))
		in.end = in.start + last
		fits := func(a *agent) bool {
			if v.who != nil && !v.who(a) || a.join > in.start-min(day, (in.start-w.start)/2) || in.start >= a.muteFrom && a.muteTo > in.start {
				return false
			}
			for _, b := range a.busy {
				if try < 150 && in.start-hour < b[1] && b[0] < in.end+hour {
					return false
				}
			}
			return true
		}
		in.agents = in.agents[:0]
		if v.cohort {
			for _, i := range pick(r, w.cohorts) {
				if fits(w.agents[i]) {
					in.agents = append(in.agents, i)
				}
			}
			n = 2
		} else {
			for k := 0; k < 40*n && len(in.agents) < n; k++ {
				i := r.Int32N(int32(len(w.agents)))
				if fits(w.agents[i]) && !slices.Contains(in.agents, i) {
					in.agents = append(in.agents, i)
				}
			}
		}
		if len(in.agents) < n {
			continue
		}
		for _, i := range in.agents {
			a := w.agents[i]
			a.busy = append(a.busy, [2]int64{in.start, in.end})
		}
		return true
	}
	return false
}

func is(kinds ...archetype) func(*agent) bool {
	return func(a *agent) bool { return slices.Contains(kinds, a.kind) }
}

func isNot(kinds ...archetype) func(*agent) bool {
	return func(a *agent) bool { return !slices.Contains(kinds, a.kind) }
}
