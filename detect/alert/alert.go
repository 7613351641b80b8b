// Package alert defines the alert, version 1: the public shape in which Astray says what went astray and why.
//
// It is plain data with a JSON form and imports nothing of Astray, so that writers, readers and the Grafana
// plugin share it without sharing the engine.
package alert

import (
	"math"
	"time"
)

// Severity is the impact of what happened; it says nothing about how sure we are.
type Severity string

const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Entity kinds.
const (
	KindAgent      = "agent"
	KindCredential = "credential"
	KindSource     = "source"
	KindTemplate   = "template"
)

// MaxScore caps Score, so that a p-value that underflows still compares.
const MaxScore = 300

// MaxEventIDs is how many of the events behind an alert it names.
const MaxEventIDs = 20

// Alert is one episode of one entity's misbehaviour. The same events give the same ID; an episode that goes
// on is updated under its ID with a higher Revision.
type Alert struct {
	ID              string      `json:"id"`
	Time            time.Time   `json:"time"` // event time at which the evidence crossed the threshold
	FirstSeen       time.Time   `json:"first_seen"`
	LastSeen        time.Time   `json:"last_seen"`
	Detector        string      `json:"detector"`
	EntityKind      string      `json:"entity_kind"`
	EntityID        string      `json:"entity_id"`
	AgentIDs        []string    `json:"agent_ids"`
	Severity        Severity    `json:"severity"`
	Confidence      float64     `json:"confidence"` // 0..1
	PValue          float64     `json:"p_value"`
	Score           float64     `json:"score"` // -log10(p), at most MaxScore
	Title           string      `json:"title"`
	Reason          string      `json:"reason"`
	Evidence        []Evidence  `json:"evidence"` // largest contribution first
	EventIDs        []string    `json:"event_ids"`
	EventCount      int64       `json:"event_count"`
	Techniques      []Technique `json:"techniques"`
	Query           string      `json:"query"` // a ClickHouse statement that returns the events
	DetectorVersion string      `json:"detector_version"`
	BaselineVersion string      `json:"baseline_version"`

	// Revision counts the updates of this alert, deterministically from its events: of two rows of one
	// alert the one with the higher revision is the later. Not part of the public shape.
	Revision uint64 `json:"-"`
	// Cohort of the entity, for grouping; not part of the public shape.
	Cohort string `json:"-"`
	// SuppressedBy is the suppression that hides the alert, empty when none does; not part of the public shape.
	SuppressedBy string `json:"-"`
}

// Evidence is one feature's contribution.
type Evidence struct {
	Feature       string  `json:"feature"`
	Observed      float64 `json:"observed"`
	Expected      float64 `json:"expected"`
	Lower         float64 `json:"lower"` // 95 % band of what the baseline predicts
	Upper         float64 `json:"upper"`
	PValue        float64 `json:"p_value"`
	WindowSeconds int64   `json:"window_seconds"`
	// Contribution is the part of the alert's score that the feature accounts for; see Contribute.
	Contribution float64 `json:"contribution,omitempty"`
}

// Contribute divides the score of an alert among its evidence, which stands in the order of what counts: each piece has a
// part in proportion to −log10 of its p-value, but none counts for more than the one before it, for what another
// detector saw stands behind what the one that names the alert saw. The parts sum to the score. They follow from what an
// alert holds anyway, so that they need not be stored.
func Contribute(score float64, evidence []Evidence) {
	sum, before := 0.0, math.Inf(1)
	for i := range evidence {
		before = math.Min(before, math.Max(-math.Log10(math.Max(evidence[i].PValue, 1e-300)), 0))
		evidence[i].Contribution = before
		sum += before
	}
	for i := range evidence {
		if sum > 0 {
			evidence[i].Contribution *= score / sum
		} else if i == 0 {
			evidence[i].Contribution = score
		}
	}
}

// Technique is an entry of a public catalogue of adversary behaviour.
type Technique struct {
	Framework string `json:"framework"` // "ATT&CK", "ATLAS", "OWASP Agentic", "OWASP NHI"
	Version   string `json:"version"`
	ID        string `json:"id"`
	Name      string `json:"name"`
}
