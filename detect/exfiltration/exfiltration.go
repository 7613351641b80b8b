// Package exfiltration detects agents that carry data out: to destinations that neither they nor their peers
// write to, or in amounts far above their own.
package exfiltration

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
		Name: "exfiltration", Version: "1", Severity: alert.High, Rank: 70,
		Title: "%s sends data out",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1020", Name: "Automated Exfiltration"},
			{Framework: "ATT&CK", Version: "18", ID: "T1048", Name: "Exfiltration Over Alternative Protocol"},
			{Framework: "ATT&CK", Version: "18", ID: "T1567", Name: "Exfiltration Over Web Service"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0086", Name: "Exfiltration via AI Agent Tool Invocation"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI02", Name: "Tool Misuse and Exploitation"},
		},
		Next:  "Check who owns the destinations and what the agent read before it wrote to them.",
		Where: "destination != ''",
	}
}

// Examine weighs the destinations of the window, and what was sent to them.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if !v.Bumped[feature.Destinations] {
		return dst
	}
	if v.NewDestination {
		dst = detect.Counts(s, v, feature.NewDests, dst)
	}
	dst = detect.Counts(s, v, feature.Destinations, dst)
	return detect.Counts(s, v, feature.SentKB, dst)
}
