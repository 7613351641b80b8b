// Package exfiltration detects agents that carry data out: to destinations that neither they nor their peers
// write to, or in amounts far above their own. A surprising destination weighs more when agents of other cohorts
// turn to the same one: that is how the drop of a campaign looks.
package exfiltration

import (
	"fmt"
	"math"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/tail"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "exfiltration", Version: "2", Severity: alert.High, Rank: 70, Amounts: true,
		Title: "%s sends data out",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1020", Name: "Automated Exfiltration"},
			{Framework: "ATT&CK", Version: "18", ID: "T1048", Name: "Exfiltration Over Alternative Protocol"},
			{Framework: "ATT&CK", Version: "18", ID: "T1567", Name: "Exfiltration Over Web Service"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0086", Name: "Exfiltration via AI Agent Tool Invocation"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0025", Name: "Exfiltration via Cyber Means"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI02", Name: "Tool Misuse and Exploitation"},
		},
		Next:  "Check who owns the destinations and what the agent read before it wrote to them.",
		Where: "destination != '' OR request_bytes > 0",
	}
}

// maxConverging is how many other agents add to the surprise of a destination, each a factor of ten.
const maxConverging = 3

// Examine weighs the destinations of the window, and what was sent to them.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	for _, sc := range [...]feature.Scale{feature.TenMinutes, feature.Day} {
		if !v.Raised(feature.SentKB) {
			break
		}
		if r, ok := s.Strange(v, sc); ok {
			dst = detect.Weigh(s, v, r, dst)
		}
	}
	dst = detect.Counts(s, v, feature.NewDests, dst)
	dst = detect.Counts(s, v, feature.Destinations, dst)
	if x := detect.Newness(s, v, feature.NewDests, v.DestinationSurprise); x > 1 {
		text := "a destination that neither the agent nor its peers write to"
		if v.Converging > 0 && x > 2 {
			x += float64(min(v.Converging, maxConverging))
			text = fmt.Sprintf("%s, and to which %d agents unlike it have turned as well", text, v.Converging)
		}
		dst = append(dst, detect.Surprise("destination_surprise", text, v.DestinationSurprise, -x*math.Ln10))
	}
	return away(s, v, dst)
}

// away weighs what was sent to a destination that is new to the agent and rare among its peers: that it took one up, and
// that it sent so much more than it sends at a time.
func away(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	w := v.Way
	if w == nil || w.Surprise < rare || !w.Recent(v.Agent) {
		return dst
	}
	sc, at := feature.TenMinutes, "at a time"
	if w.Age() > 3600 {
		sc, at = feature.Day, "in a day"
	}
	mean, sd, ok := s.Usual(v.Agent, feature.SentKB, sc)
	z := (math.Log1p(float64(w.Sent)) - mean) / sd
	if !ok || z <= 0 {
		return dst
	}
	x := detect.Newness(s, v, feature.NewDests, float64(w.Surprise))
	f := detect.Surprise("kilobytes_to_a_new_destination", fmt.Sprintf("%s kilobytes to a destination new to the agent and rare among its peers, where it sends %s %s", detect.Number(math.Round(float64(w.Sent))), detect.Number(math.Round(math.Expm1(mean))), at),
		float64(w.Sent), tail.NormalLogSF(z)-x*math.Ln10)
	f.Scale, f.Names = feature.Day, true
	return append(dst, f)
}

// rare is from what surprise on a destination is rare among the agent's peers.
const rare = 1.5
