package detect

import (
	"fmt"
	"math"
)

// Look is a finding of a detector at one event: how strong the evidence was, how strong it would have had to be, and why
// it is no reason for an alert.
type Look struct {
	Detector string
	AgentID  string
	Shared   string // name of the entity that the evidence is about, "" when it is the agent
	Time     int64  // event time, microseconds
	Finding  Finding
	Raw      float64 // −log10 of its probability under the model
	P        float64 // as calibrated: the share of benign agent-days that reach Raw
	// Threshold is the detector's share of the budget: it alerts at and below.
	Threshold float64
	Held      string // why this is no reason for an alert; "" when it is one
}

const heldP = "not rare enough"

// held says why evidence is no reason for an alert, "" when it is one.
func (e *Engine) held(detector int, f *Finding) string {
	switch {
	case math.Exp(f.logP) > e.threshold:
		return heldP
	case f.Hint || e.infos[detector].Ranks:
		return "it ranks an agent and never alerts by itself"
	case e.infos[detector].Direct || f.Direct || f.Known:
		return ""
	case e.store.Young() && (f.raw() < coldRaw || f.Own.N < ownWindows || f.Observed < youngLeast):
		return youngText
	case e.warm(detector):
		return ""
	case e.infos[detector].Daily:
		return coldText
	case f.raw() < coldRaw:
		return coldText
	}
	return ""
}

// youngText is said on a stream's first day. What an agent's peers do says little then of what the agent will be found to
// do every day: crawlers, monitors and nightly jobs come up one by one. Only what is beyond all doubt counts, by what the
// agent itself did before.
var youngText = fmt.Sprintf("the stream is younger than a day, and %d windows of the agent's own do not say with certainty that it is unusual, or it is little", ownWindows)

var coldText = fmt.Sprintf("the detector has not seen %d agent-days yet", warmDays)

func (e *Engine) watch(detector int, agent string, at int64, f Finding, held string) {
	l := Look{Detector: e.infos[detector].Name, AgentID: agent, Time: at, Finding: f, Raw: f.raw(), P: math.Exp(f.logP), Threshold: e.threshold, Held: held}
	if f.Entity != nil {
		l.Shared = f.Entity.Name
	}
	e.cfg.Watch(&l)
}

// raw is −log10 of the probability that the model gives.
func (f *Finding) raw() float64 { return -f.LogP / math.Ln10 }

// Needed is the raw score from which the detector alerts on the finding's feature as things stand, infinite for a
// detector that is not run.
func (e *Engine) Needed(detector string, f *Finding) float64 {
	for i := range e.infos {
		if e.infos[i].Name != detector {
			continue
		}
		if f.Known {
			return -math.Log10(e.threshold)
		}
		lo, hi := 0.0, 320.0
		for range 40 {
			if mid := (lo + hi) / 2; e.p(nil, i, e.lens(i, f), mid) <= e.threshold {
				hi = mid
			} else {
				lo = mid
			}
		}
		if !e.infos[i].Direct && !e.warm(i) && !e.infos[i].Daily {
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
		if out[i] = (Share{info.Name, e.share, e.threshold}); info.Ranks {
			out[i] = Share{Detector: info.Name}
		}
	}
	return out
}
