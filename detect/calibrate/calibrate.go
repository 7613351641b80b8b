// Package calibrate says what the p-values of detectors are about, and what a budget of alerts asks of them.
//
// What a model gives to one feature over one window length is a raw score. Traffic is never quite what the model says, and
// many windows are looked at in a day, so raw scores are too large, by as much as the feature is unlike its model: what a
// rate of events does every day, a count of new services never does. Each feature at each window length therefore has a tail
// of its own (evt.Tail). What people budget is alerts per agent-day; the period of the tails is an agent's day, and what they
// learn is the largest raw score the agent reaches in it.
package calibrate

import (
	"math"

	"github.com/astray-dev/astray/detect/feature"
)

// Looks is about how many nearly independent looks a day takes through a window of a length.
var Looks = [feature.NumScales]float64{200, 100, 24, 4}

// Shapes of the tails (evt.Tail) and how far they are as heavy, by the excesses of quiet worlds over what an exponential tail
// allows, pooled over a detector's lenses: most are exponential or lighter. What anybody may do for good reasons has a
// heavier one, and so has how much of a thing is done; the heaviest have days as a whole, of which agents that change their
// trade reach any score.
const (
	GeneralShape, GeneralHeavy = 0.2, 30 // further out nothing benign was seen, and what is seen names the episode
	AmountShape, AmountHeavy   = 0.1, 15
	DayShape, DayHeavy         = 0.3, 100
)

// rareness is how the rate of false alerts falls below one in 1,000 agent-days: as that power of the calibrated p-value at
// which detectors alert, by quiet worlds. What is rarer is beyond what a few thousand agent-days can show, and there what
// agents do for good reasons has no model: a key that changes hands, a job that is given another destination.
const rareness = 0.4

// Nominal is the budget that the calibrated p-values are to keep so that alerts keep the budget.
func Nominal(budget float64) float64 {
	if budget >= 1 {
		return budget
	}
	return math.Pow(budget, 1/rareness)
}
