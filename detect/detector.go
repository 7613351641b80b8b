// Package detect holds the detector contract, the engine that runs detectors over a stream of events, and the
// life of an alert. Start reading here: Detector, then Engine.Observe.
package detect

import (
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Detector recognises one behaviour. It keeps no state of its own: what it needs to remember is a feature,
// counted once for all detectors in package feature.
type Detector interface {
	Info() Info
	// Examine looks at an agent right after an event of its was counted and returns what speaks for the
	// behaviour, each piece with its tail probability under the agent's baseline. None means either that there
	// is nothing or that there is no basis to judge; both leave the score at nothing.
	// The returned slice may alias dst's array.
	Examine(s *feature.Store, v *feature.View, dst []Finding) []Finding
}

// Info is how a detector declares itself.
type Info struct {
	Name       string
	Version    string
	Title      string // "%s" stands for the entity
	Severity   alert.Severity
	Rank       int // of two detectors that explain one episode, the higher rank names it
	Techniques []alert.Technique
	Next       string // what to check next, one imperative sentence
	Where      string // SQL condition on events that narrows an entity's events to the behaviour's
}

// Finding is one feature that departs from its baseline.
type Finding struct {
	feature.Reading
	LogP float64 // natural logarithm of P(at least this much | baseline)
}
