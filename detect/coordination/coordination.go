// Package coordination detects agents that act as one: texts with the same template from many of them, and the same
// operation on the same object or service by many within a minute. A template that an established set of agents
// uses every day is part of its baseline; agents that had read the text they pass on are left to the worm.
package coordination

import (
	"cmp"
	"fmt"
	"slices"

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
		Name: "coordination", Version: "2", Severity: alert.High, Rank: 75, Settles: true, Across: detect.Wholly,
		Title: "many agents act as one: %s",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1585.001", Name: "Social Media Accounts"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0021", Name: "Establish Accounts"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0103", Name: "Deploy AI Agent"},
			{Framework: "OWASP Agentic", Version: "2026", ID: "ASI10", Name: "Rogue Agents"},
		},
		Next: "Check whether the agents share an owner, a source or an age before acting on all of them.",
	}
}

// fewest is how many agents it takes, beside the first, to be a gathering.
const fewest = 3

// settled is how many seconds a target must be known before its crowd is judged.
const settled = 86400

// Examine weighs how many agents share the event's templates, its object and its target.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	dst = reworded(v, alike(v, dst))
	dst = detect.Crowded(v, v.Object, feature.CrowdAgents, feature.Minute, dst)
	dst = detect.Crowded(v, v.Object, feature.CrowdAgents, feature.TenMinutes, dst)
	if g := &v.Gathered; g.Entity != nil && g.Count >= fewest && v.SinceStart > settled {
		f := detect.Surprise("new_agents_at_one_object", fmt.Sprintf("%.0f agents of different kinds have come to do the same thing to one object within an hour", g.Count+1), g.Count+1, g.LogP)
		f.Entity = g.Entity
		dst = append(dst, f)
	}
	// A service that is new has no ordinary crowd yet.
	if v.Target != nil && v.Target.Last-v.Target.First > settled {
		dst = detect.Crowded(v, v.Target, feature.CrowdAgents, feature.Minute, dst)
		dst = detect.Crowded(v, v.Target, feature.CrowdFresh, feature.Minute, dst)
		dst = detect.Crowded(v, v.Target, feature.CrowdFresh, feature.TenMinutes, dst)
	}
	return dst
}

// alike weighs the templates of a text. Everybody uses this or that phrase of the day; what counts is how many agents
// share at least half of a text, so the finding is the median of its templates'. A structured object speaks for itself, and so
// does a link.
func alike(v *feature.View, dst []detect.Finding) []detect.Finding {
	var found [len(v.Templates)]detect.Finding
	n, texts := 0, 0
	for i, e := range v.Templates[:v.NumTemplates] {
		if v.Pages&(1<<i) != 0 {
			if e == nil {
				continue
			}
			if r, logP, ok := v.Shared.Spreading(e, v.SinceStart); ok {
				dst = append(dst, detect.Finding{Reading: r, Entity: e, Direct: true, LogP: logP,
					Text: fmt.Sprintf("%.0f agents have put one link into their texts within an hour, and had it from nobody before them", r.Observed)})
			}
			continue
		}
		texts++
		if e == nil || v.Replied {
			continue
		}
		if v.Objects&(1<<i) != 0 {
			if r, ok := v.Shared.Reach(e); ok {
				dst = append(dst, detect.Finding{Reading: r, Entity: e, LogP: tail.CountLogSF(r.Observed, r.Mean, r.Variance)})
			}
		}
		if r, ok := v.Shared.Joining(e, v.SinceStart); ok {
			found[n] = detect.Finding{Reading: r, Entity: e, LogP: tail.CountLogSF(r.Observed, r.Mean, r.Variance)}
			n++
		}
	}
	if half := (texts + 1) / 2; n > 0 && n >= half {
		slices.SortFunc(found[:n], func(a, b detect.Finding) int { return cmp.Compare(a.LogP, b.LogP) })
		dst = append(dst, found[half-1])
	}
	return dst
}

// reworded weighs how many wordings agents gave to one text within an hour and within a day. What many copy word by word
// is a notice; what everybody words anew was meant not to look like one text.
func reworded(v *feature.View, dst []detect.Finding) []detect.Finding {
	for k := range v.Like.Wordings {
		if r, logP, ok := v.Wordings(k); ok {
			dst = append(dst, detect.Finding{Reading: r, Entity: v.Like.Entity, Direct: true, LogP: logP})
		}
	}
	return dst
}
