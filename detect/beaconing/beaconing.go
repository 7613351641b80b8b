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
		Name: "beaconing", Version: "2", Severity: alert.High, Rank: 65, Manner: true, Direct: true, Slow: true,
		Title: "%s calls a rare destination like clockwork",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1071.001", Name: "Web Protocols"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0108", Name: "AI Service Abuse"},
		},
		Next:  "Check who runs the destination and which task makes the calls.",
		Where: "destination != ''",
	}
}

// rare is from what surprise on a destination is rare among the agent's peers.
const rare = 1.5

// Examine weighs how even the pauses of the event's route are. What is called in the course of a job is as even as the job,
// and what a cohort is given to call is called by the clock.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.Route == nil || v.Route.Surprise < rare || !v.Route.Since(s) || v.InRun() || v.InCompany() {
		return dst
	}
	x := v.Route.Unusual(v.Agent)
	if x <= 0 {
		return dst
	}
	n, mean, cv := v.Route.Regular()
	f := detect.Surprise("regular_calls", fmt.Sprintf("%d calls %.0f s apart, give or take %.0f %%, to a destination that is new to the agent and rare among its peers", n+1, mean, 100*cv), float64(n+1), -x*math.Ln10)
	return append(dst, f)
}
