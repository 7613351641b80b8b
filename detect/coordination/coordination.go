// Package coordination detects agents that act as one: texts with the same template from many of them, and the same
// operation on the same object or service by many within a minute. A template that an established set of agents
// uses every day is part of its baseline; agents that had read the text they pass on are left to the worm.
package coordination

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
		Name: "coordination", Version: "2", Severity: alert.High, Rank: 75,
		Title: "many agents act as one: %s",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1585.001", Name: "Social Media Accounts"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0021", Name: "Establish Accounts"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0103", Name: "Deploy AI Agent"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI10", Name: "Rogue Agents"},
		},
		Next:  "Check whether the agents share an owner, a source or an age before acting on all of them.",
		Where: "1",
	}
}

// Examine weighs how many agents share the event's templates, its object and its target.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	for _, e := range v.Templates[:v.NumTemplates] {
		if v.Replied {
			continue
		}
		for _, sc := range [...]feature.Scale{feature.TenMinutes, feature.Hour, feature.Day} {
			dst = detect.Crowded(v, e, feature.CrowdAgents, sc, dst)
			dst = detect.Crowded(v, e, feature.CrowdFresh, sc, dst)
		}
	}
	dst = detect.Crowded(v, v.Object, feature.CrowdAgents, feature.Minute, dst)
	dst = detect.Crowded(v, v.Object, feature.CrowdAgents, feature.TenMinutes, dst)
	if v.Target != nil {
		dst = detect.Crowded(v, v.Target, feature.CrowdAgents, feature.Minute, dst)
		dst = detect.Crowded(v, v.Target, feature.CrowdFresh, feature.Minute, dst)
		dst = detect.Crowded(v, v.Target, feature.CrowdFresh, feature.TenMinutes, dst)
		dst = detect.Crowded(v, v.Target, feature.CrowdEvents, feature.Minute, dst)
	}
	return dst
}
