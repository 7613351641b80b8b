// Package lateral detects agents that spread out: several services new to them in a row, operations they never
// used, rising privilege. Services that its cohort already uses are discounted.
package lateral

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
		Name: "lateral-movement", Version: "2", Severity: alert.High, Rank: 60,
		Title: "%s moves to services it never used",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1021.007", Name: "Cloud Services"},
			{Framework: "ATT&CK", Version: "18", ID: "T1550.001", Name: "Application Access Token"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0091.000", Name: "Use Alternate Authentication Material"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI03", Name: "Identity and Privilege Abuse"},
		},
		Next: "Check which credential opened the new services and revoke it if nobody ordered the change.",
	}
}

// Examine weighs what is new in the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	dst = detect.Counts(s, v, feature.NewServices, dst)
	dst = detect.Counts(s, v, feature.Services, dst)
	dst = detect.Counts(s, v, feature.NewActions, dst)
	dst = detect.Counts(s, v, feature.Privileged, dst)
	if x := detect.Newness(s, v, feature.NewServices, v.ServiceSurprise); x > 1 {
		dst = append(dst, detect.Surprise("service_surprise", "a service that neither the agent nor its peers use", v.ServiceSurprise, -x*math.Ln10))
	}
	return strange(v, dst)
}

// The first days of 3,200 agents without an attack, in twelve streams, simulated and recorded, had ten kinds of
// operations that change something or more in one of 500, none had more, and their tail fell with the sixth power from
// five on. Streams differ in how many there are to choose from, so the widest decide. What an agent does in its first
// day there is nothing else to judge by, and neither is there on the first day of a stream.
const (
	manyChanges, manyShare = 10, 0.002
	changesIndex           = 6
	// changesLeast is from how many on a finding is made: one in 7,500 agents would be there.
	changesLeast = 15
)

// strange weighs in how many ways an agent of less than a day changes things that its peers leave alone.
func strange(v *feature.View, dst []detect.Finding) []detect.Finding {
	n := v.Changes()
	if n < changesLeast {
		return dst
	}
	f := detect.Surprise("kinds_of_changes", fmt.Sprintf("%.0f kinds of operations that change something and that its peers hardly use, within a day of the agent's first event", n),
		n, math.Log(manyShare)-changesIndex*math.Log(n/manyChanges))
	f.Usual, f.Scale, f.Known = "fewer than 10 would have been normal: of 500 agents one begins with as many", feature.Day, true
	return append(dst, f)
}
