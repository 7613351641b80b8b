package main

import (
	"context"
	"fmt"
	"os"
	"slices"

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
	{"rise", shape{120, 7}, 3},
	{"alternate", shape{120, 9.75}, 5},
	{"cohort", shape{160, 7.5}, 5},
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

func (r *report) runPoison(ctx context.Context, adversary string, size shape, seed uint64, out *[ways][]poisonResult) error {
	for way := range ways {
		if err := ctx.Err(); err != nil {
			return err
		}
		if o := os.Getenv("WAY"); o != "" && o != fmt.Sprint(way) {
			continue
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

var _ = fmt.Sprint
