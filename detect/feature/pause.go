package feature

import (
	"math/bits"

	"github.com/astray-dev/astray/models/proportion"
)

// The rhythm of an agent is its steps: how long after the one before an event comes, and whether it is about an object
// that the agent reads for the first time. Programs that imitate people pause as long as people do, but not where people do.
const (
	pauseBins = 6             // pauses of under a second, then powers of two, the last from sixteen seconds on
	stepBins  = 2 * pauseBins // by whether the object is new to the agent
	// minSteps is how many steps are compared with the peers': two for each kind, or the few that everybody begins
	// with would decide.
	minSteps = 2 * stepBins
	// maxSteps is how many steps make a newcomer. Whoever has a past of its own is not compared with the others.
	maxSteps = 64
	// minPeerSteps is how many steps of others there must be to compare with.
	minPeerSteps = 100
)

// stepBin is the place of a pause, in seconds, before an event.
func stepBin(pause float64, fresh bool) int {
	i := 0
	if pause >= 1 {
		i = min(bits.Len64(uint64(pause)), pauseBins-1)
	}
	if fresh {
		i += pauseBins
	}
	return i
}

// step counts a step of the agent's, and weighs a newcomer's against its peers' once there are enough of both.
func (s *Store) step(v *View, a *Agent, fresh bool) {
	if v.pause < 0 {
		return
	}
	i := stepBin(v.pause, fresh)
	if a.Steps[i]++; a.Gap.N%1024 == 0 {
		for j := range a.Steps {
			a.Steps[j] /= 2
		}
	}
	if n := int(a.Gap.N); n <= maxSteps {
		peers := a.Cohort
		if peers.gapSum-float32(n) < minPeerSteps {
			peers = s.fleet
		}
		if rest := float64(peers.gapSum) - float64(n) + 1; n >= minSteps && rest >= minPeerSteps {
			kinds := 0
			for j, c := range peers.steps {
				if c > 0 || a.Steps[j] > 0 {
					kinds++
				}
			}
			v.RhythmN, v.RhythmDF = n, float64(max(kinds-1, 1))
			v.RhythmG = proportion.G(a.Steps[:], float64(n), func(i int) float64 {
				return (max(float64(peers.steps[i])-float64(a.Steps[i]), 0) + 0.1) / rest
			})
		}
	}
	for c := a.Cohort; ; c = s.fleet {
		c.steps[i]++
		if c.gapSum++; c.gapSum >= 1e6 {
			for j := range c.steps {
				c.steps[j] /= 2
			}
			c.gapSum /= 2
		}
		c.dirty = true
		if c == s.fleet {
			break
		}
	}
}
