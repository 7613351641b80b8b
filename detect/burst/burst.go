// Package burst detects agents that act far above their own rate: posts, votes or calls, in a minute or in a day.
// Calls that failed by the server's fault do not count: what an outage makes everybody repeat is not a burst.
package burst

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
		Name: "burst", Version: "2", Severity: alert.Medium, Rank: 10, General: true,
		Title: "%s acts far above its own rate",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1499", Name: "Endpoint Denial of Service"},
			{Framework: "ATT&CK", Version: "18", ID: "T1496.004", Name: "Cloud Service Hijacking"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0034", Name: "Cost Harvesting"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0029", Name: "Denial of AI Service"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI08", Name: "Cascading Failures"},
		},
		Next: "Check whether a deployment or a retry loop explains the rate before throttling the agent.",
	}
}

// Examine weighs the events and posts of the window.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	dst = detect.Counts(s, v, feature.Events, dst)
	dst = detect.Counts(s, v, feature.Repeats, dst)
	dst = flood(s, v, dst)
	return detect.Counts(s, v, feature.Posts, dst)
}

// flood weighs what comes at the target in a minute. What an agent is wont to do floods nothing: that the agent departs from its
// own ways is half of the evidence, and the weaker half counts.
func flood(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	own, ok := s.Read(v, feature.Repeats, feature.Minute) // nearly never
	if !ok {
		return dst
	}
	r, ok := v.Flood(s)
	if !ok {
		return dst
	}
	n := len(dst)
	dst = detect.Weigh(s, v, r, dst)
	dst[n].LogP = max(dst[n].LogP, detect.Departure(own))
	return dst
}
