package feature

import (
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// heat follows how many agents of a cohort are above their own past in one cell at the same time. What happens to an
// agent's peers in the same hour has a common cause (a release, an outage, the end of a month, a thread that everybody
// reads) and is held against none of them: their own rise is what is expected of the next one. An attacker who works
// through one agent leaves its peers cold.
type heat struct {
	Who  [heatMembers]uint32 // agents that were hot last, 0 for none
	At   [heatMembers]uint32 // when, seconds
	Over [heatMembers]float32
	Rate float32 // agents that become hot, per second
	Last uint32
}

const (
	heatMembers = 8
	// heatFewest is how many other agents make a wave at least, and heatLogP how rare so many must be at the usual rate.
	heatFewest = 3
	heatLogP   = -6.2 // ln 0.002
	// heatMemory is the time constant of the rate, in seconds.
	heatMemory = 2 * 86400
	// heatLeast is how many hot agents are expected in any case.
	heatLeast = 0.05

	// Cells of a cohort's heat beyond those of the plan.
	heatFlood = numCells
	heatMix   = numCells + 1
	numHeats  = numCells + 2
)

// heatSpan is for how many seconds an agent that was hot counts, by the window's length.
var heatSpan = [NumScales]uint32{1800, 3600, 2 * 3600, 6 * 3600}

// mark counts an agent that is above its past by a factor and returns by what factor its peers are at the moment, 1 when
// not more of them are hot than on any day.
func (h *heat) mark(agent, now, span uint32, over float32) (peers float64) {
	slot, others, first := -1, 0, now
	for i := range h.Who {
		if h.Who[i] == agent {
			slot = i
			continue
		}
		if h.Who[i] != 0 && now-h.At[i] <= span {
			others++
			first = min(first, h.At[i])
		}
	}
	since := float64(now - h.Last)
	if h.Last > now {
		since = 0
	}
	rate := float64(h.Rate) * math.Exp(-since/heatMemory)
	if others == heatMembers-1 {
		// As many as are remembered: how long they took is what counts.
		span = min(span, now-first+1)
	}
	wave := others >= heatFewest && tail.PoissonLogSF(float64(others), rate*float64(span)+heatLeast) < heatLogP
	fresh := slot < 0 || now-h.At[slot] > span
	if slot < 0 {
		slot = 0
		for i := range h.At {
			if h.At[i] < h.At[slot] {
				slot = i
			}
		}
		h.Who[slot], h.Over[slot] = agent, 0
	}
	if fresh {
		h.Over[slot] = 0
		if !wave {
			rate += 1.0 / heatMemory
		}
		h.Rate, h.Last = float32(rate), max(now, h.Last)
	}
	h.At[slot], h.Over[slot] = max(now, h.At[slot]), max(over, h.Over[slot])
	if !wave {
		return 1
	}
	peers = 1
	for i := range h.Who {
		if h.Who[i] != agent && h.Who[i] != 0 && now-h.At[i] <= span {
			peers = math.Max(peers, float64(h.Over[i]))
		}
	}
	return peers
}

// hot is from what probability, as a natural logarithm, an agent counts as above its past.
const hot = -4.6 // ln 0.01

// Wave raises what is expected of the reading by what other agents show at the same time, when more of them than usual
// are above their own past: the agent's cohort or the fleet. logP is the reading's probability. It reports whether it did.
func (s *Store) Wave(v *View, r *Reading, logP float64) bool {
	if logP > hot || r.Mean <= 0 {
		return false
	}
	peers := s.mark(v, r.heat, heatSpan[r.Scale], r.Observed/r.Mean)
	if peers <= 1 {
		return false
	}
	r.raise(peers)
	return true
}

// MixWave is the factor by which the days of other agents are unlike their past at the moment, 1 when they are not.
func (s *Store) MixWave(v *View, logP float64) float64 {
	if logP > hot {
		return 1
	}
	return s.mark(v, heatMix, heatSpan[Day], v.MixG/v.MixDF)
}

func (s *Store) mark(v *View, cell int, span uint32, over float64) (peers float64) {
	agent, now := uint32(v.Agent.Key>>32)|1, uint32(v.Event.Time/micros)
	peers = s.fleet.heat[cell].mark(agent, now, span, float32(over))
	if c := v.Agent.Cohort; c.Agents > heatFewest {
		peers = math.Max(peers, c.heat[cell].mark(agent, now, span, float32(over)))
		c.dirty = true
	}
	s.fleet.dirty = true
	return peers
}
