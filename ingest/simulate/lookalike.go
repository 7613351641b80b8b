package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/astray-dev/astray/ingest/event"
)

// lookalikes are benign events that resemble attacks. Those that last for the whole span are ways of working that
// are odd all the time; they are listed so that alerts about them can be told apart.
var lookalikes = []variety{
	{kind: "upgrade", note: "a cohort's release adds a service, agent by agent", hours: [2]float64{2, 8}, cohort: true, run: upgrade},
	{kind: "key-rotation", note: "keys of a cohort are replaced", hours: [2]float64{1, 6}, cohort: true, run: rotate},
	{kind: "new-network", note: "an agent moves to another host and network", hours: [2]float64{1, 1}, run: move},
	{kind: "shared-gateway", note: "many agents move behind one address", size: [2]int{8, 40}, hours: [2]float64{1, 3}, run: gateway},
	{kind: "outage", note: "a service fails and its callers retry", hours: [2]float64{0.2, 1}, run: breakdown},
	{kind: "viral-thread", note: "many agents read one post and answer alike", size: [2]int{15, 60}, hours: [2]float64{1, 5}, who: is(chatter), run: viral},
	{kind: "growth", note: "an agent does more from day to day", hours: [2]float64{24, 120}, who: is(chatter, integrator), run: grow},
	{kind: "new-integration", note: "an agent is given another service", hours: [2]float64{1, 1}, who: is(integrator, cron), run: integration},
	{kind: "backfill", note: "an indexer reads many times its usual", hours: [2]float64{2, 6}, who: is(indexer), run: backfill},
	{kind: "lull", note: "a holiday", hours: [2]float64{12, 24}, run: holiday, prepare: everybody},
	{kind: "announcement", note: "agents of several owners post the same notice", size: [2]int{4, 14}, hours: [2]float64{0.5, 4}, who: is(chatter, operator), run: announcement},
	{kind: "return", note: "an agent comes back after days away", hours: [2]float64{1, 1}, who: func(a *agent) bool { return a.kind == chatter && len(a.busy) == 0 }, run: nothing, prepare: away},
	{kind: "push", note: "an agent reports to its owner's host like clockwork", size: [2]int{2, 6}, hours: [2]float64{24, 9000}, who: is(cron, heartbeat, integrator), early: true, run: push},
	{kind: "paste", note: "an agent posts what looks like a key and is none", size: [2]int{3, 8}, hours: [2]float64{1, 12}, who: is(chatter, integrator), run: paste},
	{kind: "monitor", note: "an agent that meets missing endpoints all the time", whole: true, who: is(monitor), run: nothing},
	{kind: "status-bot", note: "an agent that posts in one form", whole: true, who: func(a *agent) bool { return a.kind == heartbeat && a.template%3 != 0 }, run: nothing},
}

func nothing(*World, *incident, *rand.Rand) act { return once(func() {}) }

// staggered changes one agent after the other.
func (in *incident) staggered(w *World, r *rand.Rand, change func(a *agent)) act {
	k := 0
	pause := float64(in.end-in.start) / float64(len(in.agents)+1)
	return func(t int64, _ *event.Event) (bool, int64) {
		change(in.agent(w, k))
		if k++; k == len(in.agents) {
			return false, never
		}
		return false, min(t+int64(pause*between(r, 0.3, 1.5)), in.end)
	}
}

func upgrade(w *World, in *incident, r *rand.Rand) act {
	version := fmt.Sprintf("2026.%d-r%d", whole(r, 1, 12), whole(r, 10, 99))
	added := &tools[r.IntN(len(tools))]
	client := pick(r, clients)
	return in.staggered(w, r, func(a *agent) {
		a.version = version
		if !slices.Contains(a.tools, added) {
			a.addTool(added)
		}
		if chance(r, 0.5) {
			a.client = client
		}
	})
}

func rotate(w *World, in *incident, r *rand.Rand) act {
	return in.staggered(w, r, func(a *agent) { a.credential = fmt.Sprintf("key_%012x", r.Uint64()&(1<<48-1)) })
}

func move(w *World, in *incident, r *rand.Rand) act {
	return once(func() {
		a := in.agent(w, 0)
		a.network = pick(r, slices.Concat(networks, elsewhere))
		a.address = a.network.host(r)
		a.addresses = []string{a.address}
		if chance(r, 0.3) {
			a.client = pick(r, clients)
		}
	})
}

func gateway(w *World, in *incident, r *rand.Rand) act {
	n := pick(r, networks)
	address := n.host(r)
	return in.staggered(w, r, func(a *agent) { a.network, a.address, a.addresses = n, address, []string{address} })
}

func breakdown(w *World, in *incident, r *rand.Rand) act {
	service := pick(r, []string{"posts", "feed", "profiles", tools[r.IntN(len(tools))].name})
	return once(func() { w.outage = outage{service, in.start, in.end} })
}

func viral(w *World, in *incident, r *rand.Rand) act {
	id := w.newID(r)
	author := in.agents[0]
	w.publish(id, author)
	quote := w.text(r, "{s}", "")
	type pending struct {
		at int64
		a  *agent
	}
	var answers []pending
	k := 0
	readers := len(in.agents) * 3 / 2
	pause := float64(in.end-in.start) / float64(readers) * 0.6
	next := in.start
	return func(t int64, ev *event.Event) (bool, int64) {
		if k == 0 {
			a := w.agents[author]
			w.call(ev, a, r, &opPostCreate, numbered("post", id))
			fine(ev)
			w.write(ev, a.community[0], w.text(r, pick(r, posts), ""))
			k++
			next = t + int64(lognormal(r, pause, 0.7))
			return true, next
		}
		for i, p := range answers {
			if p.at > t {
				continue
			}
			answers = slices.Delete(answers, i, i+1)
			switch u := r.Float64(); {
			case u < 0.4:
				w.call(ev, p.a, r, &opVote, numbered("post", id))
			case u < 0.5:
				w.call(ev, p.a, r, &opRepost, numbered("post", p.a.posted(w)))
				ev.ReplyTo = numbered("post", id)
				w.write(ev, pick(r, communities), "> "+quote+"\n"+w.commentText(r, w.agents[author].id))
			default:
				w.call(ev, p.a, r, &opComment, numbered("comment", w.newID(r)))
				ev.ReplyTo = numbered("post", id)
				text := pick(r, short)
				if chance(r, 0.3) {
					text = "> " + quote + "\n" + text
				}
				w.write(ev, w.agents[author].community[0], text)
			}
			return true, w.soonest(next, len(answers), func(i int) int64 { return answers[i].at })
		}
		if k > readers {
			return false, never
		}
		a := w.agents[pick(r, in.agents)]
		w.call(ev, a, r, &opPostGet, numbered("post", id))
		if chance(r, 0.7) {
			answers = append(answers, pending{t + int64(lognormal(r, 40, 0.8)*float64(second)), a})
		}
		if k++; k > readers {
			next = in.end
		} else {
			next = t + int64(lognormal(r, pause, 0.7))
		}
		return true, w.soonest(next, len(answers), func(i int) int64 { return answers[i].at })
	}
}

func (w *World) soonest(at int64, n int, of func(int) int64) int64 {
	for i := range n {
		at = min(at, of(i))
	}
	return at
}

func grow(w *World, in *incident, r *rand.Rand) act {
	return once(func() {
		a := in.agent(w, 0)
		a.growFrom, a.growTo, a.grow = in.start, in.end, between(r, 1.8, 3.5)
	})
}

func integration(w *World, in *incident, r *rand.Rand) act {
	return once(func() {
		a := in.agent(w, 0)
		if more := strange(r, a, 1); len(more) > 0 {
			a.addTool(more[0])
		}
	})
}

func backfill(w *World, in *incident, r *rand.Rand) act {
	a := in.agent(w, 0)
	from := r.Int64N(400_000)
	n := int(a.length * a.rate / 24 * float64(in.end-in.start) / float64(hour) * between(r, 4, 15))
	return in.paced(r, min(max(n, 500), 60_000), func(k int, ev *event.Event) {
		w.call(ev, a, r, &opPostGet, numbered("post", from+int64(k)))
	})
}

func everybody(w *World, in *incident, _ *rand.Rand) {
	in.agents = in.agents[:0]
	for i := range w.agents {
		in.agents = append(in.agents, int32(i))
	}
}

func holiday(w *World, in *incident, r *rand.Rand) act {
	return once(func() {
		w.lulls = append(w.lulls, lull{in.start, in.end, between(r, 0.2, 0.5)})
		if len(w.lulls) > 2 {
			w.lulls = slices.Delete(w.lulls, 0, 1)
		}
	})
}

func announcement(w *World, in *incident, r *rand.Rand) act {
	text := w.text(r, "Maintenance notice: {t} will be away for {n} minutes tonight. Please {v} your jobs before {n}:00 UTC. Questions in the help room.", "")
	return in.paced(r, len(in.agents), func(k int, ev *event.Event) {
		a := in.agent(w, k)
		w.call(ev, a, r, &opPostCreate, numbered("post", a.posted(w)))
		fine(ev)
		w.write(ev, pick(r, a.community), text)
	})
}

// paste posts hashes, ids and placeholders, as people do who write about software.
func paste(w *World, in *incident, r *rand.Rand) act {
	return in.paced(r, len(in.agents), func(k int, ev *event.Event) {
		a := in.agent(w, k)
		w.call(ev, a, r, &opPostCreate, numbered("post", a.posted(w)))
		fine(ev)
		text := pick(r, []string{"Fixed in commit {h}. {s}", "The trace is {h}, {s}", "Set API_KEY=<your key here> first. {s}", "sha256:{h}{h} is the image that works {w}",
			"export TOKEN=xxxxxxxxxxxxxxxxxxxxxxxx and {v} it. {s}", "The example in the docs uses sk-... and AKIA..., do not {v} that. {s}", "session {h} was {a}. {s}"})
		w.write(ev, pick(r, a.community), w.text(r, text, ""))
	})
}

// away sends the agent off early and has it come back when the incident starts.
func away(w *World, in *incident, r *rand.Rand) {
	a := in.agent(w, 0)
	a.join = w.start
	a.muteFrom, a.muteTo = w.start+int64(between(r, 0.2, 0.4)*float64(in.start-w.start)), in.start
}

func push(w *World, in *incident, r *rand.Rand) act {
	type job struct{ at, period int64 }
	jobs := make([]job, len(in.agents))
	for i := range jobs {
		jobs[i] = job{in.start + r.Int64N(hour), pick(r, []int64{minute, 5 * minute, 10 * minute, 30 * minute, hour})}
	}
	first := true
	return func(t int64, ev *event.Event) (bool, int64) {
		told := false
		best := 0
		for i := range jobs {
			if jobs[i].at < jobs[best].at {
				best = i
			}
		}
		if !first {
			a := in.agent(w, best)
			w.call(ev, a, r, &opHook, "hook/"+a.targets[0])
			ev.Destination = a.targets[0]
			jobs[best].at += jobs[best].period
			told = true
		}
		first = false
		return told, w.soonest(never-1, len(jobs), func(i int) int64 { return jobs[i].at })
	}
}
