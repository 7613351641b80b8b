package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/astray-dev/astray/ingest/event"
)

// An adversary knows that what is usual is learned from what it does. It therefore prepares its attack for days, so that the
// attack looks usual when it comes. In a world with an adversary, what prepares is an incident of kind Poisoning and each
// attack it leads to one of the attack's kind. The rest of the world is as it is without it, and with Unprepared the same
// attacks come to the same agents out of the blue, which says what the preparation was worth.

// Poisoning is the kind of the incidents in which an adversary prepares an attack.
const Poisoning = "poisoning"

// RisePerHour is the factor by which an adversary that rises does more from hour to hour, for riseHours.
const (
	RisePerHour = 1.03
	riseHours   = 48
)

// adversary is a way of preparing an attack, and how many days it takes after the quiet ones.
type adversary struct {
	name string
	days float64
	plan func(w *World, r *rand.Rand, from int64) error
}

var adversaries = []adversary{
	{"rise", 4, planRise},
	{"alternate", 6.75, planAlternate},
	{"cohort", 4.5, planCohort},
}

// Adversaries are the names that Config.Adversary takes.
func Adversaries() (names []string) {
	for _, a := range adversaries {
		names = append(names, a.name)
	}
	return names
}

func (cfg *Config) adversary() (*adversary, error) {
	for i := range adversaries {
		if a := &adversaries[i]; a.name == cfg.Adversary {
			if cfg.Quiet+a.days > cfg.Days {
				return nil, fmt.Errorf("adversary: %s needs %g days after the quiet ones", a.name, a.days)
			}
			return a, nil
		}
	}
	return nil, fmt.Errorf("adversary: %q is not one of %v", cfg.Adversary, Adversaries())
}

// varietyOf is the attack of that kind and note.
func varietyOf(kind, note string) variety {
	i := slices.IndexFunc(attacks, func(v variety) bool { return v.kind == kind && v.note == note })
	return attacks[i]
}

// prepares adds what prepares an attack, unless the attack is to come unprepared. accept is who is right to alert on it.
func (w *World) prepares(note string, accept []string, agents []int32, from, to int64, run func(*World, *incident, *rand.Rand) act) {
	if !w.cfg.Unprepared {
		w.script(variety{kind: Poisoning, note: note, accept: accept, run: run}, agents, from, to)
	}
}

// script adds an incident of the adversary's.
func (w *World) script(v variety, agents []int32, from, to int64) {
	w.scripts++
	// By its end and its agents, so that an attack is the same whether it was prepared or not.
	rng := w.random(6, mix(uint64(to))^uint64(agents[0]))
	in := &incident{variety: &v, id: fmt.Sprintf("adversary-%04d", w.scripts), agents: agents, start: from, end: to, rng: rng}
	w.incidents = append(w.incidents, in)
}

// lasting reports whether the agent is there from the beginning to the end. What else befalls it does to others as well.
func (w *World) lasting(a *agent) bool { return a.join == w.start && a.muteFrom == 0 && a.muteTo == 0 }

// loner finds an agent that talks a lot, of a cohort of which the adversary has none yet if there is one.
func (w *World) loner(r *rand.Rand, taken map[string]bool) (*agent, error) {
	fits := and(is(chatter), daily(80))
	for try := range 1000 {
		a := w.agents[r.IntN(len(w.agents))]
		if fits(a) && w.lasting(a) && !taken[a.id] && (try >= 500 || !taken[a.cohort]) {
			taken[a.cohort], taken[a.id] = true, true
			return a, nil
		}
	}
	return nil, fmt.Errorf("adversary: a world of %d agents and seed %d has nobody that fits", w.cfg.Agents, w.cfg.Seed)
}

// loud adds a loud attack of the kind by the agent that begins at a time, with the note's end.
func (w *World) loud(r *rand.Rand, kind, note, after string, a *agent, at int64) {
	v := varietyOf(kind, note)
	v.note = fmt.Sprintf("%s, %s", note, after)
	w.script(v, []int32{a.i}, at, at+span(r, v.hours[0], v.hours[1], hour))
}

// moreOfIt does what do does beside the agent's own work, in its sessions, so much that the agent does level times as much
// of it, where level is that of the time since the beginning, and share the part that it has of the agent's own work.
func moreOfIt(do func(w *World, a *agent, r *rand.Rand, ev *event.Event), share float64, level func(since int64) float64) func(*World, *incident, *rand.Rand) act {
	const (
		usualGap = 10.7 // mean time between two events of a session (agent.work) that is not quick, in seconds
		look     = float64(5 * minute)
	)
	return func(w *World, in *incident, r *rand.Rand) act {
		a, due := in.agent(w, 0), false
		return func(t int64, ev *event.Event) (bool, int64) {
			told := due && a.left > 0
			if told {
				do(w, a, r, ev)
			}
			// A Poisson process that goes on between sessions as well, where nothing comes of it.
			more := share * (level(t-in.start) - 1)
			gap := r.ExpFloat64() * usualGap * a.quick * float64(second) / math.Max(more, 1e-6)
			due = gap < look
			return told, t + int64(math.Min(gap, look))
		}
	}
}

// readProfiles reads one of the many profiles that nobody has read yet.
func readProfiles(w *World, a *agent, r *rand.Rand, ev *event.Event) {
	w.call(ev, a, r, pick(r, []*operation{&opProfile, &opFollowers}), numbered("agent/u", r.Int64N(4_000_000)))
	fine(ev)
}

func writeComments(w *World, a *agent, r *rand.Rand, ev *event.Event) {
	p := w.recentPost(r)
	w.call(ev, a, r, &opComment, numbered("comment", w.newID(r)))
	ev.ReplyTo = numbered("post", p.id)
	w.write(ev, pick(r, a.community), w.commentText(r, w.agents[p.author].id))
}

// planRise has four agents do more by RisePerHour from hour to hour for riseHours, go on at that level for a day, and then
// attack: two with reads, two with posts.
func planRise(w *World, r *rand.Rand, from int64) error {
	level := func(since int64) float64 {
		return math.Pow(RisePerHour, min(float64(since)/float64(hour), riseHours))
	}
	taken := map[string]bool{}
	for k := range 4 {
		start := from + r.Int64N(6*hour)
		end := start + riseHours*hour + day
		a, err := w.loner(r, taken)
		if err != nil {
			return err
		}
		if k%2 == 0 {
			w.prepares("reads rise by 3 % an hour", []string{"scraping", "burst", "drift"}, []int32{a.i}, start, end, moreOfIt(readProfiles, 0.6, level))
			w.loud(r, "scraping", "profiles, loud", "after a rise", a, end+span(r, 0.2, 1, hour))
		} else {
			w.prepares("posts rise by 3 % an hour", []string{"burst", "drift", "coordination"}, []int32{a.i}, start, end, moreOfIt(writeComments, 0.3, level))
			w.loud(r, "burst", "comments, loud", "after a rise", a, end+span(r, 0.2, 1, hour))
		}
	}
	return nil
}

// planAlternate has three agents attack and be quiet by turns, and then attack: one for ten minutes of every hour for
// two days with a quarter of what an attack has, two on every second day with all of it, one of these at the same hour.
func planAlternate(w *World, r *rand.Rand, from int64) error {
	accept := []string{"scraping", "burst", "drift"}
	taken := map[string]bool{}
	for k := range 3 {
		start := from + r.Int64N(6*hour)
		end := start + 6*day
		if k == 0 {
			end = start + 2*day
		}
		a, err := w.loner(r, taken)
		if err != nil {
			return err
		}
		if k == 0 {
			w.prepares("ten minutes of every hour", accept, []int32{a.i}, start, end, windows(whole(r, 60, 150)))
			w.loud(r, "scraping", "profiles, loud", "after attack windows", a, end+span(r, 0.2, 1, hour))
			continue
		}
		n, last := whole(r, 400, 1200), span(r, 0.12, 0.5, hour)
		var at [3]int64
		for i := range at {
			at[i] = start + int64(i)*2*day
			if k == 1 {
				at[i] += r.Int64N(8 * hour)
			}
		}
		note, after := "every second day, at any hour", "after attack days"
		if k == 2 {
			note, after = "every second day, at one hour", "after attack days, at their hour"
		}
		w.prepares(note, accept, []int32{a.i}, at[0], end-hour, func(w *World, in *incident, r *rand.Rand) act {
			return rehearse(w, in, r, at[:], n, last)
		})
		v := varietyOf("scraping", "profiles, loud")
		v.note, v.run = v.note+", "+after, scrape(n, n, false)
		if k == 1 {
			end += r.Int64N(8 * hour)
		}
		w.script(v, []int32{a.i}, end, end+last)
	}
	return nil
}

// windows reads so many profiles in the first ten minutes of every hour since its start.
func windows(n int) func(*World, *incident, *rand.Rand) act {
	return func(w *World, in *incident, r *rand.Rand) act {
		a := in.agent(w, 0)
		mean := float64(10*minute) / float64(n)
		return func(t int64, ev *event.Event) (bool, int64) {
			since := t - in.start
			if since%hour >= 10*minute {
				return false, in.start + (since/hour+1)*hour
			}
			readProfiles(w, a, r, ev)
			return true, t + int64(r.ExpFloat64()*mean)
		}
	}
}

// rehearse attacks with n reads at each of the times, for as long as last.
func rehearse(w *World, in *incident, r *rand.Rand, at []int64, n int, last int64) act {
	a := in.agent(w, 0)
	mean := float64(last) / float64(n)
	return func(t int64, ev *event.Event) (bool, int64) {
		for _, from := range at {
			if t < from {
				return false, from
			}
			if t < from+last {
				readProfiles(w, a, r, ev)
				return true, t + int64(r.ExpFloat64()*mean)
			}
		}
		return false, never
	}
}

// planCohort has most agents of a cohort, for three days, read ever more profiles at a time and take up one strange service
// after the other. Then one of them attacks, an agent of the cohort that took no part, and one that has just joined; the
// latter two also move through the services that the others have taken up.
func planCohort(w *World, r *rand.Rand, from int64) error {
	const lasts, least, most = 3 * day, 7, 14
	joined := from + lasts - 30*hour
	idle := func(i int32) bool {
		return !slices.ContainsFunc(w.agents[i].busy, func(b [2]int64) bool { return b[0] < joined })
	}
	var free []int32
	for _, c := range w.cohorts {
		if a := w.agents[c[0]]; !is(chatter, integrator)(a) || a.tells&cohortField == 0 {
			continue
		}
		var fit []int32
		for _, i := range c {
			if w.lasting(w.agents[i]) {
				fit = append(fit, i)
			}
		}
		if len(fit) > len(free) && slices.ContainsFunc(fit, idle) {
			free = fit
		}
	}
	if len(free) < least {
		return fmt.Errorf("adversary: a world of %d agents and seed %d has no cohort that is large enough", w.cfg.Agents, w.cfg.Seed)
	}
	r.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	late := slices.IndexFunc(free, idle)
	free[0], free[late] = free[late], free[0]
	free = free[:min(len(free), most)]
	joins, victim, theirs := w.agents[free[0]], w.agents[free[1]], free[2:]
	joins.join = joined
	row := strange(r, victim, len(tools))
	w.prepares("most of a cohort reads and takes up ever more", []string{"scraping", "burst", "drift", "lateral-movement", "coordination"}, theirs, from, from+lasts,
		func(w *World, in *incident, r *rand.Rand) act { return spoil(w, in, r, row) })
	at := from + lasts
	attack := func(kind, note, after string, a *agent) {
		at += span(r, 3.5, 4.5, hour) // no surge of several
		w.loud(r, kind, note, after, a, at)
	}
	attack("scraping", "profiles, loud", "by one that poisoned its cohort", w.agents[theirs[0]])
	attack("scraping", "profiles, loud", "by another of a poisoned cohort", victim)
	attack("scraping", "profiles, loud", "by a newcomer to a poisoned cohort", joins)
	attack("lateral-movement", "services in a row, fast", "by another of a poisoned cohort", victim)
	attack("lateral-movement", "services in a row, fast", "by a newcomer to a poisoned cohort", joins)
	return nil
}

// spoil has the agents, one after the other, read profiles for a quarter of an hour every three hours, a seventh more
// each time up to what an attack has, and take up the strange services.
func spoil(w *World, in *incident, r *rand.Rand, row []*tool) act {
	const every, lasts, least, factor = 3 * hour, 15 * minute, 20, 1.14
	type bout struct{ next, until int64 }
	bouts := make([]bout, len(in.agents))
	for i := range bouts {
		bouts[i].next = in.start + r.Int64N(every)
	}
	return func(t int64, ev *event.Event) (bool, int64) {
		k := 0
		for i := range bouts {
			if bouts[i].next < bouts[k].next {
				k = i
			}
		}
		b := &bouts[k]
		if b.next > t {
			return false, b.next
		}
		a := in.agent(w, k)
		round := (t - in.start) / every
		if b.until < t {
			b.until = t + lasts
		}
		n := least * math.Pow(factor, float64(round))
		if chance(r, 4/n) {
			// Some four calls of this bout's service.
			s := row[(int(round)+k)%len(row)]
			w.call(ev, a, r, pick(r, []*operation{&s.list, &s.get}), numbered(s.get.object, r.Int64N(5000)))
		} else {
			readProfiles(w, a, r, ev)
		}
		if b.next = t + int64(r.ExpFloat64()*float64(lasts)/n); b.next > b.until {
			b.next = in.start + (round+1)*every + r.Int64N(every-lasts)
		}
		next := bouts[0].next
		for _, o := range bouts {
			next = min(next, o.next)
		}
		return true, next
	}
}
