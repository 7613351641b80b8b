package detect

import (
	"fmt"
	"math"
)

// Look is what a detector made of one event: how strong its evidence was, how strong it would have had to be, and why
// it did not alert.
type Look struct {
	Detector string
	AgentID  string
	Shared   string  // name of the entity that the evidence is about, "" when it is the agent
	Time     int64   // event time, microseconds
	Finding  Finding // the strongest
	Raw      float64 // −log10 of its probability under the model
	P        float64 // as calibrated: the share of benign agent-days that reach Raw
	// Threshold is the detector's share of the budget: it alerts at and below.
	Threshold float64
	Held      string // why this is no reason for an alert; "" when it is one
}

const heldP = "not rare enough"

// held says why evidence is no reason for an alert, "" when it is one.
func (e *Engine) held(detector int, p, raw float64, hint bool) string {
	switch {
	case p > e.threshold:
		return heldP
	case hint:
		return "it ranks an agent and never alerts by itself"
	case e.infos[detector].Direct || e.tails[detector].Days() >= warmDays:
		return ""
	case e.infos[detector].Daily:
		return coldText
	case raw < coldRaw:
		return coldText
	}
	return ""
}

var coldText = fmt.Sprintf("the detector has not seen %d agent-days yet", warmDays)

func (e *Engine) watch(detector int, agent string, at int64, f Finding, raw, p float64, held string) {
	l := Look{Detector: e.infos[detector].Name, AgentID: agent, Time: at, Finding: f, Raw: raw, P: p, Threshold: e.threshold, Held: held}
	if f.Entity != nil {
		l.Shared = f.Entity.Name
	}
	e.cfg.Watch(&l)
}

// Needed is the raw score from which the detector alerts as things stand, infinite for one that is not run.
func (e *Engine) Needed(detector string) float64 {
	for i := range e.infos {
		if e.infos[i].Name != detector {
			continue
		}
		lo, hi := 0.0, 320.0
		for range 40 {
			if mid := (lo + hi) / 2; e.p(i, mid) <= e.threshold {
				hi = mid
			} else {
				lo = mid
			}
		}
		if !e.infos[i].Direct && e.tails[i].Days() < warmDays && !e.infos[i].Daily {
			hi = math.Max(hi, coldRaw)
		}
		return hi
	}
	return math.Inf(1)
}

// Share is a detector's part of the alert budget.
type Share struct {
	Detector string
	Budget   float64 // false alerts per 1,000 agent-days
	// Threshold is the calibrated p-value of an agent-day at and below which the detector alerts.
	Threshold float64
}

// Shares is how the alert budget is split. Each detector has an equal part: what one leaves unused is not given to
// another, so that a quiet detector stays as sharp when a noisy one is added.
func (e *Engine) Shares() []Share {
	out := make([]Share, len(e.infos))
	for i, info := range e.infos {
		out[i] = Share{info.Name, 1000 * e.threshold, e.threshold}
	}
	return out
}
