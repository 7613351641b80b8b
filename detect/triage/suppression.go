package triage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/astray-dev/astray/detect/alert"
)

// Suppression is a rule that allows what it matches: such alerts are stored and marked, and nobody is called. It wins
// over everything else, the severity of an alert included. An empty field matches anything, all that are filled
// must match.
//
// Pattern is a glob over the whole text, in which * stands for any run of characters and ? for one; upper and lower
// case differ. It is matched against the ids of the entity and of the agents involved, or against another
// field of the alert when it begins with its name and a colon: cohort:, title:, reason:, feature:, entity:
// (what stands after it is the glob). "feature:" looks at every piece of evidence.
type Suppression struct {
	ID         string
	Revision   uint64 // of two revisions of one id the higher counts
	Time       time.Time
	Who, Why   string
	Detector   string
	EntityKind string
	EntityID   string
	Pattern    string
	Until      time.Time // it matches before; zero: for ever
	Removed    bool
}

var patternFields = []string{"cohort", "title", "reason", "feature", "entity"}

// Check reports whether the rule is well formed, naming the field that is not. now is the time it is made at.
func (s Suppression) Check(now time.Time) error {
	if err := text("who", s.Who, 1, MaxName); err != nil {
		return err
	}
	if err := text("why", s.Why, 1, MaxText); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{{"detector", s.Detector}, {"entity_id", s.EntityID}, {"pattern", s.Pattern}} {
		if err := text(f.name, f.value, 0, MaxName); err != nil {
			return err
		}
	}
	if s.Removed {
		return nil
	}
	kinds := []string{alert.KindAgent, alert.KindCredential, alert.KindSource, alert.KindTemplate}
	switch {
	case s.EntityKind != "" && !slices.Contains(kinds, s.EntityKind):
		return fmt.Errorf("entity_kind: %.40q is none of %s", s.EntityKind, strings.Join(kinds, ", "))
	case s.Detector == "" && s.EntityID == "" && s.Pattern == "":
		return errors.New("suppression: name a detector, an entity or a pattern; a rule without any would hide every alert")
	case s.Detector == "" && s.EntityID == "" && strings.Trim(after(s.Pattern), "*") == "":
		return fmt.Errorf("pattern: %q alone would hide every alert", s.Pattern)
	case !s.Until.IsZero() && !s.Until.After(now):
		return errors.New("until: lies in the past")
	}
	return nil
}

func after(pattern string) string {
	_, glob := splitPattern(pattern)
	return glob
}

// splitPattern returns the field a pattern looks at, "" for the ids, and its glob.
func splitPattern(p string) (field, glob string) {
	if name, rest, ok := strings.Cut(p, ":"); ok && slices.Contains(patternFields, name) {
		return name, rest
	}
	return "", p
}

// Active reports whether the rule counts at a time.
func (s *Suppression) Active(at time.Time) bool {
	return !s.Removed && (s.Until.IsZero() || at.Before(s.Until))
}

// Matches reports whether the rule, were it active, hides the alert.
func (s *Suppression) Matches(a *alert.Alert) bool {
	if s.Detector != "" && s.Detector != a.Detector || s.EntityKind != "" && s.EntityKind != a.EntityKind ||
		s.EntityID != "" && s.EntityID != a.EntityID {
		return false
	}
	if s.Pattern == "" {
		return s.Detector != "" || s.EntityID != "" // a rule that names nothing hides nothing
	}
	switch field, glob := splitPattern(s.Pattern); field {
	case "cohort":
		return Glob(glob, a.Cohort)
	case "title":
		return Glob(glob, a.Title)
	case "reason":
		return Glob(glob, a.Reason)
	case "feature":
		return slices.ContainsFunc(a.Evidence, func(e alert.Evidence) bool { return Glob(glob, e.Feature) })
	case "entity":
		return Glob(glob, a.EntityID)
	default:
		return Glob(glob, a.EntityID) || slices.ContainsFunc(a.AgentIDs, func(id string) bool { return Glob(glob, id) })
	}
}

// Rules are suppressions, ready to be asked. They do not change once made and may be shared.
type Rules struct{ rules []Suppression }

// NewRules takes suppressions in any order and revision; of each id the highest revision counts.
func NewRules(all []Suppression) *Rules { return &Rules{Current(all)} }

// Current returns of each id the highest revision, without the removed ones, the oldest rule first. Expired ones stay.
func Current(all []Suppression) []Suppression {
	newest := map[string]Suppression{}
	for _, s := range all {
		if old, ok := newest[s.ID]; !ok || s.Revision >= old.Revision {
			newest[s.ID] = s
		}
	}
	var out []Suppression
	for _, s := range newest {
		if !s.Removed {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Suppression) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Len is the number of rules, expired ones included.
func (r *Rules) Len() int {
	if r == nil {
		return 0
	}
	return len(r.rules)
}

// Hiding returns the oldest active rule that hides the alert, nil when none does. at is the present, not the time of the
// alert: a rule that has run out hides nothing more. A nil Rules hides nothing.
func (r *Rules) Hiding(a *alert.Alert, at time.Time) *Suppression {
	if r == nil {
		return nil
	}
	for i := range r.rules {
		if s := &r.rules[i]; s.Active(at) && s.Matches(a) {
			return s
		}
	}
	return nil
}

// Glob reports whether the whole of s matches pattern, in which * is any run of bytes and ? one character. It takes time
// in the order of len(pattern)·len(s) at worst, so that no pattern is a trap.
func Glob(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
