package demo

import (
	"slices"
	"time"

	"github.com/astray-dev/astray/ingest/simulate"
)

// grace is how long after an attack's end an alert about it still counts.
const grace = 5 * time.Minute

// Judgement says what an alert is about, by the truth of the world.
type Judgement uint8

const (
	Unjudged Judgement = iota // there is no truth to compare with
	Right                     // it names an attacker, and its detector is one that should
	Elsewise                  // it names an attacker, in the words of another detector
	False                     // it touches no attack
)

// Told is an alert as the demo shows it.
type Told struct {
	ID, Detector, Severity, Entity, Reason string
	Agents                                 []string
	Time                                   time.Time

	Judgement Judgement
	Attack    string // kind and note of the attack it touches
	After     time.Duration
}

// judge compares alerts with the attacks that began before until, and returns how many of these were found: an
// alert of an accepted detector names one of the agents between the start and five minutes after the end.
func judge(truth *simulate.Truth, alerts []*Told, until time.Time) (attacks []simulate.Attack, found map[string]bool) {
	found = map[string]bool{}
	if truth == nil {
		return nil, found
	}
	for _, k := range truth.Attacks {
		if k.Start <= until.Unix() {
			attacks = append(attacks, k)
		}
	}
	for _, a := range alerts {
		a.Judgement, a.Attack = False, ""
		for _, k := range attacks {
			start := time.Unix(k.Start, 0)
			if a.Time.Before(start) || a.Time.After(time.Unix(k.End, 0).Add(grace)) ||
				!slices.Contains(k.Agents, a.Entity) && !slices.ContainsFunc(a.Agents, func(who string) bool { return slices.Contains(k.Agents, who) }) {
				continue
			}
			right := slices.Contains(k.Accept, a.Detector)
			if right {
				found[k.ID] = true
			}
			if a.Judgement == Right {
				continue
			}
			a.Judgement, a.Attack, a.After = Elsewise, k.Kind+": "+k.Note, a.Time.Sub(start)
			if right {
				a.Judgement = Right
			}
		}
	}
	return attacks, found
}
