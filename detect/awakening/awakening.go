// Package awakening ranks agents that are seldom there and now act in numbers: a host that was never seen, an account
// that comes once a month. Being there is no misbehaviour, so it alerts nobody; it says whom to look at first.
package awakening

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
		Name: "awakening", Version: "1", Severity: alert.Low, Rank: 1, Ranks: true,
		Title: "%s is seldom there and now acts",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1078", Name: "Valid Accounts"},
		},
		Next:  "Check whether anybody expected the agent.",
		Where: "1",
	}
}

// least is the natural logarithm of the probability above which being there is not worth a word.
const least = -2

// Examine weighs that the agent is there, and how much it does.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	r, logP, ok := s.Presence(v, least)
	if !ok {
		return dst
	}
	return append(dst, detect.Finding{Reading: r, LogP: logP, Hint: true})
}
