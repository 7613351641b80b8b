package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/file"
)

// publicSet is one labelled set and the ways to score it.
type publicSet struct {
	name    string
	scores  []scoring
	benign  bool   // no attack in it: alerts are counted
	swarm   string // the label of a campaign whose agents are to be named
	stages  string // the label of an intrusion whose stages are to be touched by alerts
	oneOnly bool   // too large to be replayed twice
}

// scoring is a call of score.py.
type scoring struct {
	name string
	args []string
}

var publicSets = []publicSet{
	{name: "darpa98-dev", scores: []scoring{{name: "event"}}, oneOnly: true},
	agentDojo("gemini-1-5-flash-001"),
	agentDojo("gemini-1-5-flash-002"),
	agentDojo("gemini-1-5-pro-002"),
	agentDojo("gpt-4o-2024-05-13-transformers-pi-detector"),
	agentDojo("meta-llama-llama-3-70b-chat-hf"),
	{name: "webbot-dev", scores: []scoring{
		{"moderate", []string{"--by", "agent", "--positive", "moderate_bot", "--ignore", "advanced_bot"}},
		{"advanced", []string{"--by", "agent", "--positive", "advanced_bot", "--ignore", "moderate_bot"}},
	}},
	{name: "moltbook-dev", swarm: "mint", scores: []scoring{{"event", []string{"--positive", "mint"}}, {"agent", []string{"--by", "agent", "--positive", "mint"}}}},
	{name: "cloudtrail-dev", stages: "stratus", scores: []scoring{{name: "event"}}},
	{name: "swe-dev", benign: true},
}

func agentDojo(model string) publicSet {
	return publicSet{name: "agentdojo-dev-" + model, scores: []scoring{
		{"runs", []string{"--by", "session", "--positive", "hijacked"}},
		{"clean", []string{"--by", "session", "--positive", "hijacked", "--ignore", "history,resisted"}},
	}}
}

// setResult is what a set gave.
type setResult struct {
	set       *publicSet
	events    int
	agentDays int
	alerts    int
	by        map[string]int // alerts by detector
	scored    map[string]scored

	precision, recall float64 // of the agents named, for a swarm
	best              float64 // recall of its events at a precision of 0.9
	stages, touched   int
	falseAlerts       int
}

func (o *options) set(name, suffix string) string { return filepath.Join(o.data, name+suffix) }

func (r *report) runSet(ctx context.Context, s *setResult) error {
	name := s.set.name
	events, labels := r.set(name, ".ndjson.zst"), r.set(name, ".labels.csv.zst")
	alerts, scores := filepath.Join(r.dir, name+".alerts"), filepath.Join(r.dir, name+".scores")
	replay := func(suffix string) (string, error) {
		if _, err := output(ctx, r.astray, "replay", "--events", events, "--alerts", alerts+suffix, "--scores", scores+suffix); err != nil {
			return "", err
		}
		return sum(alerts+suffix, scores+suffix)
	}
	first, err := replay("")
	if err != nil {
		return err
	}
	if !s.set.oneOnly {
		second, err := replay(".2")
		if err != nil {
			return err
		}
		if first != second {
			return fmt.Errorf("%s: two replays differ", name)
		}
	}
	s.scored = map[string]scored{}
	for _, k := range s.set.scores {
		args := append([]string{filepath.Join(r.data, "score.py"), scores, labels, "--events", events}, k.args...)
		out, err := output(ctx, "python3", args...)
		if err != nil {
			return err
		}
		if s.scored[k.name], err = parseScored(out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	all, err := readAlerts(alerts)
	if err != nil {
		return err
	}
	s.alerts, s.by = len(all), map[string]int{}
	for _, a := range all {
		s.by[a.Detector]++
	}
	tags, err := readLabels(labels)
	if err != nil {
		return err
	}
	s.events = len(tags)
	// Labels and events are in the same order; that they are as many is seen by the scorer.
	var log []entry
	days := map[string]bool{}
	if err := eachEvent(events, func(ev *event.Event) {
		if (s.set.swarm != "" || s.set.stages != "") && len(log) < len(tags) {
			log = append(log, entry{time: ev.Time, agent: strings.Clone(ev.AgentID), label: tags[len(log)]})
		}
		if s.set.benign {
			days[fmt.Sprint(ev.AgentID, "\x00", ev.Time/dayMicros)] = true
		}
	}); err != nil {
		return err
	}
	s.agentDays = len(days)
	if s.set.swarm != "" {
		s.precision, s.recall = named(log, all, s.set.swarm)
		if s.best, err = recallAt(scores, tags, s.set.swarm, 0.9); err != nil {
			return err
		}
	}
	if s.set.stages != "" {
		s.stages, s.touched, s.falseAlerts = touchedStages(log, all, s.set.stages)
	}
	return nil
}

const dayMicros = 86_400_000_000

// entry is what is remembered of a labelled event.
type entry struct {
	time         int64
	agent, label string
}

// named says how well the agents that coordination alerts name are those of the campaign.
func named(log []entry, alerts []alert.Alert, label string) (precision, recall float64) {
	campaign, found := map[string]bool{}, map[string]bool{}
	for _, e := range log {
		if e.label == label {
			campaign[e.agent] = true
		}
	}
	for _, a := range alerts {
		if a.Detector == "coordination" || a.Detector == "worm" {
			for _, id := range a.AgentIDs {
				found[id] = true
			}
		}
	}
	both := 0
	for id := range found {
		if campaign[id] {
			both++
		}
	}
	return ratio(both, len(found)), ratio(both, len(campaign))
}

func ratio(a, b int) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// recallAt is the largest share of the label's events above a score at which that precision holds.
func recallAt(path string, labels []string, label string, precision float64) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	type item struct {
		score float64
		hit   bool
	}
	var items []item
	positive := 0
	err = scores(f, func(n int, score float64) error {
		if n >= len(labels) {
			return fmt.Errorf("%s: more scores than labels", path)
		}
		hit := labels[n] == label
		if hit {
			positive++
		}
		items = append(items, item{score, hit})
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(b.score, a.score) })
	best, hits := 0.0, 0
	for i, it := range items {
		if it.hit {
			hits++
		}
		// A group of equal scores is above the threshold as a whole or not at all.
		if (i+1 == len(items) || items[i+1].score < it.score) && float64(hits) >= precision*float64(i+1) {
			best = math.Max(best, ratio(hits, positive))
		}
	}
	return best, nil
}

// stagePause ends a stage of a recorded intrusion.
const stagePause = 30_000_000

// touchedStages cuts the labelled events into stages, at pauses of more than half a minute, and counts those with an
// alert: one of the stage's agents, over a span that meets the stage. An alert that meets none is false.
func touchedStages(log []entry, alerts []alert.Alert, label string) (stages, touched, wrong int) {
	type stage struct {
		from, to int64
		agents   map[string]bool
		touched  bool
	}
	var all []*stage
	for _, e := range log {
		if e.label != label {
			continue
		}
		if n := len(all); n == 0 || e.time-all[n-1].to > stagePause {
			all = append(all, &stage{from: e.time, agents: map[string]bool{}})
		}
		s := all[len(all)-1]
		s.to = e.time
		s.agents[e.agent] = true
	}
	for _, a := range alerts {
		met := false
		for _, s := range all {
			if a.FirstSeen.UnixMicro() > s.to || a.LastSeen.UnixMicro() < s.from {
				continue
			}
			for _, id := range append([]string{a.EntityID}, a.AgentIDs...) {
				if s.agents[id] {
					met, s.touched = true, true
				}
			}
		}
		if !met {
			wrong++
		}
	}
	for _, s := range all {
		if s.touched {
			touched++
		}
	}
	return len(all), touched, wrong
}

func eachEvent(path string, use func(*event.Event)) error {
	in, err := file.Open(path, nil)
	if err != nil {
		return err
	}
	defer in.Close()
	return file.Batches(in, math.MaxInt64/2, func(b *file.Batch) error {
		for i := range b.Events {
			use(&b.Events[i])
		}
		if len(b.Rejected) > 0 {
			return fmt.Errorf("%s: %w", path, b.Rejected[0])
		}
		return nil
	})
}

// readLabels reads the labels of a set, in the order of its events.
func readLabels(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var labels []string
	in := bufio.NewScanner(z)
	for n := 0; in.Scan(); n++ {
		if n > 0 {
			line := in.Text()
			labels = append(labels, line[strings.LastIndexByte(line, ',')+1:])
		}
	}
	return labels, in.Err()
}

func sum(paths ...string) (string, error) {
	h := sha256.New()
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return string(h.Sum(nil)), nil
}
