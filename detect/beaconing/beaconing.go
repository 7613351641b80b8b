// Package beaconing detects clockwork: calls at even intervals to a destination that is new to the agent and rare among
// its peers. What an agent has always done on time is its habit.
package beaconing

import (
	"fmt"
	"math"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "beaconing", Version: "2", Severity: alert.High, Rank: 65,
		Title: "%s calls a rare destination like clockwork",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1071.001", Name: "Web Protocols"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0108", Name: "AI Service Abuse"},
		},
		Next:  "Check who runs the destination and which task makes the calls.",
		Where: "destination != ''",
	}
}

const (
	minPauses = 4
	// within is the probability that a pause of a Poisson process lies within one coefficient of variation of its
	// mean: the density e^-1 over a band of 2·√3 deviations.
	within = 1.27
	most   = 12 // of −log10 p from regularity alone: clocks are common
)

// Examine weighs how even the pauses of the event's route are.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.Route == nil || v.Route.Surprise < 1.5 {
		return dst
	}
	n, mean, cv := v.Route.Regular()
	if n < minPauses {
		return dst
	}
	x := -float64(n-1) * math.Log10(math.Min(1, within*math.Max(cv, 0.02)))
	if x <= 0 {
		return dst
	}
	x = math.Min(x, most) + float64(v.Route.Surprise)/2
	f := detect.Surprise("regular_calls", fmt.Sprintf("%d calls %.0f s apart, give or take %.0f %%, to a destination that is new to the agent and rare among its peers", n+1, mean, 100*cv), float64(n+1), -x*math.Ln10)
	return append(dst, f)
}
