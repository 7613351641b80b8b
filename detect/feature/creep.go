package feature

import (
	"math"

	"github.com/astray-dev/astray/models/changepoint"
)

// Whoever raises its rate by a little every hour is in no window far beyond the one before, and its baseline comes after it.
// The hours as a whole tell: Page's sum of how much likelier each is at twice the usual rate (changepoint.NegBinomial), against
// the baseline of an active hour, which rests on weeks of them.

// creeping is what is looked at: all that an agent does, and what others see of it.
var creeping = [...]Feature{Events, Posts}

const (
	// creepFactor is the rise worth finding.
	creepFactor = 2
	// creepHours is how many active hours of its own an agent must have to creep away from.
	creepHours = 24
	// leastCreep is from what sum on a rise is looked at.
	leastCreep = 3
	// mostCreep is how much one hour may add: a single one is a burst.
	mostCreep = 3
)

// creep is a rise over hours: the sum, and what was seen since it began where so much was to be expected.
type creep struct {
	Sum             changepoint.Sum
	Count, Expected float32
}

// learn adds a closed hour with its prediction.
func (c *creep) learn(count, mean, variance float64) {
	if mean <= 0 {
		return
	}
	size := math.Inf(1)
	if variance > mean {
		size = mean * mean / (variance - mean)
	}
	c.Sum.Learn(math.Min(changepoint.NegBinomial(count, mean, creepFactor, size), mostCreep))
	if c.Sum.Steps == 0 {
		*c = creep{}
		return
	}
	c.Count += float32(count)
	c.Expected += float32(mean)
}

// Rise is what an agent has done in the hours since it began to do more.
type Rise struct {
	Reading
	Hours int
	LogP  float64
}

// rise returns how much more of a feature the agent does than before, ok false when it does not.
func (s *Store) rise(v *View, k int) (r Rise, ok bool) {
	c := &v.Agent.Creeps[k]
	if c.Sum.S < leastCreep || c.Sum.Steps < 3 {
		return r, false
	}
	r = Rise{Reading{Name: "rising_" + creeping[k].String(), Scale: Hour, Observed: float64(c.Count), Mean: float64(c.Expected)}, int(c.Sum.Steps), c.Sum.LogSF()}
	r.LogP = s.tell(v, creepCell+k, &r.Reading, r.LogP, hitLogP)
	return r, true
}

// Rising yields what the agent has come to do more of, hour after hour. It is asked once in an active hour, of agents that have days
// enough to know that days differ.
func (s *Store) Rising(v *View, yield func(*Rise)) {
	if !v.newHour || !v.Agent.Compared() {
		return
	}
	for k := range creeping {
		if r, ok := s.rise(v, k); ok {
			yield(&r)
		}
	}
}
