package demo

import (
	"fmt"
	"io"
	"time"
)

// Lines is the screen of what is not a terminal: a line for each thing that happens, and one for the state every
// few seconds.
type Lines struct {
	Out   io.Writer
	Every time.Duration
	Now   func() time.Time

	last    time.Time
	part    int
	what    string
	phase   Phase
	told    map[string]bool
	queried bool
	triage  string
	trouble string
	err     error
}

func (l *Lines) printf(form string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.Out, form+"\n", args...)
	}
}

// Show prints what is new.
func (l *Lines) Show(s *State) {
	if l.told == nil {
		l.told, l.phase = map[string]bool{}, Starting
	}
	if s.Phase == Starting || s.Phase == History && !s.File {
		what := s.What
		if s.Phase == History {
			what = "history"
		}
		part := int(max(s.Progress, 0) * 10)
		if what != "" && (what != l.what || part != l.part) {
			if s.Progress < 0 {
				l.printf("%s", what)
			} else {
				l.printf("%s: %d %%", what, part*10)
			}
		}
		l.what, l.part = what, part
	}
	if len(s.Query) > 0 && !l.queried {
		l.queried = true
		l.printf("query the database with:")
		for _, q := range s.Query {
			l.printf("  %s", q)
		}
	}
	if s.Triage != l.triage {
		l.triage = s.Triage
		l.printf("%s", s.Triage)
	}
	if s.Phase != l.phase {
		switch s.Phase {
		case Live:
			l.printf("%s", s.Pace)
		case Draining:
			l.printf("ending: what is on the topic is worked through")
		}
		l.phase = s.Phase
	}
	for _, a := range s.Alerts {
		if !l.told[a.ID] {
			l.told[a.ID] = true
			l.printf("ALERT %s %s %s %s: %s%s", a.Time.UTC().Format("2006-01-02 15:04:05"), a.Severity, a.Detector, a.Entity, a.Reason, verdict(a))
		}
	}
	if s.Trouble != l.trouble {
		if l.trouble = s.Trouble; s.Trouble != "" {
			l.printf("database: %s", s.Trouble)
		}
	}
	if now := l.Now(); s.Phase >= History && now.Sub(l.last) >= l.Every {
		l.last = now
		line := fmt.Sprintf("events=%d rate=%.0f/s lag=%.0f agents=%d dead=%d alerts=%d", s.Stored, s.Rate, s.Lag, s.Agents, s.Dead, len(s.Alerts))
		if !s.Clock.IsZero() {
			line = s.Clock.UTC().Format("2006-01-02 15:04") + " " + line
		}
		if s.Attacks != nil {
			line += fmt.Sprintf(" attacks=%d found=%d", len(s.Attacks), len(s.Found))
		}
		l.printf("%s", line)
	}
}

// verdict is what the truth says of an alert, to be read after it.
func verdict(a *Told) string {
	switch a.Judgement {
	case Right:
		return fmt.Sprintf(" [attack found after %s: %s]", since(a.After), a.Attack)
	case Elsewise:
		return fmt.Sprintf(" [an attack, of another kind: %s]", a.Attack)
	case False:
		return " [false: there was no attack]"
	}
	return ""
}

// Close tells whether all could be printed.
func (l *Lines) Close() error { return l.err }
