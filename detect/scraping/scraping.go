// Package scraping detects agents that read many distinct objects: loudly within minutes, or slowly within a
// day. The evidence is the number of distinct and of never-read resources in a window against the agent's own
// past, and steps from one numbered object to its neighbour.
package scraping

import (
	"fmt"
	"math"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "scraping", Version: "2", Severity: alert.High, Rank: 40, Amounts: true,
		Title: "%s reads far more than it ever did",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1119", Name: "Automated Collection"},
			{Framework: "ATT&CK", Version: "18", ID: "T1213", Name: "Data from Information Repositories"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0036", Name: "Data from Information Repositories"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0085", Name: "Data from AI Services"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI02", Name: "Tool Misuse and Exploitation"},
		},
		Next:  "Check which collections were read and whether the same credential sent data anywhere since.",
		Where: "access = 'read'",
	}
}

// Examine weighs the reads of the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	for _, f := range [...]feature.Feature{feature.Reads, feature.NewReads, feature.Sequential} {
		dst = detect.Counts(s, v, f, dst)
	}
	if r, logP, ok := s.Growth(v); ok {
		text := fmt.Sprintf("%s of the day's %s reads are of objects new to it, where its past lets %s be expected",
			detect.Number(math.Round(r.Observed)), detect.Number(v.Agent.ReadsToday()), detect.Number(math.Round(r.Mean)))
		dst = append(dst, detect.Finding{Reading: r, LogP: s.Weigh(v, &r, logP), Text: text, Hint: true})
	}
	return dst
}
