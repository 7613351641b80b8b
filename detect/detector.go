// Package detect holds the detector contract, the engine that runs detectors over a stream of events, and the
// life of an alert. Start reading here: Detector, then Engine.Observe.
package detect

import (
	"math"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/tail"
)

// Detector recognises one behaviour. It keeps no state of its own: what it needs to remember is a feature,
// counted once for all detectors in package feature.
type Detector interface {
	Info() Info
	// Examine looks at an agent, and at what it shares with others, right after an event of its was counted. It
	// appends what speaks for the behaviour, each piece with its tail probability under the baseline. Nothing
	// means either that there is nothing or that there is no basis to judge; both leave the score at 0.
	Examine(s *feature.Store, v *feature.View, dst []Finding) []Finding
}

// Info is how a detector declares itself.
type Info struct {
	Name       string
	Version    string
	Title      string // "%s" stands for the entity
	Severity   alert.Severity
	Rank       int // of two detectors whose evidence is equally rare, the higher rank names the episode
	Techniques []alert.Technique
	Next       string // what to check next, one imperative sentence
	Daily      bool   // it looks at days as a whole: what else was told of an agent within the day explains it
	Settles    bool   // it cannot speak before the stream has settled, and its calibration starts after that
	Slow       bool   // its evidence builds up over hours: within a day it is one episode
	Direct     bool   // what it reports is rare by itself: its probability is taken as it is
	Cause      bool   // it tells why an agent misbehaves: with less evidence it still names what others found
	General    bool   // other behaviours show it as well: it names an episode only when it is by far the clearest
	Amounts    bool   // it weighs how much of a thing is done, of which there is more now and then for good reasons
	Manner     bool   // it tells how a thing is done: what is done names the episode
	Ranks      bool   // it ranks and never alerts: it takes no share of the budget
	Across     Across // whether what it looks at crosses agents
	Where      string // SQL condition on events that narrows an entity's events to the behaviour's; empty for all
}

// grave reports whether what the detector tells must not go by unseen because it was told before.
func (i *Info) grave() bool { return i.Severity == alert.High || i.Severity == alert.Critical }

// Across says where a detector runs when there are several partitions: with the agents, behind the exchange, or both.
type Across uint8

const (
	Within Across = iota // it looks at agents alone
	Partly               // it looks at agents, and at what they share when View.Linked is set
	Wholly               // it looks only at what agents share
)

// Finding is one feature that departs from its baseline.
type Finding struct {
	feature.Reading
	LogP   float64         // natural logarithm of P(at least this much | baseline)
	Entity *feature.Entity // what misbehaves, nil for the agent of the event
	Known  bool            // how many agent-days show as much is known beforehand: LogP is taken as it is, from the first day on
	Direct bool            // it is rare by itself, whatever else its detector looks at: as Info.Direct
	Hint   bool            // it ranks an agent but does not alert: being unlike others is no misbehaviour
	Names  bool            // where another detector tells how a thing is done, it tells what is done (Info.Manner)
	Text   string          // what to say instead of the count, without a full stop; "" to say the count
	Usual  string          // what would have been normal, where no band says so; "" to say how unlikely it is

	Share float64 // part of the window's events that it accounts for, 0 when that is not known

	by     int     // index of the detector, set by the engine
	logP   float64 // calibrated LogP, set by the engine
	little bool    // less than is material: it does not alert, but what it is part of does
	rank   float64 // by which findings of all detectors compare, set by the engine
}

// Counts appends the findings of one feature, over all window lengths it is counted at.
func Counts(s *feature.Store, v *feature.View, f feature.Feature, dst []Finding) []Finding {
	if v.Raised(f) { // nearly never
		for sc := range feature.NumScales {
			dst = Count(s, v, f, sc, dst)
		}
	}
	return dst
}

// Count appends the finding of one feature over one window length.
func Count(s *feature.Store, v *feature.View, f feature.Feature, sc feature.Scale, dst []Finding) []Finding {
	r, ok := s.Read(v, f, sc)
	if !ok {
		return dst
	}
	n := len(dst)
	dst = Weigh(s, v, r, dst)
	if len(dst) > n && r.Observed < material(f, sc) {
		dst[n].Hint, dst[n].little = true, true
	}
	return dst
}

// material is how much there must be of a feature in a short window for an alert to be worth somebody's time, however unlikely it
// is: whoever hardly ever does anything soon does thirty times as much. If it goes on, longer windows show it.
func material(f feature.Feature, sc feature.Scale) float64 {
	switch f {
	case feature.Events, feature.Reads, feature.NewReads, feature.Repeats:
		switch sc {
		case feature.Minute:
			return 30
		case feature.TenMinutes:
			return 50
		}
	}
	return 0
}

// Weigh appends the finding of a reading, with what the agent's peers show at the same time allowed for.
func Weigh(s *feature.Store, v *feature.View, r feature.Reading, dst []Finding) []Finding {
	return WeighAs(s, v, r, r.Observed, dst)
}

// WeighAs is Weigh for a reading of which only so much counts; it is shown as it is. Nothing is appended where too little counts to be
// remarkable.
func WeighAs(s *feature.Store, v *feature.View, r feature.Reading, counted float64, dst []Finding) []Finding {
	shown := r.Observed
	if r.Observed = counted; counted < shown && counted <= r.Mean {
		return dst
	}
	f := Finding{Reading: r, LogP: s.Weigh(v, &r, logSF(&r)), Share: v.Agent.Share(&r)}
	f.Observed = shown
	return append(dst, f)
}

// Departure is the natural logarithm of the probability of as much as a reading shows, whatever the agent's peers show.
func Departure(r feature.Reading) float64 { return logSF(&r) }

// logSF is the logarithm of the probability of as much as the reading shows.
func logSF(r *feature.Reading) float64 {
	if r.LogSD > 0 {
		return tail.NormalLogSF((math.Log1p(r.Observed) - r.LogMean) / r.LogSD)
	}
	return tail.CountLogSF(math.Floor(r.Observed), r.Mean, r.Variance)
}

// Crowded appends the finding of what is counted of a shared entity over one window length.
func Crowded(v *feature.View, e *feature.Entity, c feature.Crowd, sc feature.Scale, dst []Finding) []Finding {
	if e == nil {
		return dst
	}
	if r, ok := v.Shared.Read(e, c, sc); ok {
		dst = append(dst, Finding{Reading: r, LogP: tail.CountLogSF(math.Floor(r.Observed), r.Mean, r.Variance), Entity: e})
	}
	return dst
}

// Newness is −log10 of the probability of a new value: how often the agent takes up a new one at all, and half of how
// unlikely this one is among those that its peers use. Without a basis for the first it is all of the second.
func Newness(s *feature.Store, v *feature.View, f feature.Feature, surprise float64) float64 {
	if surprise <= 0 {
		return 0
	}
	rate, ok := s.NewRate(v.Agent, f)
	if !ok {
		return surprise
	}
	return -math.Log10(math.Min(1, rate)) + math.Max(surprise-2, 0)/2
}

// Surprise makes a finding of an event whose probability is known rather than its count.
func Surprise(name, text string, observed float64, logP float64) Finding {
	return Finding{Reading: feature.Reading{Name: name, Scale: feature.Hour, Observed: observed}, LogP: logP, Text: text}
}
