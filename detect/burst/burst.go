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
	if r, ok := v.Flood(s); ok {
		dst = detect.Weigh(s, v, r, dst)
	}
	return detect.Counts(s, v, feature.Posts, dst)
}
