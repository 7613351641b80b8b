// Package lateral detects agents that move sideways: services that neither they nor their peers use, one after
// the other, and rising privilege. A service that the cohort knows counts for little, so that a release that
// brings all agents a new integration stays quiet.
package lateral

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
		Name: "lateral-movement", Version: "1", Severity: alert.High, Rank: 60,
		Title: "%s moves through services it never used",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1021.007", Name: "Cloud Services"},
			{Framework: "ATT&CK", Version: "18", ID: "T1550.001", Name: "Application Access Token"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0091.000", Name: "Application Access Token"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI03", Name: "Identity and Privilege Abuse"},
		},
		Next:  "Check which credential opened the new services and revoke it if nobody ordered the change.",
		Where: "1",
	}
}

// Examine weighs the services that are new in the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.NewService {
		dst = detect.Counts(s, v, feature.NewServices, dst)
	}
	if v.Bumped[feature.Services] {
		dst = detect.Counts(s, v, feature.Services, dst)
	}
	return dst
}
