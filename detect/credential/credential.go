// Package credential detects keys in the wrong hands: an agent's calls from a network and a client that are new at
// once, from two networks in turn, a key that another agent takes up, a key that wakes after a long sleep in a new
// place, an agent's calls from two networks or with two keys in turn, and one address that drives the keys of many agents.
package credential

import (
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
		Name: "credential-misuse", Version: "2", Severity: alert.High, Rank: 80, Cause: true, Across: detect.Partly,
		Title: "the credentials of %s are used as never before",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1078.004", Name: "Cloud Accounts"},
			{Framework: "ATT&CK", Version: "18", ID: "T1528", Name: "Steal Application Access Token"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0012", Name: "Valid Accounts"},
			{Framework: "OWASP NHI", Version: "2025", ID: "NHI1", Name: "Improper Offboarding"},
			{Framework: "OWASP NHI", Version: "2025", ID: "NHI2", Name: "Secret Leakage"},
		},
		Next: "Check with the owner whether the key was moved, and rotate it if not.",
	}
}

const (
	// wakeTail is the Pareto index of pauses beyond the longest so far.
	wakeTail = 2
	// nights is from what age on, in seconds, the longest sleep of an agent says something: it has had its nights.
	nights = 2 * 86400
	// fewTurns is up to how many turns somebody has not settled in a new place yet.
	fewTurns = 5
	// returned is the probability, as a natural logarithm, of traffic from the old place within the hour in which
	// somebody moved to a new one.
	returned = -3
)

// Examine weighs where the event comes from and whose key it bears.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.Linked {
		return shared(v, dst)
	}
	logP, parts := v.OriginLogP, 0
	for p := range feature.NumOrigins {
		if v.OriginNew[p] {
			parts++
		}
	}
	woke := v.IdleN >= 20 && v.Idle > 6*3600 && v.Idle > 2*v.IdleMax && v.Event.Time-v.Agent.First > nights*1e6
	if v.OriginNew[feature.Network] || v.OriginNew[feature.Client] {
		text := "calls from " + join(v)
		if v.Returned && v.OriginNew[feature.Network] {
			logP += returned
			text += ", in turn with the old ones"
		}
		if v.ServiceSurprise > 1 || v.ActionSurprise > 1 {
			logP -= math.Max(v.ServiceSurprise, v.ActionSurprise) * math.Ln10 / 2
			text += ", to a service or with an operation new to the agent"
		}
		if woke && v.OriginFresh {
			logP += -math.Log(float64(v.IdleN))/2 - wakeTail*math.Log(v.Idle/math.Max(v.IdleMax, 1))
			text += ", after a sleep longer than ever"
		}
		if v.Foreign {
			logP += v.ForeignLogP
			text += ", with a key that belongs to another agent"
		}
		if parts >= 2 || v.Returned || woke || v.Foreign {
			dst = append(dst, rare("unfamiliar_origin", text, float64(parts), logP))
		}
	} else if v.Foreign {
		text := "a key that until now belonged to another agent"
		logP += v.ForeignLogP
		if v.ServiceSurprise > 1 || v.ActionSurprise > 1 {
			logP -= math.Max(v.ServiceSurprise, v.ActionSurprise) * math.Ln10 / 2
			text += ", for a service or an operation new to the one that uses it"
		}
		dst = append(dst, rare("foreign_key", text, 1, logP))
	}
	dst = turns(s, v, feature.NetworkTurns, dst)
	dst = turns(s, v, feature.KeyTurns, dst)
	return address(v, dst)
}

// turns weighs how often the agent's place or key is another than just before. Whoever has several takes turns the more
// often the more it does.
func turns(s *feature.Store, v *feature.View, f feature.Feature, dst []detect.Finding) []detect.Finding {
	if v.Raised(f) {
		for sc := range feature.NumScales {
			if r, ok := s.PerEvent(v, f, sc); ok {
				n := len(dst)
				dst = detect.Weigh(s, v, r, dst)
				for i := range dst[n:] {
					dst[n+i].Hint = r.Observed < fewTurns
				}
			}
		}
	}
	return dst
}

// rare makes a finding of what is rare by itself.
func rare(name, text string, observed, logP float64) detect.Finding {
	f := detect.Surprise(name, text, observed, logP)
	f.Direct = true
	return f
}

// address weighs how many agents away from home one address drives.
func address(v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.Source != nil && v.OriginFresh {
		n := len(dst)
		dst = detect.Crowded(v, v.Source, feature.CrowdChain, feature.Hour, dst)
		for i := range dst[n:] {
			dst[n+i].Direct = true
		}
	}
	return dst
}

// shared weighs the key and the address themselves. Whose agent it is, and where it comes from, was weighed where the
// agent is known.
func shared(v *feature.View, dst []detect.Finding) []detect.Finding {
	if v.Foreign {
		f := rare("foreign_key", "a key that until now belonged to another agent", 1, v.ForeignLogP+v.OriginLogP)
		if v.Returned {
			f.LogP += returned
		}
		f.Entity = v.Credential
		dst = append(dst, f)
	}
	return address(v, dst)
}

func join(v *feature.View) string {
	out := ""
	for p := range feature.NumOrigins {
		if !v.OriginNew[p] {
			continue
		}
		if out != "" {
			out += " and "
		}
		out += "a new " + p.String()
	}
	return out
}
