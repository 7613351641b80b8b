package scenario

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/astray-dev/astray/ingest/event"
)

// events makes what happens, in the order of time. Every agent has a generator of its own for each activity: what is
// added to a scenario does not change what was there.
func (s *Scenario) events(seed uint64) ([]event.Event, error) {
	m := &maker{s: s, seed: seed, end: time.Duration(s.Days * 24 * float64(time.Hour))}
	for i := range s.traffic {
		m.activity(&s.traffic[i], uint64(i))
	}
	for i := range s.incident {
		m.activity(&s.incident[i], 1<<32+uint64(i))
	}
	if len(m.out) > maxEvents {
		return nil, fmt.Errorf("%s: more than %d events", s.Path, maxEvents)
	}
	slices.SortStableFunc(m.out, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) })
	var redact *event.Redactor
	for i := range m.out {
		e := &m.out[i]
		e.ID = fmt.Sprintf("event-%07d", i+1)
		if err := event.Complete(e, math.MaxInt64/2); err != nil {
			return nil, fmt.Errorf("%s: an event of %s at %s: %w", s.Path, e.AgentID, time.UnixMicro(e.Time).UTC().Format(time.RFC3339), err)
		}
		redact.Redact(e)
	}
	return m.out, nil
}

type maker struct {
	s    *Scenario
	seed uint64
	end  time.Duration
	out  []event.Event
	b    strings.Builder
}

func (m *maker) activity(a *activity, stream uint64) {
	if a.turns {
		m.schedule(a, m.random(stream, 1<<40), func(k int) int { return k % len(a.who) }, map[int]*int64{})
		return
	}
	for j := range a.who {
		m.schedule(a, m.random(stream, uint64(a.who[j])), func(int) int { return j }, map[int]*int64{})
	}
}

func (m *maker) random(stream, agent uint64) *rand.Rand {
	return rand.New(rand.NewPCG(m.seed^stream*0x9e3779b97f4a7c15, agent+1))
}

// schedule makes the occasions of an agent, or of several that take turns. who is the place in a.who of an occasion's.
func (m *maker) schedule(a *activity, r *rand.Rand, who func(k int) int, counts map[int]*int64) {
	k := 0
	busy := time.Duration(0)
	occasion := func(at time.Duration) {
		if at >= a.until || at >= m.end || len(m.out) > maxEvents {
			return
		}
		j := who(k)
		k++
		if counts[j] == nil {
			counts[j] = new(int64)
		}
		busy = m.occasion(a, j, int64(k), at, r, counts[j]) + a.gap
	}
	switch {
	case a.sessions > 0:
		most := math.Max(a.grows, 1)
		rate := most * a.sessions * math.Exp(a.spread*r.NormFloat64()-a.spread*a.spread/2)
		const day = 24 * time.Hour
		for d := a.from.Truncate(day); d < a.until; d += day {
			n := rate * math.Exp(0.2*r.NormFloat64())
			if w := m.s.Start.Add(d).Weekday(); w == time.Saturday || w == time.Sunday {
				n *= a.weekends
			}
			var times []time.Duration
			for range poisson(r, n) {
				hour := a.hours[0] + r.Float64()*(a.hours[1]-a.hours[0])
				times = append(times, d+time.Duration(hour*float64(time.Hour)))
			}
			slices.Sort(times)
			for _, t := range times {
				t = max(t, busy) // an agent does one thing at a time
				if t >= a.from && (a.grows == 1 || r.Float64()*most < a.growth(t)) {
					occasion(t)
				}
			}
		}
	case a.every > 0:
		at := a.from
		if !a.fromGiven || !a.together() {
			at += time.Duration(r.Float64() * float64(a.every))
		}
		for at < a.until && len(m.out) <= maxEvents {
			occasion(at)
			pause := float64(a.every) / a.growth(at) * (1 + a.jitter*r.NormFloat64())
			at += max(time.Duration(pause), time.Duration(float64(a.every)/a.growth(at)/10), time.Millisecond)
		}
	case a.times > 0:
		times := make([]time.Duration, a.times)
		for i := range times {
			times[i] = time.Duration(r.Float64() * float64(a.until-a.from))
		}
		if a.together() {
			times[0] = 0
		}
		slices.Sort(times)
		for _, t := range times {
			occasion(a.from + t)
		}
	default:
		occasion(a.from)
	}
}

// together says that the activity has one schedule, which begins when the activity does. Several agents that each have
// their own do not all begin in the same instant.
func (a *activity) together() bool { return a.turns || len(a.who) == 1 }

// growth is the factor on the activity's rate at a time.
func (a *activity) growth(at time.Duration) float64 {
	if a.grows == 1 || a.until <= a.from {
		return 1
	}
	return math.Pow(a.grows, float64(at-a.from)/float64(a.until-a.from))
}

func poisson(r *rand.Rand, mean float64) int {
	n := 0
	for t := r.ExpFloat64(); t < mean; t += r.ExpFloat64() {
		n++
	}
	return n
}

func (x span) draw(r *rand.Rand) float64 {
	if x.hi <= x.lo {
		return x.lo
	}
	lo := math.Max(x.lo, 1)
	return math.Exp(math.Log(lo) + r.Float64()*math.Log(math.Max(x.hi, 1)/lo))
}

// occasion makes the events of one occasion and returns when it was over.
func (m *maker) occasion(a *activity, j int, k int64, at time.Duration, r *rand.Rand, n *int64) time.Duration {
	length := len(a.ops)
	if !a.steps {
		length = int(math.Round(a.length.draw(r)))
	}
	for i := range length {
		o := &a.ops[i%len(a.ops)]
		if !a.steps {
			u := r.Float64() * a.shares
			for x := range a.ops {
				if o = &a.ops[x]; u < o.share {
					break
				}
				u -= o.share
			}
		}
		switch {
		case o.waitGiven:
			at += o.wait
		case i > 0:
			at += max(time.Duration(r.ExpFloat64()*float64(a.gap)), time.Millisecond)
		}
		if at >= m.end || len(m.out) > maxEvents {
			break
		}
		*n++
		m.event(a, j, o, k, *n, at, r)
	}
	return at
}

func (m *maker) event(a *activity, j int, o *op, k, n int64, at time.Duration, r *rand.Rand) {
	g := &m.s.agents[a.who[j]]
	if at < g.joins {
		return
	}
	fill := slots{rng: r, agent: g.id, n: n, k: k, i: int64(j + 1), of: int64(len(a.who)), day: int64(at / (24 * time.Hour))}
	// The texts are drawn even when the agent is silent, so that silence changes nothing else.
	var texts [numTexts]string
	for i, t := range o.texts {
		if t != nil {
			texts[i] = strings.Clone(t.fill(&m.b, &fill))
		}
	}
	status := 0
	if len(o.status) > 0 {
		sum := 0.0
		for _, w := range o.status {
			sum += w.weight
		}
		u := r.Float64() * sum
		for _, w := range o.status {
			if status = w.value; u < w.weight {
				break
			}
			u -= w.weight
		}
	}
	request, response := o.request.draw(r), o.response.draw(r)
	who, silent := m.s.identity(a.who[j], at)
	if silent {
		return
	}
	e := event.Event{Time: m.s.Start.Add(at).UnixMilli() * 1000, Kind: o.kind, Access: o.access, AgentID: g.id, Status: int32(status),
		RequestBytes: int64(request), ResponseBytes: int64(response),
		Action: texts[actionText], Method: texts[methodText], Service: texts[serviceText], Resource: texts[resourceText],
		Destination: texts[destinationText], Content: texts[contentText], ReplyTo: texts[replyText], Community: texts[communityText],
		CredentialID: cmp.Or(texts[credentialText], who.credential), SourceIP: cmp.Or(texts[sourceText], who.source),
		UserAgent: cmp.Or(texts[clientText], who.client), SessionID: texts[sessionText], OwnerID: who.owner, AgentVersion: who.version, Cohort: who.cohort}
	if texts[onBehalfText] != "" {
		e.OnBehalfOf = []string{texts[onBehalfText]}
	}
	m.out = append(m.out, e)
}

// identity is who the agent is at a time, and whether it is silent.
func (s *Scenario) identity(a int, at time.Duration) (identity, bool) {
	who := s.agents[a].identity
	silent := false
	for i := range s.changes {
		c := &s.changes[i]
		j := slices.Index(c.who, a)
		if j < 0 {
			continue
		}
		from := c.at
		if len(c.who) > 1 {
			from += time.Duration(float64(c.over) * float64(j) / float64(len(c.who)-1))
		}
		if at < from || at >= c.until {
			continue
		}
		silent = silent || c.silent
		for name, t := range c.set {
			var b strings.Builder
			id := s.agents[a].id
			// Drawn for the agent and the change, so that it is the same at each event.
			v := t.fill(&b, &slots{rng: rand.New(rand.NewPCG(hash(id), uint64(i))), agent: id, i: int64(j + 1), of: int64(len(c.who)), n: 1, k: 1})
			switch name {
			case "cohort":
				who.cohort = v
			case "owner":
				who.owner = v
			case "version":
				who.version = v
			case "client":
				who.client = v
			case "source":
				who.source = v
			case "credential":
				who.credential = v
			}
		}
	}
	return who, silent
}
