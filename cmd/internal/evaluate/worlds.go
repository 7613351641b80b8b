package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

// grace is how long after its end an attack may still be found, in seconds.
const grace = 300

// worldResult is what a world with attacks gave.
type worldResult struct {
	seed      uint64
	size      shape
	agentDays float64
	attacks   []attackResult
	false     map[string]int // false alerts by detector
	during    map[string]int // and by the kind of benign look-alike they fell on
	wrong     int            // alerts of an attacked agent by a detector that has nothing to say there
	repeats   int
	score     string // the last line of score_world.py
}

// attackResult is one attack.
type attackResult struct {
	kind, note string
	length     float64 // seconds
	found      bool
	by         string
	after      float64 // seconds from its start
	before     float64 // share of its agents' events in it that came before
}

func (r *report) simulate(ctx context.Context, seed uint64, size shape, extra ...string) (events string, truth simulate.Truth, truthPath string, err error) {
	base := filepath.Join(r.dir, fmt.Sprint("world-", seed))
	events, truthPath = base+".ndjson", base+".truth"
	args := append([]string{"simulate", "--agents", strconv.Itoa(size.agents), "--days", fmt.Sprint(size.days), "--seed", strconv.FormatUint(seed, 10),
		"--out", events, "--truth", truthPath}, extra...)
	if _, err = output(ctx, r.astray, args...); err != nil {
		return
	}
	b, err := os.ReadFile(truthPath)
	if err != nil {
		return
	}
	err = json.Unmarshal(b, &truth)
	return
}

// discard removes the events of a world, which are large, unless everything is to be kept.
func (r *report) discard(events string) {
	if !r.keep {
		os.Remove(events) // the directory goes later in any case
	}
}

var worldLine = regexp.MustCompile(`recall ([0-9.]+)\s+false/1000 agent-days ([0-9.]+)`)

func (r *report) runWorld(ctx context.Context, seed uint64, size shape, w *worldResult) error {
	events, truth, truthPath, err := r.simulate(ctx, seed, size)
	if err != nil {
		return err
	}
	defer r.discard(events)
	alerts := events + ".alerts"
	if _, err := output(ctx, r.astray, "replay", "--events", events, "--alerts", alerts); err != nil {
		return err
	}
	all, err := readAlerts(alerts)
	if err != nil {
		return err
	}
	of := map[string][]int64{} // the times of the agents that are attacked
	for _, a := range truth.Attacks {
		for _, id := range a.Agents {
			of[id] = nil
		}
	}
	if err := eachEvent(events, func(ev *event.Event) {
		if times, ok := of[ev.AgentID]; ok {
			of[ev.AgentID] = append(times, ev.Time)
		}
	}); err != nil {
		return err
	}
	*w = match(truth, all, of)
	w.seed, w.size = seed, size

	// The scorer beside the public sets has the last word, where it is.
	w.score = fmt.Sprintf("recall %.3f  false/1000 agent-days %.2f", w.recall(), 1000*float64(total(w.false))/w.agentDays)
	scorer := filepath.Join(r.data, "score_world.py")
	if _, err := os.Stat(scorer); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	out, err := output(ctx, "python3", scorer, truthPath, alerts)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	w.score = lines[len(lines)-1]
	m := worldLine.FindStringSubmatch(w.score)
	if m == nil {
		return fmt.Errorf("score_world.py printed %q", w.score)
	}
	if got, want := fmt.Sprintf("%.3f %.2f", w.recall(), 1000*float64(total(w.false))/w.agentDays), m[1]+" "+m[2]; got != want {
		return fmt.Errorf("seed %d: recall and false alerts are %s, score_world.py says %s", seed, got, want)
	}
	return nil
}

func (w *worldResult) recall() float64 {
	n := 0
	for _, a := range w.attacks {
		if a.found {
			n++
		}
	}
	return ratio(n, len(w.attacks))
}

func total(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// match holds alerts against the truth, by the rule of score_world.py: an attack is found by an alert of an accepted
// detector that names one of its agents between its start and five minutes after its end; an alert that touches
// no attack is false.
func match(truth simulate.Truth, alerts []alert.Alert, events map[string][]int64) worldResult {
	w := worldResult{agentDays: float64(truth.Agents) * truth.Days, false: map[string]int{}, during: map[string]int{}}
	for _, a := range truth.Attacks {
		w.attacks = append(w.attacks, attackResult{kind: a.Kind, note: a.Note, length: float64(a.End - a.Start)})
	}
	slices.SortStableFunc(alerts, func(a, b alert.Alert) int { return a.Time.Compare(b.Time) })
	for _, a := range alerts {
		who := map[string]bool{a.EntityID: true}
		for _, id := range a.AgentIDs {
			who[id] = true
		}
		at := float64(a.Time.UnixMicro()) / 1e6
		touches := func(k simulate.Attack, after float64) bool {
			return float64(k.Start) <= at && at <= float64(k.End)+after && slices.ContainsFunc(k.Agents, func(id string) bool { return who[id] })
		}
		near, right := false, false
		for i, k := range truth.Attacks {
			if !touches(k, grace) {
				continue
			}
			near = true
			if !slices.Contains(k.Accept, a.Detector) {
				continue
			}
			right = true
			if w.attacks[i].found {
				w.repeats++
				continue
			}
			res := &w.attacks[i]
			res.found, res.by, res.after = true, a.Detector, at-float64(k.Start)
			before, in := 0, 0
			for _, id := range k.Agents {
				for _, t := range events[id] {
					if t >= k.Start*1e6 && t <= k.End*1e6 {
						in++
						if t < a.Time.UnixMicro() {
							before++
						}
					}
				}
			}
			res.before = ratio(before, in)
		}
		switch {
		case !near:
			w.false[a.Detector]++
			what := "nothing special"
			for _, k := range truth.Lookalikes {
				if touches(k, 3600) {
					what = k.Kind
				}
			}
			w.during[what]++
		case !right:
			w.wrong++
		}
	}
	return w
}

// budgets are the alert budgets that are held against what comes out.
var budgets = []float64{0.3, 1, 3}

// levels are the p-values at which calibration is looked at.
var levels = []float64{1e-1, 1e-2, 1e-3, 1e-4}

// quietResult is what a world without attacks gave.
type quietResult struct {
	agentDays float64
	active    int // agent-days with an event, after the first day
	alerts    []int
	by        []map[string]int // alerts by detector, for each budget
	reached   map[string][]int // agent-days whose smallest p-value reached the level, by detector
	rate      float64          // events per second of the quickest replay
}

func (r *report) runQuiet(ctx context.Context, seed uint64, size shape, q *quietResult) error {
	events, truth, _, err := r.simulate(ctx, seed, size, "--attacks", "none")
	if err != nil {
		return err
	}
	defer r.discard(events)
	q.agentDays = float64(truth.Agents) * truth.Days
	quickest := time.Duration(math.MaxInt64)
	for _, b := range budgets {
		alerts := fmt.Sprint(events, ".alerts-", b)
		start := time.Now()
		if _, err := output(ctx, r.astray, "replay", "--events", events, "--alerts", alerts, "--alert-budget", fmt.Sprint(b)); err != nil {
			return err
		}
		quickest = min(quickest, time.Since(start))
		all, err := readAlerts(alerts)
		if err != nil {
			return err
		}
		by := map[string]int{}
		for _, a := range all {
			by[a.Detector]++
		}
		q.alerts, q.by = append(q.alerts, len(all)), append(q.by, by)
	}

	total := 0
	if q.active, total, q.reached, err = calibration(events); err != nil {
		return err
	}
	q.rate = float64(total) / quickest.Seconds()
	return nil
}

// agentDay is an agent's events of one day.
type agentDay struct {
	agent string
	day   int64
}

// calibration is how many agent-days after the first day of the stream there are, and in how many of them the smallest
// p-value of each detector that alerts reached each level; total is the number of events.
func calibration(events string) (active, total int, reached map[string][]int, err error) {
	detectors := catalog.All()
	least := make(map[string]map[agentDay]float64, len(detectors)) // p-values
	reached = map[string][]int{}
	for _, d := range detectors {
		if info := d.Info(); !info.Ranks {
			least[info.Name], reached[info.Name] = map[agentDay]float64{}, make([]int, len(levels))
		}
	}
	engine := detect.New(detect.Config{Watch: func(l *detect.Look) {
		of := least[l.Detector]
		if l.Finding.Hint || of == nil {
			return
		}
		at := agentDay{l.AgentID, l.Time / dayMicros}
		if p, ok := of[at]; !ok || l.P < p {
			at.agent = strings.Clone(at.agent)
			of[at] = l.P
		}
	}}, detectors...)
	days, first := map[agentDay]bool{}, int64(0)
	err = eachEvent(events, func(ev *event.Event) {
		engine.Observe(ev)
		total++
		if first == 0 {
			first = ev.Time
		}
		if ev.Time-first < dayMicros {
			return
		}
		if at := (agentDay{ev.AgentID, ev.Time / dayMicros}); !days[at] {
			at.agent = strings.Clone(at.agent)
			days[at] = true
		}
	})
	for name, of := range least {
		for at, p := range of {
			for i, x := range levels {
				if p <= x && days[at] {
					reached[name][i]++
				}
			}
		}
	}
	return len(days), total, reached, err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare)
	return keys
}
