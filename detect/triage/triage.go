// Package triage is what people decide about alerts: the life cycle of an alert, verdicts, and suppressions. It is
// plain logic over plain data, the same for the command line, the Grafana app and the running engine.
//
// Nothing that was decided is ever changed or removed. An Action is appended, and the State of an alert is derived
// from its actions; a suppression that is to end gets a further revision that says so. Two people who act at once
// therefore both leave their action, and everybody derives the same state.
package triage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/astray-dev/astray/detect/alert"
)

// Kind is what was done with an alert. The text is what the table alert_actions holds.
type Kind string

const (
	Acknowledge Kind = "acknowledge"
	Assign      Kind = "assign" // value: to whom, "" to nobody
	Comment     Kind = "comment"
	Close       Kind = "close" // value: a Verdict
	Reopen      Kind = "reopen"
	Severity    Kind = "severity" // value: an alert.Severity
)

// Kinds lists all kinds of actions.
func Kinds() []Kind { return []Kind{Acknowledge, Assign, Comment, Close, Reopen, Severity} }

// Verdict is what a closed alert turned out to be.
type Verdict string

const (
	True   Verdict = "true"   // the agent had gone astray
	Benign Verdict = "benign" // it had not; the engine learns what it saw as normal
	Unsure Verdict = "unsure"
)

// Verdicts lists all verdicts.
func Verdicts() []Verdict { return []Verdict{True, Benign, Unsure} }

// Limits, in bytes.
const (
	MaxName = 256  // who, to whom, ids
	MaxText = 4096 // why
)

// Action is one row of the audit trail: who did what, when and why.
type Action struct {
	ID      string // tells actions of the same moment apart
	AlertID string
	Time    time.Time
	Who     string
	Kind    Kind
	Value   string
	Why     string
}

// Stage of an alert's life.
type Stage string

const (
	Open         Stage = "open"
	Acknowledged Stage = "acknowledged"
	Closed       Stage = "closed"
)

// State is where an alert stands.
type State struct {
	Stage    Stage
	Assignee string         // "" nobody
	Verdict  Verdict        // "" unless closed
	Severity alert.Severity // "" unless an analyst changed it
	Comments int
	Actions  int
	Since    time.Time // of the action that led to Stage, zero for an alert that nobody touched
}

// Derive returns the state that the actions of one alert lead to. Their order does not matter: they take effect in
// the order of their times, those of one moment in the order of their ids. It is what the view alerts_latest does in SQL.
func Derive(actions []Action) State {
	sorted := slices.Clone(actions)
	slices.SortFunc(sorted, func(a, b Action) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	s := State{Stage: Open, Actions: len(sorted)}
	for _, a := range sorted {
		switch a.Kind {
		case Acknowledge:
			s.Stage, s.Verdict, s.Since = Acknowledged, "", a.Time
		case Close:
			s.Stage, s.Verdict, s.Since = Closed, Verdict(a.Value), a.Time
		case Reopen:
			s.Stage, s.Verdict, s.Since = Open, "", a.Time
		case Assign:
			s.Assignee = a.Value
		case Severity:
			s.Severity = alert.Severity(a.Value)
		case Comment:
			s.Comments++
		}
	}
	return s
}

// Check reports whether the action is well formed, naming the field that is not.
func (a Action) Check() error {
	if err := text("alert", a.AlertID, 1, MaxName); err != nil {
		return err
	}
	if err := text("who", a.Who, 1, MaxName); err != nil {
		return err
	}
	if err := text("why", a.Why, 0, MaxText); err != nil {
		return err
	}
	switch a.Kind {
	case Assign:
		return text("assignee", a.Value, 0, MaxName)
	case Close:
		if !slices.Contains(Verdicts(), Verdict(a.Value)) {
			return fmt.Errorf("verdict: %.40q is none of true, benign, unsure", a.Value)
		}
	case Severity:
		if !slices.Contains(severities, alert.Severity(a.Value)) {
			return fmt.Errorf("severity: %.40q is none of low, medium, high, critical", a.Value)
		}
	case Comment:
		if strings.TrimSpace(a.Why) == "" {
			return fmt.Errorf("comment: is empty")
		}
		fallthrough
	case Acknowledge, Reopen:
		if a.Value != "" {
			return fmt.Errorf("value: %s takes none", a.Kind)
		}
	default:
		return fmt.Errorf("action: %.40q is none of acknowledge, assign, comment, close, reopen, severity", a.Kind)
	}
	return nil
}

var severities = []alert.Severity{alert.Low, alert.Medium, alert.High, alert.Critical}

// Apply reports whether the action may be taken in the state, and what state it leads to. It is a courtesy to the one
// who acts: an action of somebody else that arrives meanwhile is kept and takes effect all the same.
func (s State) Apply(a Action) (State, error) {
	if err := a.Check(); err != nil {
		return s, err
	}
	switch {
	case a.Kind == Acknowledge && s.Stage == Closed:
		return s, fmt.Errorf("the alert is closed (%s); reopen it first", s.Verdict)
	case a.Kind == Acknowledge && s.Stage == Acknowledged:
		return s, fmt.Errorf("the alert is acknowledged already")
	case a.Kind == Reopen && s.Stage == Open:
		return s, fmt.Errorf("the alert is open already")
	}
	next := Derive([]Action{a})
	out := s
	out.Actions++
	switch a.Kind {
	case Acknowledge, Close, Reopen:
		out.Stage, out.Verdict, out.Since = next.Stage, next.Verdict, next.Since
	case Assign:
		out.Assignee = next.Assignee
	case Severity:
		out.Severity = next.Severity
	case Comment:
		out.Comments++
	}
	return out, nil
}

func text(field, s string, least, most int) error {
	switch {
	case len(strings.TrimSpace(s)) < least:
		return fmt.Errorf("%s: is needed", field)
	case len(s) > most:
		return fmt.Errorf("%s: is at most %d bytes", field, most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s: is not valid UTF-8", field)
	}
	return nil
}

// Judgement is a verdict on an alert, for one of the agents involved, with the span of time it speaks of.
type Judgement struct {
	ID       string // of the action
	Time     time.Time
	AlertID  string
	AgentID  string
	Verdict  Verdict
	From, To time.Time
}
