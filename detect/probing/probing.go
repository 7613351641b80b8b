// Package probing detects agents that feel their way: denied and missing objects in numbers that their own past
// and their cohort's do not know. An error rate that a cohort shares is part of its baseline.
package probing

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
		Name: "probing", Version: "2", Severity: alert.Medium, Rank: 50,
		Title: "%s probes for what it may not see",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1087.004", Name: "Cloud Account"},
			{Framework: "ATT&CK", Version: "18", ID: "T1526", Name: "Cloud Service Discovery"},
			{Framework: "ATT&CK", Version: "18", ID: "T1595", Name: "Active Scanning"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0084", Name: "Discover AI Agent Configuration"},
		},
		Next:  "Check what the few successful requests among the refused ones returned.",
		Where: "status IN (401, 403, 404, 407, 410)",
	}
}

// Examine weighs the refused and missing requests of the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	dst = detect.Counts(s, v, feature.Denied, dst)
	return detect.Counts(s, v, feature.Missing, dst)
}
