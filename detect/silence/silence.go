// Package silence declares the detector of agents that should speak and do not. The engine runs it by the clock of the
// stream: it has no event to look at.
package silence

import (
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: detect.Silence, Version: "2", Severity: alert.Low, Rank: 5,
		Title: "%s has fallen silent",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1685", Name: "Disable or Modify Tools"},
		},
		Next: "Check whether the agent was stopped on purpose, and whether its key is used elsewhere.",
	}
}

// Examine has nothing to look at: silence is the absence of events.
func (Detector) Examine(_ *feature.Store, _ *feature.View, dst []detect.Finding) []detect.Finding {
	return dst
}
