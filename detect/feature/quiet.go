package feature

import (
	"slices"
	"strings"
)

// Silent is an agent that has been silent for longer than it ever was.
type Silent struct {
	Agent  *Agent
	Pause  float64 // seconds since its last event
	Usual  float64 // longest pause before
	Pauses uint32
	LogP   float64 // natural logarithm of the probability that a day sees such a pause
}

// Silents looks, every ten minutes of event time, for agents that have fallen silent. They are yielded in the
// order of their ids. Nobody is named when many, or many of its cohort, are silent for longer than they are wont to be: that
// is an outage, a night or a holiday.
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
		if a.Days < 3 || a.Gap.N < 200 || pause > 7*86400 {
			continue
		}
		all[0]++
		a.Cohort.known++
		usual := float64(a.Gap.Top[0])
		if pause < longer*usual {
			continue
		}
		all[1]++
		a.Cohort.quiet++
		if a.Reported&2 != 0 || pause < 3600 || pause < muchLonger*usual {
			continue
		}
		logP := a.Gap.logSF(pause, float64(a.Last-a.First)/86400/micros)
		found = append(found, Silent{a, pause, usual, a.Gap.N, logP})
	}
	sortSilents(found)
	for _, f := range found {
		c := f.Agent.Cohort
		if manyQuiet*(all[1]-1) > all[0] || c.known >= 5 && manyQuiet/2*(c.quiet-1) > c.known {
			continue
		}
		yield(f)
	}
}

const (
	// longer and muchLonger are by which factors a pause exceeds the longest so far to count as silence, and to be told.
	longer, muchLonger = 1.2, 2
	// manyQuiet is the part of the agents, and half of it that of a cohort's, whose silence has a common cause.
	manyQuiet = 10
)

// Told marks the agent's silence as told; its next event clears the mark.
func (a *Agent) Told() { a.Reported |= 2; a.dirty = true }

func sortSilents(all []Silent) {
	slices.SortFunc(all, func(a, b Silent) int { return strings.Compare(a.Agent.ID, b.Agent.ID) })
}
