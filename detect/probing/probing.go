// Package probing detects agents that feel their way: denied, missing and malformed requests in numbers that their own past
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
		Name: "probing", Version: "2", Severity: alert.Medium, Rank: 50, Amounts: true,
		Title: "%s probes for what it may not see",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1087.004", Name: "Cloud Account"},
			{Framework: "ATT&CK", Version: "18", ID: "T1526", Name: "Cloud Service Discovery"},
			{Framework: "ATT&CK", Version: "18", ID: "T1595", Name: "Active Scanning"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0084", Name: "Discover AI Agent Configuration"},
		},
		Next:  "Check what the few successful requests among the refused ones returned.",
		Where: "status IN (400, 401, 403, 404, 405, 407, 410, 414, 415, 422)",
	}
}

// Examine weighs the refused and missing requests of the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	dst = detect.Counts(s, v, feature.Denied, dst)
	dst = detect.Counts(s, v, feature.Malformed, dst)
	if !v.Raised(feature.Missing) {
		return dst
	}
	for sc := range feature.NumScales {
		if r, ok := s.Read(v, feature.Missing, sc); ok {
			dst = detect.WeighAs(s, v, r, guesses(s, v, r), dst)
		}
	}
	return dst
}

// found is how many objects that are there make up for one that is not: who follows old links finds three of five or more, who
// guesses finds fewer.
const found = 1.5

// guesses is how many of the missing objects were looked for without knowing of them. Who goes through old links looks up more
// than usual as well, and finds most of it; that counts against what is missing, and so that a window that has just opened is no
// excuse to forget it, within the hour too. Its everyday reads do not.
func guesses(s *feature.Store, v *feature.View, missing feature.Reading) float64 {
	part := 1.0
	for sc := missing.Scale; ; sc = feature.Hour {
		if m := s.Beyond(v, feature.Missing, sc); m > 0 {
			hits := max(s.Beyond(v, feature.Reads, sc)-m, 0)
			part = min(part, 1-hits/(found*m))
		}
		if sc >= feature.Hour {
			return missing.Observed * max(part, 0)
		}
	}
}
