// Package worm detects content that spreads through its readers: an agent reads a post and then writes the same text,
// another reads that one and does likewise. A viral thread is read and answered by many, but all of them read the
// original; here the chain grows link by link.
package worm

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
		Name: "worm", Version: "2", Severity: alert.Critical, Rank: 85, Direct: true, Across: detect.Wholly,
		Title: "a text is passed on from reader to reader: %s",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1080", Name: "Taint Shared Content"},
			{Framework: "ATT&CK", Version: "18", ID: "T1534", Name: "Internal Spearphishing"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0061", Name: "LLM Prompt Self-Replication"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0051.001", Name: "Indirect"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI01", Name: "Agent Goal Hijack"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI06", Name: "Memory and Context Poisoning"},
		},
		Next:  "Take the text out of the feeds first, then look at what its carriers did besides.",
		Where: "kind = 'post'",
	}
}

// Examine weighs how many agents passed on what they had read from one who had read it.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	for _, e := range v.Templates[:v.NumTemplates] {
		if e == nil {
			continue
		}
		for _, sc := range [...]feature.Scale{feature.Hour, feature.Day} {
			dst = detect.Crowded(v, e, feature.CrowdChain, sc, dst)
		}
	}
	for _, sc := range [...]feature.Scale{feature.Hour, feature.Day} {
		dst = detect.Crowded(v, v.Like.Entity, feature.CrowdChain, sc, dst)
	}
	return dst
}
