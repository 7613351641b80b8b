// Package drift detects a change of ways: a day whose mix of operations is unlike the days before, and a newcomer whose
// pauses are unlike those of its peers.
package drift

import (
	"fmt"
	"math"
	"strings"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/proportion"
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

// leastTaken is from what part of the operations on what an agent took up is looked at.
const leastTaken = 0.15

// least is from how many deviations on a count is looked at.
const least = 1.5

// Examine weighs the mix of operations and of steps.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if g := v.RhythmG / proportion.Effect(float64(v.RhythmN), overdispersion); g > 0 && !usual(g, 9) {
		if logP := tail.ChiSquareLogSF(g, v.RhythmDF); logP < -1 {
			f := detect.Surprise("rhythm", fmt.Sprintf("its pauses, and where it makes them, are over %d events unlike those of its peers", v.RhythmN+1), v.RhythmG, logP)
			f.Hint = true
			dst = append(dst, f)
		}
	}
	s.Rising(v, func(r *feature.Rise) {
		text := fmt.Sprintf("%s %s in its last %d active hours where %s were to be expected, more from hour to hour",
			detect.Number(r.Observed), strings.TrimPrefix(r.Name, "rising_"), r.Hours, detect.Number(math.Round(r.Mean)))
		dst = append(dst, detect.Finding{Reading: r.Reading, LogP: r.LogP, Text: text})
	})
	best, at := -1.0, -1
	for i := range v.NumTurns {
		t := &v.Turns[i]
		if t.Deviations() < least {
			continue // nearly always
		}
		logP := proportion.Scattered(t.Share, t.Scatter).LogSF(t.Count, t.Events)
		if logP = s.WeighTurn(v, t, logP); logP < best && t.Tells() {
			best, at = logP, i
		}
	}
	if t := &v.TakenUp; t.Events > 0 && t.Count > leastTaken*t.Events {
		logP := s.WeighTurn(v, t, feature.TakeUp.LogSF(t.Count, t.Events))
		f := detect.Surprise("operations_taken_up", fmt.Sprintf("%.0f %% of the last two days' %.0f operations are of kinds that it did not know before (now %.40q)", 100*t.Count/t.Events, t.Events, v.Event.Action), 100*t.Count/t.Events, logP)
		f.Usual, f.Scale, f.Known = "up to 11 % would have been normal", feature.Day, true
		dst = append(dst, f)
	}
	if at >= 0 {
		t := &v.Turns[at]
		days := "the day's"
		if t.Days == 2 {
			days = "the last two days'"
		}
		f := detect.Surprise("mix_of_operations", fmt.Sprintf("%.0f %% of %s %.0f operations are of one kind (now %.40q), which were %.0f %% in the days before", 100*t.Count/t.Events, days, t.Events, v.Event.Action, 100*t.Share), 100*t.Count/t.Events, best)
		f.Scale = feature.Day
		dst = append(dst, f)
	}
	return dst
}
