package triage_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/triage"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestLifeOfAnAlert(t *testing.T) {
	var log []triage.Action
	state := triage.Derive(nil)
	if state.Stage != triage.Open || !state.Since.IsZero() {
		t.Fatalf("an alert that nobody touched is %+v", state)
	}
	for i, step := range []struct {
		kind       triage.Kind
		value, why string
		refused    string
		stage      triage.Stage
		verdict    triage.Verdict
	}{
		{triage.Acknowledge, "", "", "", triage.Acknowledged, ""},
		{triage.Acknowledge, "", "", "acknowledged already", triage.Acknowledged, ""},
		{triage.Assign, "kim", "", "", triage.Acknowledged, ""},
		{triage.Close, "perhaps", "", "verdict", triage.Acknowledged, ""},
		{triage.Close, "benign", "a new crawler of ours", "", triage.Closed, triage.Benign},
		{triage.Acknowledge, "", "", "reopen it first", triage.Closed, triage.Benign},
		{triage.Comment, "", "", "comment", triage.Closed, triage.Benign},
		{triage.Comment, "", "see the ticket", "", triage.Closed, triage.Benign},
		{triage.Close, "true", "it was not ours", "", triage.Closed, triage.True},
		{triage.Severity, "urgent", "", "severity", triage.Closed, triage.True},
		{triage.Severity, "critical", "", "", triage.Closed, triage.True},
		{triage.Reopen, "", "", "", triage.Open, ""},
		{triage.Reopen, "", "", "open already", triage.Open, ""},
		{"delete", "", "", "action", triage.Open, ""},
	} {
		a := triage.Action{ID: fmt.Sprint(i), AlertID: "a1", Time: noon.Add(time.Duration(i) * time.Second), Who: "sam",
			Kind: step.kind, Value: step.value, Why: step.why}
		next, err := state.Apply(a)
		if step.refused == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), step.refused) {
			t.Fatalf("step %d, %s %s: %v, want %q in it", i, step.kind, step.value, err, step.refused)
		}
		if err == nil {
			log = append(log, a)
		}
		state = next
		if state.Stage != step.stage || state.Verdict != step.verdict {
			t.Fatalf("step %d, %s %s: %s %s, want %s %s", i, step.kind, step.value, state.Stage, state.Verdict, step.stage, step.verdict)
		}
		if again := triage.Derive(log); again != state {
			t.Fatalf("step %d: derived %+v, applied %+v", i, again, state)
		}
	}
	if state.Assignee != "kim" || state.Severity != alert.Critical || state.Comments != 1 {
		t.Errorf("in the end %+v", state)
	}
}

// Whoever reads the actions, in whatever order the rows come, derives the same state.
func TestTheOrderOfRowsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "n")
		var log []triage.Action
		for i := range n {
			a := triage.Action{ID: fmt.Sprint(i), AlertID: "a", Who: "w",
				Time: noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "second")) * time.Second), // often the same
				Kind: rapid.SampledFrom(triage.Kinds()).Draw(t, "kind")}
			if a.Kind == triage.Close {
				a.Value = string(rapid.SampledFrom(triage.Verdicts()).Draw(t, "verdict"))
			}
			log = append(log, a)
		}
		if a, b := triage.Derive(log), triage.Derive(rapid.Permutation(log).Draw(t, "order")); a != b {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}

func TestActionsThatAreRefused(t *testing.T) {
	good := triage.Action{AlertID: "a", Who: "sam", Kind: triage.Comment, Why: "x"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*triage.Action){
		"alert": func(a *triage.Action) { a.AlertID = "" },
		"who":   func(a *triage.Action) { a.Who = " " },
		"why":   func(a *triage.Action) { a.Why = strings.Repeat("x", triage.MaxText+1) },
		"value": func(a *triage.Action) { a.Value = "x" },
		"utf":   func(a *triage.Action) { a.Why = "\xff" },
	} {
		a := good
		spoil(&a)
		if err := a.Check(); err == nil || !strings.Contains(strings.ToLower(err.Error()), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestSuppressionsMatch(t *testing.T) {
	a := &alert.Alert{Detector: "scraping", EntityKind: "agent", EntityID: "crawler-7", AgentIDs: []string{"crawler-7", "helper"},
		Cohort: "indexers", Title: "crawler-7 reads far more than usual", Evidence: []alert.Evidence{{Feature: "reads"}, {Feature: "denied"}}}
	for _, c := range []struct {
		s    triage.Suppression
		want bool
	}{
		{triage.Suppression{Detector: "scraping"}, true},
		{triage.Suppression{Detector: "burst"}, false},
		{triage.Suppression{EntityKind: "agent", EntityID: "crawler-7"}, true},
		{triage.Suppression{EntityKind: "source", EntityID: "crawler-7"}, false},
		{triage.Suppression{EntityID: "crawler"}, false},
		{triage.Suppression{Pattern: "crawler-*"}, true},
		{triage.Suppression{Pattern: "crawler-?"}, true},
		{triage.Suppression{Pattern: "help*"}, true},
		{triage.Suppression{Pattern: "entity:help*"}, false},
		{triage.Suppression{Pattern: "cohort:index*"}, true},
		{triage.Suppression{Pattern: "title:*far more*"}, true},
		{triage.Suppression{Pattern: "feature:denied"}, true},
		{triage.Suppression{Pattern: "feature:d*", Detector: "burst"}, false},
		{triage.Suppression{Pattern: "urn:*"}, false}, // not a field's name: a glob over ids
		{triage.Suppression{}, false},
		{triage.Suppression{EntityKind: "agent"}, false},
	} {
		if got := c.s.Matches(a); got != c.want {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
}

func TestRulesCountWhileTheyLast(t *testing.T) {
	a := &alert.Alert{Detector: "burst", EntityKind: "agent", EntityID: "x"}
	rules := triage.NewRules([]triage.Suppression{
		{ID: "1", Revision: 2, Time: noon, Detector: "burst", Removed: true},
		{ID: "1", Revision: 1, Time: noon, Detector: "burst"},
		{ID: "2", Revision: 1, Time: noon.Add(time.Second), EntityID: "x", Until: noon.Add(time.Hour)},
		{ID: "3", Revision: 1, Time: noon.Add(time.Minute), EntityID: "x", Until: noon.Add(3 * time.Hour)},
	})
	for _, c := range []struct {
		at   time.Time
		want string
	}{{noon, "2"}, {noon.Add(time.Hour), "3"}, {noon.Add(3 * time.Hour), ""}} {
		got := ""
		if s := rules.Hiding(a, c.at); s != nil {
			got = s.ID
		}
		if got != c.want {
			t.Errorf("at %s: rule %q, want %q", c.at, got, c.want)
		}
	}
	if s := (*triage.Rules)(nil).Hiding(a, noon); s != nil {
		t.Error("no rules hide something")
	}
}

func TestSuppressionsThatAreRefused(t *testing.T) {
	good := triage.Suppression{Who: "sam", Why: "ours", EntityKind: "agent", EntityID: "x", Until: noon.Add(time.Hour)}
	if err := good.Check(noon); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*triage.Suppression){
		"who":         func(s *triage.Suppression) { s.Who = "" },
		"why":         func(s *triage.Suppression) { s.Why = "" },
		"every alert": func(s *triage.Suppression) { s.EntityID = "" },
		"alone would": func(s *triage.Suppression) { s.EntityID, s.Pattern = "", "title:**" },
		"entity_kind": func(s *triage.Suppression) { s.EntityKind = "robot" },
		"until":       func(s *triage.Suppression) { s.Until = noon },
		"pattern":     func(s *triage.Suppression) { s.Pattern = strings.Repeat("x", 300) },
	} {
		s := good
		spoil(&s)
		if err := s.Check(noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A glob is the regular expression with the same meaning.
func TestGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?é.")), 0, 8, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab*é.")), 0, 12, -1).Draw(t, "s")
		re := regexp.MustCompile("^(?s:" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern)) + ")$")
		if got, want := triage.Glob(pattern, s), re.MatchString(s); got != want {
			t.Fatalf("%q on %q: %v, want %v", pattern, s, got, want)
		}
	})
}
