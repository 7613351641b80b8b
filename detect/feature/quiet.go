package feature

import (
	"slices"
	"strings"

	"github.com/astray-dev/astray/models/cadence"
)

// Silent is an agent that has been silent, or has only read, for longer than it ever did.
type Silent struct {
	Agent  *Agent
	Reads  bool    // it still reads, and changes nothing any more
	Pause  float64 // seconds since its last event, or since it changed something
	Usual  float64 // longest pause before
	Pauses uint32
	LogP   float64  // natural logarithm of the probability that a day sees such a pause
	With   []*Agent // those that fell silent at about the same time and were told, in the order of their ids
}

// Silents looks, every ten minutes of event time, for agents that have fallen silent. They are yielded in the
// order of their ids. Nobody is named when many, or many of its cohort or most of its owner's, are silent for longer than they are
// wont to be: that is an outage, a night, a holiday or maintenance.
func (s *Store) Silents(yield func(Silent)) {
	const every = 600 * micros
	if s.now-s.scanned < every {
		return
	}
	s.scanned = s.now - s.now%every
	var found []Silent
	var all [2]int // agents known well enough, and those among them that are silent for longer than ever
	for _, c := range s.cohorts {
		c.known, c.quiet = 0, 0
	}
	for _, p := range s.agents.all {
		a := *p
		pause := float64(s.now-a.Last) / micros
		if !a.timed(pause) {
			continue
		}
		all[0]++
		a.Cohort.known++
		usual := float64(a.Gap.Top[0])
		if pause < longer*usual {
			if idle := float64(s.now/micros - int64(a.Acted)); a.Acts.N >= manyPauses && a.ActDays >= manyDays && a.Reported&4 == 0 && stopped(&a.Acts, idle) {
				found = append(found, Silent{Agent: a, Reads: true, Pause: idle, Usual: float64(a.Acts.Top[0]), Pauses: a.Acts.N, LogP: a.Acts.LogSF(idle, a.known())})
			}
			continue
		}
		all[1]++
		a.Cohort.quiet++
		if a.Reported&2 == 0 && stopped(&a.Gap, pause) {
			found = append(found, Silent{Agent: a, Pause: pause, Usual: usual, Pauses: a.Gap.N, LogP: a.Gap.LogSF(pause, a.known())})
		}
	}
	sortSilents(found)
	for _, f := range found {
		c := f.Agent.Cohort
		if manyQuiet*(all[1]-1) > all[0] || c.known >= 5 && manyQuiet/2*(c.quiet-1) > c.known || s.together(&f) {
			continue
		}
		f.With = s.before(&f)
		yield(f)
	}
}

const (
	// longer and muchLonger are by which factors a pause exceeds the longest so far to count as silence, and to be told.
	longer, muchLonger = 1.2, 2
	// manyQuiet is the part of the agents, and half of it that of a cohort's, whose silence has a common cause.
	manyQuiet = 10
	// manyPauses and manyDays are from how many on an agent's pauses are known.
	manyPauses, manyDays = 200, 3
)

// timed reports whether the agent's pauses are known, and it is not gone for good.
func (a *Agent) timed(pause float64) bool {
	return a.Days >= manyDays && a.Gap.N >= manyPauses && pause <= 7*86400
}

// known is for how many days the agent is known.
func (a *Agent) known() float64 { return float64(a.Last-a.First) / 86400 / micros }

// stopped reports whether a pause is beyond all before.
func stopped(g *cadence.Longest, pause float64) bool {
	return pause >= 3600 && pause >= muchLonger*float64(g.Top[0])
}

// atOnce is within how many microseconds agents fall silent together.
const atOnce = 1800 * micros

// before returns the agents that were told to have fallen silent together with one.
func (s *Store) before(f *Silent) (with []*Agent) {
	if f.Reads {
		return nil
	}
	for _, p := range s.agents.all {
		if a := *p; a != f.Agent && a.Reported&2 != 0 && max(a.Last-f.Agent.Last, f.Agent.Last-a.Last) <= atOnce {
			with = append(with, a)
		}
	}
	slices.SortFunc(with, func(a, b *Agent) int { return strings.Compare(a.ID, b.ID) })
	return with
}

// together reports whether most agents of the same owner that never paused for as long are silent as well, two at least; those of its
// cohort that did and are active are on its side.
func (s *Store) together(f *Silent) bool {
	if f.Agent.Owner == 0 {
		return false
	}
	brisk, quiet := 0, 0
	for _, p := range s.agents.all {
		a := *p
		pause, usual := float64(s.now-a.Last)/micros, longer*float64(a.Gap.Top[0])
		if f.Reads {
			pause, usual = float64(s.now/micros-int64(a.Acted)), longer*float64(a.Acts.Top[0])
		}
		if a == f.Agent || a.Owner != f.Agent.Owner || !a.timed(pause) || f.Reads && a.ActDays < manyDays {
			continue
		}
		switch {
		case usual <= f.Pause:
			brisk++
			if pause >= usual {
				quiet++
			}
		case a.Cohort == f.Agent.Cohort && pause*micros <= atOnce:
			// It paused for as long before, and may just have begun again.
			brisk++
			quiet++
		}
	}
	return quiet >= 2 && 2*quiet > brisk
}

// Told marks the silence as told; the agent's next event clears the mark, or the next that changes something.
func (f *Silent) Told() {
	if f.Reads {
		f.Agent.Reported |= 4
	} else {
		f.Agent.Reported |= 2
	}
	f.Agent.dirty = true
}

func sortSilents(all []Silent) {
	slices.SortFunc(all, func(a, b Silent) int { return strings.Compare(a.Agent.ID, b.Agent.ID) })
}
