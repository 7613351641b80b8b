package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/catalog"
)

// report is everything that was measured.
type report struct {
	options
	took          time.Duration
	missing       []string
	sets          []*setResult
	worldResults  []worldResult
	quietResults  []quietResult
	poisonResults [][ways][]poisonResult
	engine        map[string]string // what BenchmarkEngine reports, by unit
	perAgent      float64           // resident bytes
	residents     int               // agents it was measured with
}

var metric = regexp.MustCompile(`\s([0-9.e+]+) (\S+)`)

func (r *report) measureCost(ctx context.Context) error {
	out, err := output(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkEngine$", "-benchmem", "./detect")
	if err != nil {
		return err
	}
	r.engine = map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "BenchmarkEngine") {
			for _, m := range metric.FindAllStringSubmatch(line, -1) {
				r.engine[m[2]] = m[1]
			}
		}
	}
	if len(r.engine) == 0 {
		return fmt.Errorf("BenchmarkEngine reported nothing: %q", out)
	}
	return nil
}

func (r *report) find(name string) *setResult {
	for _, s := range r.sets {
		if s.set.name == name {
			return s
		}
	}
	return nil
}

type table struct {
	b    *strings.Builder
	cols int
}

func newTable(b *strings.Builder, heads ...string) table {
	fmt.Fprintf(b, "\n| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	return table{b, len(heads)}
}

func (t table) row(cells ...string) { fmt.Fprintf(t.b, "| %s |\n", strings.Join(cells, " | ")) }

func num(x float64, digits int) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, x)
}

func met(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Evaluation

Written by `+"`make eval`"+` (%s on this machine): `+"`astray replay`"+` with default settings over labelled public sets, scored by
`+"`score.py`"+`, and over worlds of `+"`astray simulate`"+`, scored by `+"`score_world.py`"+`. Detectors never see a label. The worlds' seeds (%d–%d with
attacks, %d–%d without) are for evaluation only. All sets but DARPA are replayed twice; the runs were byte-identical, and no event was rejected.
`, r.took.Round(time.Second), r.seed, r.seed+uint64(max(len(r.worlds), 1))-1, r.seed+1000, r.seed+1000+uint64(max(len(r.quiet), 1))-1)
	if len(r.missing) > 0 {
		fmt.Fprintf(&b, "\nNot there, so not measured: %s.\n", strings.Join(r.missing, ", "))
	}
	r.targets(&b)
	r.publicTables(&b)
	r.worldTables(&b)
	r.quietTables(&b)
	r.poisonTables(&b)
	return b.String()
}

func (r *report) targets(b *strings.Builder) {
	b.WriteString("\n## Targets\n")
	t := newTable(b, "what", "metric", "Astray", "target", "met", "others")
	if s := r.find("darpa98-dev"); s != nil {
		k := s.scored["event"]
		one, tenth := k.at["0.01"].macro, k.at["0.001"].macro
		t.row("DARPA'98", "macro-TPR at 1 % FPR", num(one, 3), "≥ 0.55", met(one >= 0.55), "MIDAS-F 0.394")
		t.row("DARPA'98", "macro-TPR at 0.1 % FPR", num(tenth, 3), "≥ 0.30", met(tenth >= 0.30), "MIDAS-F 0.174")
		t.row("DARPA'98", "AUC", num(k.auc, 3), "–", "", "a decayed counter 0.97")
	}
	if hits, positive := r.agentDojo("runs"); positive > 0 {
		t.row("AgentDojo, hijacked runs", "TPR at 1 % FPR, resisted runs counted as benign", num(hits/positive, 3), "≥ 0.80", met(hits/positive >= 0.8), "a prototype 0.405")
		hits, _ = r.agentDojo("clean")
		t.row("AgentDojo, hijacked runs", "the same against clean runs only", num(hits/positive, 3), "–", "", "")
	}
	if s := r.find("webbot-dev"); s != nil {
		m, a := s.scored["moderate"].auc, s.scored["advanced"].auc
		t.row("web bots, moderate", "AUC over sessions", num(m, 3), "≥ 0.95", met(m >= 0.95), "–")
		t.row("web bots, advanced", "AUC over sessions", num(a, 3), "≥ 0.80", met(a >= 0.80), "–")
	}
	if s := r.find("moltbook-dev"); s != nil {
		t.row("Moltbook campaign", "precision / recall of the agents named", num(s.precision, 2)+" / "+num(s.recall, 2), "≥ 0.90 / ≥ 0.80", met(s.precision >= 0.9 && s.recall >= 0.8), "–")
		t.row("Moltbook campaign", "recall of its posts at precision 0.90", num(s.best, 2), "–", "", "")
	}
	if s := r.find("swe-dev"); s != nil {
		rate := 1000 * ratio(s.alerts, s.agentDays)
		t.row("benign coding agents", "false alerts per 1,000 agent-days", fmt.Sprintf("%s (%d in %d)", num(rate, 1), s.alerts, s.agentDays), "≤ 1", met(rate <= 1), "–")
	}
	if s := r.find("cloudtrail-dev"); s != nil {
		t.row("CloudTrail intrusion", "stages touched; false alerts", fmt.Sprintf("%d of %d; %d", s.touched, s.stages, s.falseAlerts), "all; ≤ 5", met(s.touched == s.stages && s.falseAlerts <= 5), "–")
	}
	if len(r.worldResults) > 0 {
		var found, attacks, wrong int
		var days float64
		var fast []float64
		for _, w := range r.worldResults {
			days += w.agentDays
			wrong += total(w.false)
			for _, a := range w.attacks {
				attacks++
				if a.found {
					found++
					if a.length <= 3600 {
						fast = append(fast, a.after)
					}
				}
			}
		}
		recall, rate := ratio(found, attacks), 1000*float64(wrong)/days
		t.row("simulated worlds", "recall of attacks", fmt.Sprintf("%s (%d of %d)", num(recall, 3), found, attacks), "≥ 0.95", met(recall >= 0.95), "–")
		t.row("simulated worlds", "false alerts per 1,000 agent-days", num(rate, 2), "≤ 1", met(rate <= 1), "–")
		t.row("simulated worlds", "median time to detect, attacks of up to an hour", num(median(fast), 0)+" s", "< 60 s", met(median(fast) < 60), "–")
	}
	for i, budget := range budgets {
		n, days := 0, 0.0
		for _, q := range r.quietResults {
			n += q.alerts[i]
			days += q.agentDays
		}
		if rate := 1000 * float64(n) / days; days > 0 {
			t.row("worlds without attacks", fmt.Sprintf("alerts per 1,000 agent-days at a budget of %g", budget), num(rate, 2), fmt.Sprintf("%g to %g", budget/2, 2*budget), met(held(rate, budget)), "–")
		}
	}
	if v, ok := r.engine["events/s"]; ok {
		var f float64
		fmt.Sscan(v, &f)
		t.row("detection speed", "decoded events/s on one core, all detectors, 100k agents", fmt.Sprintf("%.2f M", f/1e6), "≥ 1 M", met(f >= 1e6), "–")
	}
	if v, ok := r.engine["bytes/agent"]; ok {
		var f float64
		fmt.Sscan(v, &f)
		t.row("memory", "bytes of state per agent, 100k agents", num(f, 0), "≤ 2,048", met(f <= 2048), "–")
	}
	if r.residents > 0 {
		t.row("memory", fmt.Sprintf("resident bytes per agent at the peak of a replay, garbage included, %d agents", r.residents), num(r.perAgent, 0), "≤ 2,048", met(r.perAgent <= 2048), "–")
	}
	if len(r.quietResults) > 0 {
		t.row("replay", "events/s, decoding included, two cores, other work beside it", fmt.Sprintf("%.2f M", r.quietResults[0].rate/1e6), "≥ 0.25 M", met(r.quietResults[0].rate >= 250_000), "–")
	}
	b.WriteString("\nOthers' figures were measured on the same sets with their published code. `BenchmarkEngine`:")
	for _, unit := range sortedKeys(r.engine) {
		fmt.Fprintf(b, " %s %s;", r.engine[unit], unit)
	}
	b.WriteString("\nfigures of speed depend on the machine.\n")
}

// agentDojo is how many hijacked runs were found at 1 % FPR over all files, and how many there are.
func (r *report) agentDojo(how string) (hits, positive float64) {
	for _, s := range r.sets {
		if k, ok := s.scored[how]; ok && strings.HasPrefix(s.set.name, "agentdojo") {
			positive += float64(k.positive)
			hits += k.at["0.01"].tpr * float64(k.positive)
		}
	}
	return
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Clone(x)
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func counts(m map[string]int) string {
	var parts []string
	for _, k := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (r *report) publicTables(b *strings.Builder) {
	b.WriteString("\n## Public sets\n")
	if len(r.sets) == 0 {
		b.WriteString("\nNone was there.\n")
		return
	}
	t := newTable(b, "set", "events", "scored as", "items", "positive", "AUC", "TPR at 1 %", "TPR at 0.1 %", "alerts")
	for _, s := range r.sets {
		alerts := counts(s.by)
		if len(s.set.scores) == 0 {
			t.row(s.set.name, fmt.Sprint(s.events), "benign", "", "", "", "", "", alerts)
		}
		for _, how := range s.set.scores {
			k := s.scored[how.name]
			if k.positive == 0 { // for false alarms only
				t.row(s.set.name, fmt.Sprint(s.events), how.name, fmt.Sprint(k.items), "0", "–", "–", "–", alerts)
				continue
			}
			t.row(s.set.name, fmt.Sprint(s.events), how.name, fmt.Sprint(k.items), fmt.Sprint(k.positive), num(k.auc, 3),
				num(k.at["0.01"].tpr, 3), num(k.at["0.001"].tpr, 3), alerts)
		}
	}
	if s := r.find("darpa98-dev"); s != nil {
		k := s.scored["event"]
		b.WriteString("\nDARPA'98, share of each attack's connections found (those with fewer than 100 are not in the macro average):\n")
		t := newTable(b, "attack", "at 1 % FPR", "at 0.1 % FPR")
		for _, l := range sortedKeys(k.at["0.01"].label) {
			t.row(l, num(k.at["0.01"].label[l], 2), num(k.at["0.001"].label[l], 2))
		}
	}
}

func (r *report) worldTables(b *strings.Builder) {
	if len(r.worldResults) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Simulated worlds with attacks\n\nWorlds, agents x days: %s.\n", r.worlds.String())
	type row struct {
		found, all    int
		after, before []float64
		by            map[string]int
	}
	rows := map[string]*row{}
	falseBy, during := map[string]int{}, map[string]int{}
	var days float64
	wrong, repeats := 0, 0
	for _, w := range r.worldResults {
		days += w.agentDays
		wrong += w.wrong
		repeats += w.repeats
		for k, n := range w.false {
			falseBy[k] += n
		}
		for k, n := range w.during {
			during[k] += n
		}
		for _, a := range w.attacks {
			key := a.kind + " | " + a.note
			if rows[key] == nil {
				rows[key] = &row{by: map[string]int{}}
			}
			x := rows[key]
			x.all++
			if a.found {
				x.found++
				x.after = append(x.after, a.after)
				x.before = append(x.before, a.before)
				x.by[a.by]++
			}
		}
	}
	t := newTable(b, "attack", "variety and strength", "found", "median time to detect", "share of its agents' events before", "first found by")
	for _, key := range sortedKeys(rows) {
		x := rows[key]
		after, before := "–", "–"
		if x.found > 0 {
			after = num(median(x.after), 0) + " s"
			if m := median(x.before); !math.IsNaN(m) { // silence has no events
				before = num(100*m, 0) + " %"
			}
		}
		t.row(key, fmt.Sprintf("%d of %d", x.found, x.all), after, before, counts(x.by))
	}
	b.WriteString("\nAll events of the attacked agents between the attack's start and end count as its events, the ordinary ones included.\n")
	b.WriteString("\nFalse alerts:\n")
	t = newTable(b, "detector", "false alerts", "per 1,000 agent-days")
	for _, k := range sortedKeys(falseBy) {
		t.row(k, fmt.Sprint(falseBy[k]), num(1000*float64(falseBy[k])/days, 2))
	}
	t.row("all", fmt.Sprint(total(falseBy)), num(1000*float64(total(falseBy))/days, 2))
	fmt.Fprintf(b, "\nWhat was going on at the false ones: %s. %d alerts named an attacked agent for another reason, %d repeated one that stood.\n", counts(during), wrong, repeats)
	t = newTable(b, "seed", "world", "score")
	for _, w := range r.worldResults {
		t.row(fmt.Sprint(w.seed), w.size.String(), w.score)
	}
}

// held says that a rate lies within a factor of two of the budget.
func held(rate, budget float64) bool { return rate >= budget/2 && rate <= 2*budget }

// poissonBand is the exact 95 % interval for the mean of a Poisson count (Garwood 1936).
func poissonBand(n int) (lower, upper float64) {
	if n > 0 {
		lower = distuv.ChiSquared{K: 2 * float64(n)}.Quantile(0.025) / 2
	}
	return lower, distuv.ChiSquared{K: 2*float64(n) + 2}.Quantile(0.975) / 2
}

// quietSeeds is what came of each budget in each world, and of a detector's part of it.
func (r *report) quietSeeds(b *strings.Builder) {
	b.WriteString("\nThe same by world; one of them has too few alerts to say much by itself:\n")
	heads := []string{"seed", "world", "agent-days"}
	for _, budget := range budgets {
		heads = append(heads, fmt.Sprintf("alerts at %g (expected)", budget))
	}
	t := newTable(b, heads...)
	days := 0.0
	by := make([]map[string]int, len(budgets))
	for i, q := range r.quietResults {
		days += q.agentDays
		cells := []string{fmt.Sprint(r.seed + 1000 + uint64(i)), r.quiet[i].String(), fmt.Sprintf("%.0f", q.agentDays)}
		for j, budget := range budgets {
			cells = append(cells, fmt.Sprintf("%d (%.1f)", q.alerts[j], budget*q.agentDays/1000))
			if by[j] == nil {
				by[j] = map[string]int{}
			}
			for k, n := range q.by[j] {
				by[j][k] += n
			}
		}
		t.row(cells...)
	}
	var names []string
	for _, s := range detect.New(detect.Config{Budget: 1}, catalog.All()...).Shares() {
		if s.Budget > 0 {
			names = append(names, s.Detector)
		}
	}
	fmt.Fprintf(b, "\nEach of the %d detectors that alert has an equal part of the budget. Its alerts, over those that its part allows in all worlds:\n", len(names))
	heads = []string{"detector"}
	for _, budget := range budgets {
		heads = append(heads, fmt.Sprintf("at %g (allowed %.1f)", budget, budget*days/1000/float64(len(names))))
	}
	t = newTable(b, heads...)
	for _, name := range names {
		cells := []string{name}
		for j := range budgets {
			cells = append(cells, fmt.Sprint(by[j][name]))
		}
		t.row(cells...)
	}
}

func (r *report) quietTables(b *strings.Builder) {
	if len(r.quietResults) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Simulated worlds without attacks\n\nWorlds, agents x days: %s. The first day counts, and benign look-alikes of attacks are in it.\n\n", r.quiet.String())
	b.WriteString("The alert budget, in false alerts per 1,000 agent-days, and what came of it; within a factor of two is the aim:\n")
	t := newTable(b, "budget", "measured", "95 % of it", "ratio", "held", "by detector")
	var days float64
	active := 0
	reached := map[string][]int{}
	for _, q := range r.quietResults {
		days += q.agentDays
		active += q.active
		for k, v := range q.reached {
			if reached[k] == nil {
				reached[k] = make([]int, len(levels))
			}
			for i, n := range v {
				reached[k][i] += n
			}
		}
	}
	for i, budget := range budgets {
		n, by := 0, map[string]int{}
		for _, q := range r.quietResults {
			n += q.alerts[i]
			for k, v := range q.by[i] {
				by[k] += v
			}
		}
		rate := 1000 * float64(n) / days
		lo, hi := poissonBand(n)
		t.row(fmt.Sprint(budget), fmt.Sprintf("%s (%d in %.0f)", num(rate, 2), n, days), num(1000*lo/days, 2)+" to "+num(1000*hi/days, 2), num(rate/budget, 2), met(held(rate, budget)), counts(by))
	}
	r.quietSeeds(b)
	fmt.Fprintf(b, `
Calibration: the p-value of an agent-day is the smallest of those that a detector may alert by. Of %d agent-days with events, after
the first day of a stream, the share with p ≤ x, over x; 1 is honest, above it false alarms, under it a detector that holds back. In brackets the
number that is expected at x when it is under 10: the ratio is then mostly chance.
`, active)
	heads := []string{"detector"}
	for _, x := range levels {
		h := fmt.Sprintf("x = %g", x)
		if e := x * float64(active); e < 10 {
			h += fmt.Sprintf(" (%.1f)", e)
		}
		heads = append(heads, h)
	}
	t = newTable(b, heads...)
	for _, k := range sortedKeys(reached) {
		cells := []string{k}
		for i, x := range levels {
			cells = append(cells, num(float64(reached[k][i])/(x*float64(active)), 2))
		}
		t.row(cells...)
	}
}
