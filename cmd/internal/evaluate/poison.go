package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

// poisonWorlds are the worlds in which an adversary prepares its attacks. Each is run three times: as it is, with an engine
// that learns whatever it sees, and with the same attacks unprepared.
var poisonWorlds = []struct {
	adversary string
	size      shape
	seeds     int
}{
	{"rise", shape{80, 7}, 3},
	{"alternate", shape{80, 9.75}, 5},
	{"cohort", shape{100, 7.5}, 5},
}

// poisonQuiet is for how many days such a world has no adversary.
const poisonQuiet = 3

// ways are how a world with an adversary is run.
const (
	defended = iota
	trusting
	unprepared
	ways
)

// poisonResult is what came of one incident of an adversary's.
type poisonResult struct {
	adversary, kind, note string
	by                    string
	found, wentOn         bool    // by an alert of its own; only by one that had begun before
	after                 float64 // seconds from its start
	agents, named         int     // that have a part in it, and those that alerts name
	before, events        int     // of its events, those until its agent was named, and all
	reached               float64 // busiest hour of its agents until then over their busiest before
}

// poisonSeed is the first seed of the worlds with an adversary.
func (r *report) poisonSeed() uint64 { return r.seed + 2000 }

// poisonJobs is a job for each world with an adversary.
func (r *report) poisonJobs() (jobs []func(context.Context) error) {
	for _, p := range poisonWorlds {
		for i := range p.seeds {
			r.poisonResults = append(r.poisonResults, [ways][]poisonResult{})
			at := len(r.poisonResults) - 1
			jobs = append(jobs, func(ctx context.Context) error {
				return r.runPoison(ctx, p.adversary, p.size, r.poisonSeed()+uint64(i), &r.poisonResults[at])
			})
		}
	}
	return jobs
}

// runPoison runs a world with an adversary in every way.
func (r *report) runPoison(ctx context.Context, adversary string, size shape, seed uint64, out *[ways][]poisonResult) error {
	for way := range ways {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, err := simulate.New(simulate.Config{Agents: size.agents, Days: size.days, Seed: seed, Quiet: poisonQuiet, Attacks: []string{"none"},
			Adversary: adversary, Unprepared: way == unprepared})
		if err != nil {
			return err
		}
		out[way] = playOut(adversary, w, detect.New(detect.Config{Trusting: way == trusting}, catalog.All()...))
	}
	return nil
}

// playOut runs a world with an adversary through an engine.
func playOut(adversary string, w *simulate.World, e *detect.Engine) (results []poisonResult) {
	const hourMicros = 3600 * 1_000_000
	truth := w.Truth()
	hours := map[string][]int{} // events of its agents by hour
	for _, k := range truth.Attacks {
		for _, id := range k.Agents {
			hours[id] = make([]int, (truth.End-truth.Start)/3600+1)
		}
	}
	type actor struct{ incident, agent string }
	of := map[actor][]int64{} // times of the incidents' events
	told := map[string]alert.Alert{}
	keep := func(a *alert.Alert) { told[a.ID] = *a }
	var ev event.Event
	for w.Next(&ev) {
		if h := hours[ev.AgentID]; h != nil {
			h[(ev.Time-truth.Start*1e6)/hourMicros]++
		}
		if id := w.Incident(); id != "" {
			of[actor{id, ev.AgentID}] = append(of[actor{id, ev.AgentID}], ev.Time)
		}
		e.Observe(&ev)
		e.Alerts(keep)
	}
	e.Finish()
	e.Alerts(keep)
	truth = w.Truth()
	var all []alert.Alert
	for _, id := range sortedKeys(told) {
		all = append(all, told[id])
	}
	m := match(truth, all, nil)
	for i, k := range truth.Attacks {
		res := poisonResult{adversary: adversary, kind: k.Kind, note: k.Note, found: m.attacks[i].found, by: m.attacks[i].by, after: m.attacks[i].after, agents: len(k.Agents)}
		var reached []float64
		for _, id := range k.Agents {
			until := k.End
			found := false
			for _, a := range all {
				at := a.Time.Unix()
				if !slices.Contains(k.Accept, a.Detector) || a.EntityID != id && !slices.Contains(a.AgentIDs, id) {
					continue
				}
				if at >= k.Start && at <= k.End+grace {
					until, found = min(until, at), true
				} else if last := a.LastSeen.Unix(); at < k.Start && last >= k.Start && last <= k.End+grace {
					res.wentOn = true
				}
			}
			if found {
				res.named++
			}
			for _, t := range of[actor{k.ID, id}] {
				res.events++
				if t < until*1e6 {
					res.before++
				}
			}
			start, end := (k.Start-truth.Start)/3600, (until-truth.Start)/3600
			reached = append(reached, ratio(slices.Max(hours[id][start:end+1]), slices.Max(hours[id][:start])))
		}
		res.reached = median(reached)
		results = append(results, res)
	}
	return results
}

// poisonRow is the results of one incident in all worlds, run one way.
type poisonRow struct {
	all, found, wentOn int
	agents, named      int
	before, events     int
	after, reached     []float64
}

func (x *poisonRow) add(p *poisonResult) {
	x.all++
	x.agents += p.agents
	x.named += p.named
	x.before += p.before
	x.events += p.events
	x.reached = append(x.reached, p.reached)
	switch {
	case p.found:
		x.found++
		x.after = append(x.after, p.after)
	case p.wentOn:
		x.wentOn++
	}
}

// told is how many of the attacks were told.
func (x *poisonRow) told() string {
	if x.wentOn > 0 {
		return fmt.Sprintf("%d of %d, and %d in an alert that goes on", x.found, x.all, x.wentOn)
	}
	return fmt.Sprintf("%d of %d", x.found, x.all)
}

// soon is how soon, in the unit of so many seconds.
func (x *poisonRow) soon(seconds float64, unit string) string {
	if x.found == 0 {
		return "–"
	}
	return num(median(x.after)/seconds, 0) + " " + unit
}

// through is the share of its events that came before its agents were named.
func (x *poisonRow) through() string { return num(100*ratio(x.before, x.events), 0) + " %" }

func (r *report) poisonTables(b *strings.Builder) {
	if len(r.poisonResults) == 0 {
		return
	}
	var worlds []string
	for _, p := range poisonWorlds {
		worlds = append(worlds, fmt.Sprintf("%s %d of %s", p.adversary, p.seeds, p.size))
	}
	fmt.Fprintf(b, `
## Poisoning

An adversary that prepares its attack for days so that it looks usual when it comes (`+"`ingest/simulate/poison.go`"+`): it raises its reads or
posts by 3 %% an hour for 48 hours and goes on so for a day; it attacks for ten minutes of every hour, or on every second day; or it has
most of a cohort read and take up ever more for three days. Worlds, agents x days, after %d quiet days: %s; seeds from %d. Each is
run as it is, by an engine that learns whatever it sees (`+"`detect.Config.Trusting`"+`: without caps, and with what alerts told), and with the same
attacks unprepared.

What is told of the preparation. An event got through when it came before an alert that names its agent; reached is the busiest hour of
an agent until then, or in all, over its busiest before, the median of the agents:
`, poisonQuiet, strings.Join(worlds, ", "), r.poisonSeed())
	rows := map[string]*[ways]poisonRow{}
	var preparations, attacks []string
	for _, result := range r.poisonResults {
		for way := range result {
			for _, p := range result[way] {
				key := p.kind + " | " + p.note
				if rows[key] == nil {
					rows[key] = new([ways]poisonRow)
					if p.kind == simulate.Poisoning {
						preparations = append(preparations, key)
					} else {
						attacks = append(attacks, key)
					}
				}
				rows[key][way].add(&p)
			}
		}
	}
	slices.Sort(preparations)
	slices.Sort(attacks)
	t := newTable(b, "preparation", "agents named", "trusting", "first alert after", "trusting", "events that got through", "trusting", "reached", "trusting")
	for _, key := range preparations {
		d, n := &rows[key][defended], &rows[key][trusting]
		_, note, _ := strings.Cut(key, " | ")
		t.row(note, fmt.Sprintf("%d of %d", d.named, d.agents), fmt.Sprintf("%d of %d", n.named, n.agents), d.soon(3600, "h"), n.soon(3600, "h"),
			d.through(), n.through(), num(median(d.reached), 1)+" x", num(median(n.reached), 1)+" x")
	}
	b.WriteString("\nWhat is told of the attack that was prepared:\n")
	t = newTable(b, "attack", "variety and strength", "told", "trusting", "unprepared", "median time to detect", "trusting", "unprepared", "events that got through", "trusting", "unprepared")
	for _, key := range attacks {
		x := rows[key]
		cells := []string{key}
		for _, how := range []func(*poisonRow) string{(*poisonRow).told, func(x *poisonRow) string { return x.soon(1, "s") }, (*poisonRow).through} {
			for way := range x {
				cells = append(cells, how(&x[way]))
			}
		}
		t.row(cells...)
	}
	b.WriteString(`
What turning the defences off costs shows above all after attack days: an engine that learns from what it told stops telling, whereas what was told
with high severity is told again until a person calls it benign, at its usual hour in the alert that goes on. Elsewhere the two hardly differ, and
both are worse than where nothing was prepared: preparing pays. Caps do not bind where no window stands out, so a baseline follows a slow
rise, and a later attack of a few times the usual may pass. A cohort that is mostly one adversary's excuses its own agents as peers that surge together,
so that few of them are named; the others of the cohort are still watched.
`)
}
