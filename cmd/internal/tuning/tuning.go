// Package tuning says what a changed configuration would do before it goes live: two engines see the same events, and
// their alerts are held against each other, and against the truth where it is known.
package tuning

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

// Setting is what of a configuration decides which alerts people see.
type Setting struct {
	Budget       float64
	Detectors    []string // none: all
	Gap          time.Duration
	Suppressions []triage.Suppression
}

// Trial runs two settings over one stream.
type Trial struct {
	engines [2]*detect.Engine
	gap     time.Duration
	rules   [2]*triage.Rules
	found   [2]map[string]alert.Alert
	days    map[uint64]struct{}
	events  int64
}

// New returns a trial of a setting against the one that is in force.
func New(current, changed Setting) (*Trial, error) {
	t := &Trial{days: map[uint64]struct{}{}, gap: max(current.Gap, changed.Gap)}
	for i, s := range [...]Setting{current, changed} {
		detectors, err := catalog.Select(s.Detectors...)
		if err != nil {
			return nil, err
		}
		t.engines[i] = detect.New(detect.Config{Budget: s.Budget, Gap: s.Gap}, detectors...)
		t.rules[i] = triage.NewRules(s.Suppressions)
		t.found[i] = map[string]alert.Alert{}
	}
	return t, nil
}

// Observe shows both engines the events, in order. The strings of the events must stay valid.
func (t *Trial) Observe(events []event.Event) {
	var wait sync.WaitGroup
	for i, e := range t.engines {
		wait.Go(func() {
			for j := range events {
				e.Observe(&events[j])
				e.Alerts(t.keep(i))
			}
		})
	}
	var key [16]byte
	for j := range events {
		binary.LittleEndian.PutUint64(key[:], xxhash.Sum64String(events[j].AgentID))
		binary.LittleEndian.PutUint64(key[8:], uint64(events[j].Time/86_400_000_000))
		t.days[xxhash.Sum64(key[:])] = struct{}{}
	}
	t.events += int64(len(events))
	wait.Wait()
}

func (t *Trial) keep(i int) func(*alert.Alert) {
	return func(a *alert.Alert) { t.found[i][a.ID] = *a }
}

// Result is what the changed setting would do.
type Result struct {
	Events    int64
	AgentDays int // with an event
	Hidden    [2]int
	Rows      []Row // by detector, in the order of their names
	Added     []Change
	Removed   []Change
	Renamed   []Change // of the same episode, by another detector
}

// Row is the count of a detector's alerts.
type Row struct {
	Detector           string
	Now, New           int
	Added, Removed     int
	NowRight, NewRight int // of them about an attack, where the truth is known
	NowFalse, NewFalse int
}

// Change is an alert that one setting gives and the other does not.
type Change struct {
	Alert  alert.Alert
	Was    string // detector that names it now, of a renamed one
	Attack string // the attack it is about, "" for none or when nothing is known
}

// grace is for how long after an attack's end an alert is still about it, as score_world.py has it.
const grace = 300 * time.Second

// Finish ends the stream and compares. truth is nil when it is not known.
func (t *Trial) Finish(truth *simulate.Truth) Result {
	var lists [2][]alert.Alert
	r := Result{Events: t.events, AgentDays: len(t.days)}
	for i, e := range t.engines {
		e.Finish()
		e.Alerts(t.keep(i))
		for _, a := range t.found[i] {
			// At the time of the alert: what was said of the past stays so, whenever it is asked.
			if t.rules[i].Hiding(&a, a.Time) != nil {
				r.Hidden[i]++
				continue
			}
			lists[i] = append(lists[i], a)
		}
		slices.SortFunc(lists[i], func(a, b alert.Alert) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	}
	rows := map[string]*Row{}
	row := func(detector string) *Row {
		if rows[detector] == nil {
			rows[detector] = &Row{Detector: detector}
		}
		return rows[detector]
	}
	about := func(a *alert.Alert) string { return attack(truth, a) }
	for i := range lists[0] {
		x := row(lists[0][i].Detector)
		x.Now++
		if truth != nil {
			count(about(&lists[0][i]), &x.NowRight, &x.NowFalse)
		}
	}
	for i := range lists[1] {
		x := row(lists[1][i].Detector)
		x.New++
		if truth != nil {
			count(about(&lists[1][i]), &x.NewRight, &x.NewFalse)
		}
	}
	partner := t.pair(lists[0], lists[1])
	kept := make([]bool, len(lists[1]))
	for i := range lists[0] {
		a := &lists[0][i]
		j := partner[i]
		if j < 0 {
			row(a.Detector).Removed++
			r.Removed = append(r.Removed, Change{Alert: *a, Attack: about(a)})
			continue
		}
		kept[j] = true
		if b := &lists[1][j]; b.Detector != a.Detector {
			r.Renamed = append(r.Renamed, Change{Alert: *b, Was: a.Detector, Attack: about(b)})
		}
	}
	for j := range lists[1] {
		if b := &lists[1][j]; !kept[j] {
			row(b.Detector).Added++
			r.Added = append(r.Added, Change{Alert: *b, Attack: about(b)})
		}
	}
	for _, x := range rows {
		r.Rows = append(r.Rows, *x)
	}
	slices.SortFunc(r.Rows, func(a, b Row) int { return cmp.Compare(a.Detector, b.Detector) })
	return r
}

func count(attack string, right, wrong *int) {
	if attack != "" {
		*right++
	} else {
		*wrong++
	}
}

// attack is the kind of the attack that an alert is about: it names one of its agents between its start and a while after
// its end.
func attack(truth *simulate.Truth, a *alert.Alert) string {
	if truth == nil {
		return ""
	}
	for i := range truth.Attacks {
		k := &truth.Attacks[i]
		if a.Time.Before(time.Unix(k.Start, 0)) || a.Time.After(time.Unix(k.End, 0).Add(grace)) {
			continue
		}
		if slices.ContainsFunc(k.Agents, func(id string) bool { return id == a.EntityID || slices.Contains(a.AgentIDs, id) }) {
			return k.Kind + ", " + k.Note
		}
	}
	return ""
}

// pair finds for each alert of a list the one of the other list that is about the same episode, -1 when there is none: ids tell
// only when the episode begins at the same event, which a changed threshold moves.
func (t *Trial) pair(before, after []alert.Alert) []int {
	out := make([]int, len(before))
	taken := make([]bool, len(after))
	// The surest first: the same id, then the same detector, then any.
	for i := range out {
		out[i] = -1
	}
	for pass := range 3 {
		for i := range before {
			if out[i] >= 0 {
				continue
			}
			for j := range after {
				if taken[j] || !t.alike(&before[i], &after[j], pass) {
					continue
				}
				out[i], taken[j] = j, true
				break
			}
		}
	}
	return out
}

func (t *Trial) alike(a, b *alert.Alert, pass int) bool {
	switch pass {
	case 0:
		return a.ID == b.ID
	case 1:
		if a.Detector != b.Detector {
			return false
		}
	}
	gap := t.gap
	if gap <= 0 {
		gap = time.Hour
	}
	if a.FirstSeen.After(b.LastSeen.Add(gap)) || b.FirstSeen.After(a.LastSeen.Add(gap)) {
		return false
	}
	if a.EntityKind == b.EntityKind && a.EntityID == b.EntityID {
		return true
	}
	return slices.ContainsFunc(a.AgentIDs, func(id string) bool { return slices.Contains(b.AgentIDs, id) })
}
