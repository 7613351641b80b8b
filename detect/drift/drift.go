// Package drift detects a change of ways: a day whose mix of operations is unlike the days before, and a newcomer whose
// pauses are unlike those of its peers.
package drift

import (
	"fmt"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/tail"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "drift", Version: "2", Severity: alert.Low, Rank: 8, Daily: true,
		Title: "%s has changed its ways",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1685", Name: "Disable or Modify Tools"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI10", Name: "Rogue Agents"},
		},
		Next: "Check whether the agent's task or model changed.",
	}
}

// overdispersion is by how much more the steps of agents differ than a multinomial sample would, per step.
const overdispersion = 0.005

// usual reports whether a statistic is below the median of a chi-squared variable, which lies above df−1: every other one
// is as large, and that need not be computed.
func usual(g, df float64) bool { return g <= df-1 }

// Examine weighs the mix of operations and of steps.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if g := v.RhythmG / (1 + overdispersion*float64(v.RhythmN-1)); g > 0 && !usual(g, 9) {
		if logP := tail.ChiSquareLogSF(g, v.RhythmDF); logP < -1 {
			f := detect.Surprise("rhythm", fmt.Sprintf("its pauses, and where it makes them, are over %d events unlike those of its peers", v.RhythmN+1), v.RhythmG, logP)
			f.Hint = true
			dst = append(dst, f)
		}
	}
	if v.MixG > 0 && !usual(v.MixG, v.MixDF) {
		if logP := s.WeighMix(v, tail.ChiSquareLogSF(v.MixG, v.MixDF)); logP < -1 {
			f := detect.Surprise("mix_of_operations", fmt.Sprintf("the mix of the day's %d operations is unlike the days before", v.MixEvents), v.MixG, logP)
			f.Scale = feature.Day
			dst = append(dst, f)
		}
	}
	return dst
}
