package feature

import (
	"cmp"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/models/cardinality"
	"github.com/astray-dev/astray/models/rate"
)

// EntityKind says what an entity is that several agents can have in common.
type EntityKind uint8

const (
	Target     EntityKind = iota // an operation on a service: who calls it, and how often
	Object                       // an operation that writes on one object: who votes on, replies to, edits it
	Credential                   // a key
	Source                       // a network address
	Template                     // what texts have in common
	Drop                         // a destination that came as a surprise to those who write to it
	Phrase                       // three words of a text's sketch
	Page                         // what a link in a text leads to
	NumEntityKinds
)

var entityNames = [NumEntityKinds]string{"target", "object", "credential", "source", "template", "destination", "phrase", "page"}

// String is the kind's name.
func (k EntityKind) String() string { return entityNames[k] }

// key tells the values of different kinds apart.
func (k EntityKind) key(h uint64) uint64 { return h ^ (uint64(k)+1)*saltService }

// Crowd is something that is counted of an entity.
type Crowd uint8

const (
	CrowdAgents Crowd = iota // distinct agents in the window
	CrowdEvents              // events in the window
	CrowdFresh               // agents that the entity has not seen before
	CrowdChain               // of a template or phrase, agents that passed on what they had read from one who had read it; of a source, agents new to it and away from their own
	NumCrowds
)

var crowdNames = [NumCrowds]string{"distinct_agents", "events", "new_agents", "passed_on_from_reposts"}

// String is the count's name.
func (c Crowd) String() string { return crowdNames[c] }

const (
	maxMembers  = 512     // agents an entity remembers
	maxEntities = 1 << 17 // entities of all kinds
	maxWaiting  = 1 << 16 // values seen with one agent only
	maxPosts    = 24      // posts a phrase remembers
	maxSent     = 36      // posts a template remembers, and whom they were to
	maxFirst    = 4       // … while one agent alone has it
)

// Entity is what is remembered of something that agents share. It exists from the second agent on: most
// values belong to one agent alone and wait in a table of sixteen bytes each.
type Entity struct {
	Kind        EntityKind
	Key         uint64
	Name        string
	First, Last int64
	window      [NumScales]int64
	n           [NumScales]float32
	cells       [NumScales][NumCrowds]cell
	members     cardinality.Recency // agents, by when they were seen
	latest      latest              // the agents seen last
	posts       []post              // of a template, oldest first
	cargo       *cargo              // of a target whose requests have a size
	balks       []balk              // of a target, the agents it fails for
	kin         uint32              // of an object, the cohort of the agent that was new to it last
	joined      bool                // … and the event's agent is new to it, and of another
	Depth       uint8               // longest chain of posts of a template, each by an agent that had read the one before
	dirty       bool
}

const maxNames = 64

// latest is the names of the agents seen last, at most maxNames, as a list from the newest to the oldest. A busy entity's latest change
// with nearly every event: nothing is moved but places in the list, and filter tells of most newcomers that they need not be
// looked for.
type latest struct {
	names          []string
	keys           []uint32  // hashes of the names
	places         []place   // in the list, of each name
	newest, oldest uint8     // places
	filter         [4]uint64 // a bit for each key, and for some of those that are gone
	gone           uint8     // how many
}

// place is where a name stands in the list.
type place struct{ older, newer uint8 }

func (l *latest) len() int { return len(l.names) }

// bit is where a key's bit stands in the filter.
func (*latest) bit(key uint32) (word int, bit uint64) { return int(key >> 30), 1 << (key >> 24 & 63) }

// add makes the name the newest.
func (l *latest) add(name string, key uint32) {
	word, bit := l.bit(key)
	if l.filter[word]&bit != 0 {
		for p, k := range l.keys {
			if k == key && l.names[p] == name {
				l.raise(uint8(p))
				return
			}
		}
	}
	l.filter[word] |= bit
	if n := len(l.names); n < maxNames {
		l.names, l.keys = append(l.names, name), append(l.keys, key)
		l.places = append(l.places, place{older: l.newest})
		if n > 0 {
			l.places[l.newest].newer = uint8(n)
		}
		l.newest = uint8(n)
		return
	}
	p := l.oldest
	l.names[p], l.keys[p] = name, key
	l.raise(p)
	if l.gone++; l.gone == maxNames {
		l.gone, l.filter = 0, [4]uint64{}
		for _, k := range l.keys {
			word, bit := l.bit(k)
			l.filter[word] |= bit
		}
	}
}

// raise makes the name at a place the newest.
func (l *latest) raise(p uint8) {
	if p == l.newest {
		return
	}
	at := &l.places[p]
	if p == l.oldest {
		l.oldest = at.newer
	} else {
		l.places[at.older].newer = at.newer
	}
	l.places[at.newer].older = at.older
	at.older, l.places[l.newest].newer = l.newest, p
	l.newest = p
}

// all returns a copy of the names, oldest first.
func (l *latest) all() []string {
	names := make([]string, len(l.names))
	p := l.oldest
	for i := range names {
		names[i] = l.names[p]
		p = l.places[p].newer
	}
	return names
}

// Names returns the names of the agents seen last with the entity, oldest first, at most maxNames.
func (e *Entity) Names() []string { return e.latest.all() }

// post is a post of a template: the hash of its id, its author, and how far it is from the first. A phrase remembers those
// by which agents took it up.
type post struct {
	id, agent uint32
	wording   uint32 // of a phrase: hash of the text
	minute    uint32 // … and when
	depth     uint8
}

// waiting is a value seen with one agent.
type waiting struct {
	agent   uint32
	minute  uint32
	posts   [maxFirst]uint32
	wording uint32 // of a phrase: hash of the text; of an object: its cohort (kinOf)
}

// crowdPool is what entities of a kind show.
type crowdPool struct {
	N    [NumScales]float32
	Mean [NumScales][NumCrowds]float32
	Var  [NumScales][NumCrowds]float32
}

// single counts a value of one agent: most texts and objects are, and an entity of two is judged against them.
func (p *crowdPool) single() {
	for sc := range NumScales {
		a := p.part(sc, 1)
		p.learn(sc, CrowdAgents, 1, a)
		p.learn(sc, CrowdEvents, 1, a)
		p.learn(sc, CrowdFresh, 1, a)
		p.learn(sc, CrowdChain, 0, a)
		p.N[sc] = min(p.N[sc]+1, 50*memory[sc])
	}
}

// part is the part that a value of that weight has in all that are learned.
func (p *crowdPool) part(sc Scale, weight float32) float32 {
	return weight / (min(p.N[sc], 50*memory[sc]-weight) + weight)
}

func (p *crowdPool) learn(sc Scale, c Crowd, x, a float32) {
	rate.Learn(&p.Mean[sc][c], &p.Var[sc][c], x, a)
}

// Shared owns the entities that agents have in common.
type Shared struct {
	entities table[*Entity]
	waiting  table[waiting]
	pools    [NumEntityKinds]crowdPool
	likeness [len(likenessMinutes)]Moments // other texts that are nearly the same as one, by how far back
	gathered gathering                     // of all operations
	dirty    bool
	gone     []uint64 // entities forgotten since the last checkpoint
	away     bool     // what crosses agents is judged behind an exchange (SetExchange)

	gatherings map[uint64]*gathering // by operation

	maxEntities, maxWaiting int
}

func newShared() *Shared {
	return &Shared{gatherings: map[uint64]*gathering{}, maxEntities: maxEntities, maxWaiting: maxWaiting}
}

// touch counts one event of an agent with an entity and returns the entity, nil while it belongs to one agent.
// fresh says that the agent is new to the entity, before is the minute in which it was last seen with it, 0 for never.
func (s *Shared) touch(kind EntityKind, key uint64, a *Agent, sec int64, name func() string) (e *Entity, fresh bool, before uint32) {
	key = kind.key(key)
	e = s.entities.get(key)
	agent := uint32(a.Key>>32) | 1
	minute := uint32(max(sec/60, 1))
	if e == nil {
		var w waiting
		p := s.waiting.at(key)
		ok := p != nil
		if ok {
			w = *p
		}
		if !ok || w.agent == agent {
			if !ok && s.waiting.len() >= s.maxWaiting {
				s.sweepWaiting()
			}
			if !ok && !s.elsewhere(kind) && (kind == Template || kind == Object || kind == Source || kind == Phrase || kind == Page) {
				s.pools[kind].single()
			}
			before = w.minute
			w.agent, w.minute = agent, max(w.minute, minute)
			if kind == Object {
				w.wording = kinOf(a)
			}
			s.waiting.set(key, w)
			s.dirty = true
			return nil, !ok, before
		}
		s.waiting.remove(key)
		if s.entities.len() >= s.maxEntities {
			s.sweep()
		}
		e = &Entity{Kind: kind, Key: key, Name: name(), First: int64(w.minute) * 60, Last: sec, window: [NumScales]int64{-1, -1, -1, -1}}
		for _, p := range w.posts {
			if p != 0 {
				e.posts = append(e.posts, post{id: p, agent: w.agent, wording: w.wording, minute: w.minute})
			}
		}
		if kind == Object {
			e.kin = w.wording
		}
		s.entities.set(key, e)
		// The first agent counts where its event still lies in an open window.
		s.count(e, uint64(w.agent)<<32, int64(w.minute)*60, w.minute, "")
	}
	before = s.count(e, a.Key, sec, minute, a.ID)
	if e.joined = false; kind == Object && before == 0 && !s.elsewhere(kind) {
		if kin := kinOf(a); kin != e.kin {
			e.joined, e.kin = true, kin
			s.bump(e, CrowdChain, sec, 1)
		}
	}
	return e, before == 0, before
}

// kinOf is the hash of the agent's cohort. Agents of which nothing is said are each their own.
func kinOf(a *Agent) uint32 {
	if a.Cohort == nil || a.Cohort.Name == "" {
		return uint32(a.Key>>32) | 1
	}
	return uint32(xxhash.Sum64String(a.Cohort.Name)>>32) | 1
}

// elsewhere says that entities of the kind are judged behind the exchange alone: all that matters of them here is when each
// agent was last seen with them.
func (s *Shared) elsewhere(kind EntityKind) bool {
	return s.away && (kind == Object || kind == Credential || kind == Source)
}

// count counts one event of an agent with the entity and returns the minute in which the two were last seen together.
func (s *Shared) count(e *Entity, agent uint64, sec int64, minute uint32, name string) (before uint32) {
	e.dirty, s.dirty = true, true
	e.Last = max(e.Last, sec)
	if s.elsewhere(e.Kind) {
		return e.members.Touch(agent, minute, maxMembers)
	}
	var in [NumScales]bool
	for sc := range NumScales {
		w := sec / scaleSeconds[sc]
		if w > e.window[sc] {
			s.roll(e, sc, w)
		}
		in[sc] = w == e.window[sc]
	}
	before = e.members.Touch(agent, minute, maxMembers)
	for sc := range NumScales {
		if !in[sc] {
			continue
		}
		c := &e.cells[sc]
		c[CrowdEvents].cur++
		if int64(before)*60 < e.window[sc]*scaleSeconds[sc] {
			c[CrowdAgents].cur++
		}
		if before == 0 {
			c[CrowdFresh].cur++
		}
	}
	// Of others nobody is named here; and who was seen in this minute is among the latest already.
	if name != "" && before != minute && (!s.away || e.Kind == Drop) {
		e.latest.add(name, uint32(agent>>32))
	}
	return before
}

func (s *Shared) roll(e *Entity, sc Scale, w int64) {
	first := e.window[sc] < 0
	e.window[sc] = w
	if first {
		return
	}
	p := &s.pools[e.Kind]
	limit := memory[sc]
	n := min(e.n[sc], limit-1) + 1
	// However long an entity lives, it is one of its kind.
	weight := 1 / ((1 + e.n[sc]) * (1 + e.n[sc]))
	a := p.part(sc, weight)
	for c := range NumCrowds {
		cl := &e.cells[sc][c]
		x := cl.cur
		m, v := Mix(Moments{e.n[sc], cl.mean, cl.vari}, Moments{p.N[sc], p.Mean[sc][c], p.Var[sc][c]}).Predictive()
		if limit := float32(m + capSigmas*sqrt(v) + capFloor); x > limit {
			x = limit
		}
		cl.learn(x, 1/n)
		p.learn(sc, c, x, a)
		cl.cur = 0
	}
	e.n[sc], p.N[sc] = n, min(p.N[sc]+weight, 50*limit)
}

// Read returns what is counted of the entity at a scale and what was to be expected; false when the count is
// unremarkable or too little is known of entities of the kind.
func (s *Shared) Read(e *Entity, c Crowd, sc Scale) (Reading, bool) {
	cl := &e.cells[sc][c]
	if cl.cur < 2 {
		return Reading{}, false
	}
	p := &s.pools[e.Kind]
	own, prior := Moments{e.n[sc], cl.mean, cl.vari}, Moments{p.N[sc], p.Mean[sc][c], p.Var[sc][c]}
	if own.N+prior.N < minWindows {
		return Reading{}, false
	}
	r := Reading{Name: crowdNames[c], Scale: sc, Observed: float64(cl.cur), Peers: prior, Own: own}
	if e.Kind == Source && c == CrowdChain {
		r.Name = "agents_away_from_home"
	}
	r.Mean, r.Variance = Mix(own, prior).Predictive()
	if r.Observed <= r.Mean {
		return Reading{}, false
	}
	return r, true
}

// Joining returns how many agents took up a template within the hour, against what templates attract: nearly all stay
// with one agent. ok is false in the first day of a stream, when everything is new.
func (s *Shared) Joining(e *Entity, sinceStart int64) (r Reading, ok bool) {
	p := &s.pools[e.Kind]
	prior := Moments{p.N[Hour], p.Mean[Hour][CrowdFresh], p.Var[Hour][CrowdFresh]}
	if prior.N < minWindows || sinceStart < settling || e.members.Len() < 3 {
		return r, false
	}
	r = Reading{Name: crowdNames[CrowdFresh], Scale: Hour, Observed: float64(e.cells[Hour][CrowdFresh].cur), Peers: prior}
	r.Mean, r.Variance = prior.Predictive()
	return r, r.Observed > r.Mean+1
}

const (
	// spread is the Pareto index of how many agents take up a page of their own accord, beyond the first.
	spread = 3
	// pageShare is the part of pages that a second agent takes up within the hour, where no pages are known, and pagePrior how many
	// pages that is worth.
	pageShare, pagePrior = 0.05, 12
	// fewPages is how many agents with one page are nothing yet.
	fewPages = 3
)

// Spreading returns how many agents have put a link to a page into texts within the hour that had it from none of those before them,
// with the probability, as a natural logarithm, of as many. ok is false for a page that has been known for a day, which is
// looked up, and in the first day of a stream.
func (s *Shared) Spreading(e *Entity, sinceStart int64) (r Reading, logP float64, ok bool) {
	n := float64(e.cells[Hour][CrowdFresh].cur)
	if e.Last-e.First > settling || sinceStart < settling || n < fewPages {
		return r, 0, false
	}
	p := &s.pools[Page]
	prior := Moments{p.N[Hour], p.Mean[Hour][CrowdFresh], p.Var[Hour][CrowdFresh]}
	share := (float64(prior.N)*math.Max(float64(prior.Mean)-1, 0) + pageShare*pagePrior) / (float64(prior.N) + pagePrior)
	r = Reading{Name: "new_agents_with_one_link", Scale: Hour, Observed: n, Peers: prior, Mean: 1 + share, Variance: 1 + share}
	return r, math.Log(math.Min(share, 1)) - spread*math.Log(n-1), true
}

// Reach returns how many agents were seen with the entity in the three days up to its last event, against what
// entities of its kind reach in a day. Its own past does not count: what many share every day is not less shared.
func (s *Shared) Reach(e *Entity) (r Reading, ok bool) {
	p := &s.pools[e.Kind]
	prior := Moments{p.N[Day], p.Mean[Day][CrowdAgents], p.Var[Day][CrowdAgents]}
	if prior.N < minWindows {
		return r, false
	}
	n := e.members.Since(e.Last/60 - reachMinutes)
	r = Reading{Name: crowdNames[CrowdAgents], Scale: Day, Observed: float64(n), Peers: prior}
	r.Mean, r.Variance = prior.Predictive()
	return r, r.Observed > r.Mean && n >= 2
}

// reachMinutes is how far back Reach looks: campaigns come in waves.
const reachMinutes = 3 * 1440

// settling is for how many seconds a stream shows what everybody has always said.
const settling = 24 * 3600

// Members is the number of agents the entity remembers.
func (e *Entity) Members() int { return e.members.Len() }

// sweepWaiting forgets the half of the waiting values that was seen longest ago.
func (s *Shared) sweepWaiting() {
	minutes := make([]uint32, 0, s.waiting.len())
	for _, w := range s.waiting.all {
		minutes = append(minutes, w.minute)
	}
	slices.Sort(minutes)
	cut := minutes[len(minutes)/2]
	s.waiting.discard(func(w *waiting) bool { return w.minute <= cut })
}

// sweep forgets the quarter of the entities that was seen longest ago.
func (s *Shared) sweep() {
	all := make([]*Entity, 0, s.entities.len())
	for _, e := range s.entities.all {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b *Entity) int { return cmp.Or(cmp.Compare(a.Last, b.Last), cmp.Compare(a.Key, b.Key)) })
	for _, e := range all[:len(all)/4] {
		s.entities.remove(e.Key)
		s.gone = append(s.gone, e.Key)
	}
}
