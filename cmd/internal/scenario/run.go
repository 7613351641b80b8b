package scenario

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/file"
)

// Outcome is what came of a scenario with one seed.
type Outcome struct {
	Scenario *Scenario
	Seed     uint64
	Events   int
	Alerts   []alert.Alert // as they stood in the end, in the order of their times
	Failures []Failure     // none: it did as expected
	// Closest is how near each detector came, of those that spoke about the agents of the incident while it went on.
	Closest []Closest
}

// Failure is one difference between what was expected and what came.
type Failure struct {
	Line     int    // of the expectation in the file, 0 for alerts that nobody expected
	Expected string // "" for nothing
	Came     []string
}

// Closest is the rarest evidence of a detector.
type Closest struct {
	detect.Look
	Needed float64 // raw score from which the detector would have alerted
	What   string  // the evidence in words
}

func (c Closest) record(l *detect.Look, e *detect.Engine) (Closest, bool) {
	// Hints are for ranking: a look that could alert is nearer than one that never could.
	if c.Detector != "" && (l.P > c.P || l.P == c.P && l.Raw <= c.Raw) {
		return c, false
	}
	n := Closest{Look: *l, Needed: e.Needed(l.Detector, &l.Finding)}
	n.What = said(l.Finding)
	return n, true
}

func said(f detect.Finding) string {
	if f.Text != "" {
		return f.Text
	}
	return fmt.Sprintf("%.4g %s in %s where %.3g were expected", f.Observed, strings.ReplaceAll(f.Name, "_", " "), clock(f.Scale.Duration()), f.Mean)
}

// Run runs the scenario with one seed.
func (s *Scenario) Run(ctx context.Context, seed uint64) (*Outcome, error) {
	events, err := s.events(seed)
	if err != nil {
		return nil, err
	}
	if s.Recorded != "" {
		if events, err = s.after(events); err != nil {
			return nil, err
		}
	}
	detectors, err := catalog.Select(s.Detectors...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	start := s.Start.UnixMicro()
	begins := start + s.begins().Microseconds()
	involved := map[string]bool{}
	for _, list := range [][]activity{s.incident} {
		for _, a := range list {
			for _, i := range a.who {
				involved[s.agents[i].id] = true
			}
		}
	}
	for _, c := range s.changes {
		for _, i := range c.who {
			involved[s.agents[i].id] = true
		}
	}
	closest := map[string]Closest{}
	near := make([]map[string]Closest, len(s.Expect)) // by detector
	for i := range near {
		near[i] = map[string]Closest{}
	}
	var engine *detect.Engine
	engine = detect.New(detect.Config{Budget: s.Budget, Watch: func(l *detect.Look) {
		if l.Time >= begins && involved[l.AgentID] {
			if n, ok := closest[l.Detector].record(l, engine); ok {
				closest[l.Detector] = n
			}
		}
		for i := range s.Expect {
			x := &s.Expect[i]
			from := start + x.Since.Microseconds()
			if l.Time >= from && l.Time <= from+x.Within.Microseconds() && slices.Contains(x.Agents, l.AgentID) {
				if n, ok := near[i][l.Detector].record(l, engine); ok {
					near[i][l.Detector] = n
				}
			}
		}
	}}, detectors...)
	found := map[string]alert.Alert{}
	keep := func(a *alert.Alert) { found[a.ID] = *a }
	for i := range events {
		if i%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		engine.Observe(&events[i])
		engine.Alerts(keep)
	}
	engine.Finish()
	engine.Alerts(keep)
	out := &Outcome{Scenario: s, Seed: seed, Events: len(events)}
	for _, a := range found {
		out.Alerts = append(out.Alerts, a)
	}
	slices.SortFunc(out.Alerts, func(a, b alert.Alert) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	for _, c := range closest {
		out.Closest = append(out.Closest, c)
	}
	slices.SortFunc(out.Closest, func(a, b Closest) int {
		return cmp.Or(cmp.Compare(b.Raw/b.Needed, a.Raw/a.Needed), cmp.Compare(a.Detector, b.Detector))
	})
	out.judge(near)
	return out, nil
}

// after puts the scenario's events in their places among recorded ones; the scenario starts with the recording.
func (s *Scenario) after(events []event.Event) ([]event.Event, error) {
	in, err := file.Open(s.Recorded, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: recorded: %w", s.Path, err)
	}
	defer in.Close()
	var all []event.Event
	err = file.Batches(in, math.MaxInt64/2, func(b *file.Batch) error {
		for i := range b.Events {
			all = append(all, *b.Events[i].Clone())
		}
		if len(b.Rejected) > 0 {
			return b.Rejected[0]
		}
		if len(all) > maxEvents {
			return fmt.Errorf("more than %d events", maxEvents)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: recorded: %s: %w", s.Path, s.Recorded, err)
	}
	if len(all) > 0 {
		first := slices.MinFunc(all, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) }).Time
		shift := s.Start.UnixMicro() - first
		for i := range all {
			all[i].Time += shift
		}
	}
	all = append(all, events...)
	slices.SortStableFunc(all, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) })
	return all, nil
}

// judge holds the alerts against what was expected. An expectation takes one alert, and further ones only while they name
// more of its agents; what no expectation takes is one of the others.
func (o *Outcome) judge(near []map[string]Closest) {
	s := o.Scenario
	taken := make([]bool, len(o.Alerts))
	shown := make([]bool, len(o.Alerts)) // in another failure
	for i := range s.Expect {
		x := &s.Expect[i]
		from := s.Start.Add(x.Since)
		named := map[string]bool{}
		type candidate struct {
			place int
			text  string
		}
		var almost []candidate
		for j := range o.Alerts {
			a := &o.Alerts[j]
			about := mutual(x.Agents, a)
			if len(about) == 0 || taken[j] {
				continue
			}
			var why string
			switch {
			case !slices.Contains(x.Detectors, a.Detector):
				why = "by another detector"
			case a.Time.Before(from):
				why = "before anything happened"
			case a.Time.After(from.Add(x.Within)):
				why = fmt.Sprintf("too late, after %s", clock(a.Time.Sub(from)))
			case len(x.Severities) > 0 && !slices.Contains(x.Severities, string(a.Severity)):
				why = "of severity " + string(a.Severity)
			}
			if why != "" {
				almost = append(almost, candidate{j, fmt.Sprintf("%s: %s", why, o.line(a))})
				continue
			}
			before := len(named)
			for _, id := range about {
				named[id] = true
			}
			if before == 0 || len(named) > before && before < x.Least {
				taken[j] = true
			}
		}
		if len(named) >= x.Least {
			continue
		}
		f := Failure{Line: x.Line, Expected: x.String()}
		if len(named) == 0 {
			f.Came = append(f.Came, "no such alert")
		} else {
			var missing []string
			for _, id := range x.Agents {
				if !named[id] {
					missing = append(missing, id)
				}
			}
			f.Came = append(f.Came, fmt.Sprintf("only %d of the %d agents are named, without %s", len(named), len(x.Agents), short(missing)))
		}
		for _, d := range x.Detectors {
			c, ok := near[i][d]
			if !ok {
				f.Came = append(f.Came, d+" saw nothing to speak of")
				continue
			}
			f.Came = append(f.Came, c.why(s.Start))
		}
		for _, a := range almost {
			f.Came = append(f.Came, a.text)
			shown[a.place] = true
		}
		o.Failures = append(o.Failures, f)
	}
	var others []string
	for j := range o.Alerts {
		if !taken[j] && !shown[j] {
			others = append(others, o.line(&o.Alerts[j]))
		}
	}
	if len(others) > s.Others {
		f := Failure{Came: others}
		switch {
		case s.Others > 0:
			f.Expected = fmt.Sprintf("at most %d other alerts", s.Others)
		case len(s.Expect) == 0:
			f.Expected = "silence"
		default:
			f.Expected = "no other alert"
		}
		o.Failures = append(o.Failures, f)
	}
}

func mutual(agents []string, a *alert.Alert) []string {
	var out []string
	for _, id := range agents {
		if slices.Contains(a.AgentIDs, id) || a.EntityKind == alert.KindAgent && a.EntityID == id {
			out = append(out, id)
		}
	}
	return out
}

// String is the expectation in words.
func (x *Expectation) String() string {
	s := fmt.Sprintf("%s about %s within %s from %s", strings.Join(x.Detectors, " or "), short(x.Agents), clock(x.Within), clock(x.Since))
	if x.Least < len(x.Agents) {
		s = fmt.Sprintf("%s, %d of them at least", s, x.Least)
	}
	if len(x.Severities) > 0 {
		s += ", severity " + strings.Join(x.Severities, " or ")
	}
	return s
}

func short(ids []string) string {
	if len(ids) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:3], ", "), len(ids)-3)
	}
	return strings.Join(ids, ", ")
}

// line is an alert on one line.
func (o *Outcome) line(a *alert.Alert) string {
	who := a.EntityID
	if a.EntityKind != alert.KindAgent {
		who = fmt.Sprintf("%s %s of %s", a.EntityKind, a.EntityID, short(a.AgentIDs))
	}
	return plain(fmt.Sprintf("%s about %s at %s, score %.1f: %s", a.Detector, who, clock(a.Time.Sub(o.Scenario.Start)), a.Score, a.Reason), 400)
}

// plain is text safe for a terminal, cut to n characters.
func plain(s string, n int) string {
	var b strings.Builder
	i := 0
	for _, r := range s {
		if i++; i > n {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// why says what a detector had, and why it was silent.
func (c *Closest) why(start time.Time) string {
	at := clock(time.UnixMicro(c.Time).Sub(start))
	s := fmt.Sprintf("%s scored %.2f at most about %s at %s, where %.2f were needed: %s", c.Detector, c.Raw, c.AgentID, at, c.Needed, c.What)
	switch {
	case c.Held == "":
		s += "; enough for an alert, or for a part in one"
	case c.P > c.Threshold:
		s += fmt.Sprintf("; p = %.2g, and its share of the budget is %.2g", c.P, c.Threshold)
	default:
		s += "; " + c.Held
	}
	return plain(s, 500)
}

// clock is a span of time as a person writes it: 3d 10h 20m.
func clock(d time.Duration) string {
	if d < 0 {
		return "-" + clock(-d)
	}
	if d < time.Minute {
		return fmt.Sprintf("%.3gs", d.Seconds())
	}
	d = d.Round(time.Second)
	var parts []string
	for _, u := range []struct {
		name string
		of   time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d / u.of; n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
			d -= n * u.of
		}
	}
	return strings.Join(parts, " ")
}

// String says what went wrong, as a diff: lines with - were expected, lines with + came. It is empty when nothing did.
func (o *Outcome) String() string {
	var b strings.Builder
	for _, f := range o.Failures {
		place := o.Scenario.Path
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, f.Line)
		}
		fmt.Fprintf(&b, "%s (seed %d)\n- %s\n", place, o.Seed, f.Expected)
		for _, c := range f.Came {
			fmt.Fprintf(&b, "+ %s\n", c)
		}
	}
	return b.String()
}

// Margins says, a line a detector, how near each came to an alert.
func (o *Outcome) Margins() string {
	var b strings.Builder
	for i := range o.Closest {
		fmt.Fprintf(&b, "  %s\n", o.Closest[i].why(o.Scenario.Start))
	}
	return b.String()
}

// mark is how a scenario is told from other YAML.
var mark = regexp.MustCompile(`(?m)^(expect|incident|extends):`)

// Files returns the scenarios among the paths: files as they are, and of directories the scenarios in them and in the
// directories named testdata below them, without those that are only extended.
func Files(paths ...string) ([]string, error) {
	var out []string
	for _, p := range paths {
		stat, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !stat.IsDir() {
			out = append(out, p)
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
				return fs.SkipDir
			}
			inside := filepath.Base(filepath.Dir(path)) == "testdata" || filepath.Dir(path) == filepath.Clean(p)
			if d.IsDir() || !inside || filepath.Ext(path) != ".yaml" || strings.HasSuffix(path, BaseSuffix) {
				return nil
			}
			// Other files lie in testdata, too.
			source, err := os.ReadFile(path)
			if mark.Match(source) {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
