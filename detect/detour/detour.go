// Package detour ranks agents that leave their task: that turn to a destination, by an operation, of which neither they
// nor those who do the same work have made use. That is how instructions look that an agent found in what it read. Most
// agents that find themselves a new way have their reasons, so it alerts nobody; it says whom to look at first.
package detour

import (
	"math"
	"slices"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "detour", Version: "1", Severity: alert.Low, Rank: 2, Ranks: true,
		Title: "%s leaves its task",
		Techniques: []alert.Technique{
			{Framework: "ATLAS", Version: "5", ID: "AML.T0051.001", Name: "LLM Prompt Injection: Indirect"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI01", Name: "Agent Goal Hijack"},
		},
		Next:  "Check what the agent had read before it turned there.",
		Where: "destination != ''",
	}
}

const (
	// least is the score from which on a detour is worth a word, and surprising that from which on others' count.
	least, surprising = 1, 2
	// converging is up to how many other cohorts to whose agents the same destination came as a surprise add to the
	// score, each a factor of ten: what misleads one agent misleads others.
	converging = 3
)

// Examine weighs a destination that the agent turns to for the first time, together with the service through which it
// does, when that is new to it as well.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.DestinationSurprise <= 0 {
		return dst
	}
	x := v.DestinationSurprise + v.ServiceSurprise
	if x >= surprising {
		x += float64(others(s, v))
	}
	if x < least {
		return dst
	}
	f := detect.Surprise("new_way", "a destination that neither the agent nor its peers make use of", x, -x*math.Ln10)
	f.Hint = true
	return append(dst, f)
}

// others is how many cohorts but the agent's own have agents to whom the destination came as a surprise. Agents of one
// cohort do the same work: that several of them turn to the same place has its reasons more often.
func others(s *feature.Store, v *feature.View) int {
	if v.Drop == nil {
		return 0
	}
	var known [converging]*feature.Cohort
	n := 0
	for _, name := range v.Drop.Names() {
		a := s.Agent(name)
		if a == nil || a.Cohort == v.Agent.Cohort || slices.Contains(known[:n], a.Cohort) {
			continue
		}
		known[n] = a.Cohort
		if n++; n == converging {
			break
		}
	}
	return n
}
