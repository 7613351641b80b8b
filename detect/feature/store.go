package feature

import (
	"math"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// Limits of the tables an agent and a cohort keep. Sets start at four values and double while they fill.
const (
	maxResources    = 256
	maxServices     = 64
	maxDestinations = 64
	maxKeys         = 16
	maxPeers        = 4096 // values a cohort remembers, per kind
)

const (
	gateSigmas = 1   // a count less than this many deviations above the mean cannot be evidence
	capSigmas  = 6   // a window is learned as at most this far above the mean: poisoning is slow, growth is not stopped
	capFloor   = 5   // … and never capped below this count
	minWindows = 12  // effective windows, own and cohort's together, below which there is no basis for a score
	micros     = 1e6 // microseconds in a second
)

// Agent is what is remembered of one agent: its open windows, its baseline and what it has touched.
type Agent struct {
	ID     string
	Key    uint64 // xxhash of ID
	Cohort *Cohort
	Grid   Grid

	First, Last int64 // event time, microseconds
	Total       int64 // events ever

	resources, services, destinations, keys Recency

	version  uint64 // hash of agent_version: a change forks the baseline
	closed   bool   // is in Store.closed
	reported bool   // the open ten-minute window stands in an alert
	lastRead uint64 // number at the end of the resource read last
	stem     uint64 // hash of that resource without its number
	Dirty    bool
}

// Cohort is what agents of one kind have in common, and the prior of each. The fleet is the cohort of all.
type Cohort struct {
	Name   string
	Agents int64
	moms   [NumScales][NumFeatures]Moments
	// What members have called and written to: a value's count says how many of them.
	services, destinations map[uint64]uint32
	Dirty                  bool
}

// View is what a detector sees: the event just counted, and the agent after it.
type View struct {
	Event *event.Event
	Agent *Agent
	Fleet *Cohort
	// Bumped marks the features that the event raised: the others were examined when they were.
	Bumped [NumFeatures]bool
	// NewService and NewDestination say that the agent used the value for the first time; the shares are of
	// its cohort's agents (of the fleet's, for an agent without one) that have used it before.
	NewService, NewDestination bool
	ServiceShare, DestShare    float64
}

// Store owns the state of all agents of a partition. It is used by one goroutine.
type Store struct {
	agents  map[uint64]*Agent
	cohorts map[string]*Cohort
	fleet   *Cohort
	view    View
	closed  []*Agent // whose hour has closed since Closed was called
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{agents: map[uint64]*Agent{}, cohorts: map[string]*Cohort{}, fleet: newCohort("")}
}

func newAgent(id string) *Agent {
	a := &Agent{ID: id, Key: xxhash.Sum64String(id)}
	for i := range a.Grid.window {
		a.Grid.window[i] = -1
	}
	return a
}

// cohort returns the cohort of that name, made when it is new.
func (s *Store) cohort(name string) *Cohort {
	c := s.cohorts[name]
	if c == nil {
		c = newCohort(strings.Clone(name))
		s.cohorts[c.Name] = c
	}
	return c
}

// Bytes is about how much memory the agents' states take: the structures and the tables they have grown.
func (s *Store) Bytes() int64 {
	var n int64
	for _, a := range s.agents {
		n += int64(unsafe.Sizeof(*a)) + int64(len(a.ID)+a.resources.bytes()+a.services.bytes()+a.destinations.bytes()+a.keys.bytes())
	}
	return n
}

func newCohort(name string) *Cohort {
	return &Cohort{Name: name, services: map[uint64]uint32{}, destinations: map[uint64]uint32{}}
}

// Len is the number of agents held.
func (s *Store) Len() int { return len(s.agents) }

// Agent returns the agent with that id, nil when it is not known.
func (s *Store) Agent(id string) *Agent { return s.agents[xxhash.Sum64String(id)] }

func (s *Store) agent(ev *event.Event) *Agent {
	key := xxhash.Sum64String(ev.AgentID)
	a := s.agents[key]
	if a == nil {
		a = newAgent(strings.Clone(ev.AgentID))
		a.First = ev.Time
		s.agents[key] = a
		s.fleet.Agents++
	}
	if a.Cohort == nil || a.Cohort.Name != ev.Cohort {
		c := s.cohort(ev.Cohort)
		c.Agents++
		a.Cohort = c
	}
	return a
}

// Update counts one event and returns the view of it, valid until the next Update.
func (s *Store) Update(ev *event.Event) *View {
	a := s.agent(ev)
	v := &s.view
	*v = View{Event: ev, Agent: a, Fleet: s.fleet}
	if ev.Time > a.Last {
		a.Last = ev.Time
	}
	a.Total++
	a.Dirty = true
	if ev.AgentVersion != "" {
		// A new version inherits the baseline but is held to it less firmly: what it has learned counts a
		// quarter, so that the upgrade's own ways are taken up within hours.
		if h := xxhash.Sum64String(ev.AgentVersion); h != a.version {
			if a.version != 0 {
				a.Grid.loosen()
			}
			a.version = h
		}
	}
	sec := ev.Time / micros
	minute := uint32(max(sec/60, 1))
	for sc := range NumScales {
		w := sec / scaleSeconds[sc]
		if w > a.Grid.window[sc] {
			s.roll(a, sc, w)
		}
	}
	// A late event counts in the windows that are still open for it and in no other.
	var in [NumScales]bool
	for sc := range NumScales {
		in[sc] = sec/scaleSeconds[sc] == a.Grid.window[sc]
	}
	add := func(f Feature, x float32) {
		v.Bumped[f] = true
		for sc := range NumScales {
			if in[sc] {
				a.Grid.cells[sc][f].cur += x
			}
		}
	}
	// distinct counts a value once per window: in those that began after it was last seen.
	distinct := func(f Feature, before uint32) {
		v.Bumped[f] = true
		for sc := range NumScales {
			if in[sc] && int64(before)*60 < a.Grid.window[sc]*scaleSeconds[sc] {
				a.Grid.cells[sc][f].cur++
			}
		}
	}
	add(Events, 1)
	if ev.Kind == event.Post {
		add(Posts, 1)
	}
	switch ev.Status {
	case 401, 403, 407, 429:
		add(Denied, 1)
	case 404, 410:
		add(Missing, 1)
	}
	if ev.Access >= event.Delete {
		add(Privileged, 1)
	}
	if ev.Access == event.Read && ev.Resource != "" {
		h := xxhash.Sum64String(ev.Resource)
		before := a.resources.Touch(h, minute, maxResources)
		distinct(Reads, before)
		if before == 0 {
			add(NewReads, 1)
		}
		stem, n, ok := splitNumber(ev.Resource)
		if ok && stem == a.stem && (n == a.lastRead+1 || n+1 == a.lastRead) {
			add(Sequential, 1)
		}
		a.stem, a.lastRead = stem, n
	}
	if ev.Service != "" && ev.Service != "unknown" {
		h := xxhash.Sum64String(ev.Service)
		before := a.services.Touch(h, minute, maxServices)
		distinct(Services, before)
		if before == 0 {
			v.NewService = true
			v.ServiceShare = s.share(a, h, func(c *Cohort) map[uint64]uint32 { return c.services })
			add(NewServices, float32(1-v.ServiceShare))
		}
	}
	if ev.Destination != "" {
		h := xxhash.Sum64String(ev.Destination)
		before := a.destinations.Touch(h, minute, maxDestinations)
		distinct(Destinations, before)
		if before == 0 {
			v.NewDestination = true
			v.DestShare = s.share(a, h, func(c *Cohort) map[uint64]uint32 { return c.destinations })
			add(NewDests, float32(1-v.DestShare))
		}
	}
	if ev.CredentialID != "" && a.keys.Touch(xxhash.Sum64String(ev.CredentialID), minute, maxKeys) == 0 {
		add(NewKeys, 1)
	}
	if ev.RequestBytes > 0 {
		add(SentKB, float32(ev.RequestBytes)/1024)
	}
	if ev.ResponseBytes > 0 {
		add(ReceivedKB, float32(ev.ResponseBytes)/1024)
	}
	return v
}

// share is the part of the agent's peers that used the value before, and counts the agent among them.
func (s *Store) share(a *Agent, h uint64, of func(*Cohort) map[uint64]uint32) float64 {
	best := 0.0
	for _, c := range [2]*Cohort{a.Cohort, s.fleet} {
		m := of(c)
		n := m[h]
		// (n)/(N+1): with few peers even a value they all use is not yet common.
		if p := float64(n) / float64(c.Agents+1); p > best && c.Agents > 1 {
			best = p
		}
		if n > 0 || len(m) < maxPeers {
			m[h] = n + 1
		}
		c.Dirty = true
	}
	return min(best, 1)
}

// Report marks the agent's open ten-minute window as told in an alert. What has been told is neither learned as
// normal nor evidence a second time: when the window closes, its excess is taken off the longer ones.
func (a *Agent) Report() { a.reported = true }

// roll closes the open window of one scale and opens window w.
func (s *Store) roll(a *Agent, sc Scale, w int64) {
	g := &a.Grid
	first := g.window[sc] < 0
	g.window[sc] = w
	for f := range NumFeatures {
		c := &g.cells[sc][f]
		if !first {
			m, variance := Mix(c.own, s.prior(a, sc, f)).Predictive()
			x := c.cur
			if a.reported && sc <= TenMinutes {
				if excess := x - float32(m); excess > 0 && sc == TenMinutes {
					g.cells[Hour][f].cur = max(g.cells[Hour][f].cur-excess, 0)
					g.cells[Day][f].cur = max(g.cells[Day][f].cur-excess, 0)
				}
				x = min(x, float32(m))
			}
			if limit := float32(m + capSigmas*math.Sqrt(variance) + capFloor); x > limit && c.own.N >= 1 {
				x = limit
			}
			// A cohort listens to each of its agents, the busy ones and the long known a little more.
			weight := float32(1 / math.Sqrt(1+float64(c.own.N)))
			c.own.Learn(x, 1, memory[sc])
			a.Cohort.moms[sc][f].Learn(x, weight, 20*memory[sc])
			if a.Cohort.Name != "" {
				s.fleet.moms[sc][f].Learn(x, weight, 20*memory[sc])
			}
			c.cur = 0
		}
		m, variance := Mix(c.own, s.prior(a, sc, f)).Predictive()
		c.gate = float32(m + gateSigmas*math.Sqrt(variance))
	}
	if sc == TenMinutes {
		a.reported = false
	}
	if sc == Hour && !first && !a.closed {
		a.closed = true
		s.closed = append(s.closed, a)
	}
	a.Cohort.Dirty, s.fleet.Dirty = true, true
}

// prior is what the agent's cohort says, itself shrunk to the fleet.
func (s *Store) prior(a *Agent, sc Scale, f Feature) Moments {
	if a.Cohort.Name == "" {
		return a.Cohort.moms[sc][f]
	}
	return Mix(a.Cohort.moms[sc][f], s.fleet.moms[sc][f])
}

// Closed yields the agents whose hour has closed since the last call.
func (s *Store) Closed(yield func(*Agent)) {
	for _, a := range s.closed {
		a.closed = false
		yield(a)
	}
	clear(s.closed)
	s.closed = s.closed[:0]
}

// Expect returns what is expected of an agent, ok false for what it has never shown.
func (s *Store) Expect(a *Agent, f Feature, sc Scale) (m Moments, ok bool) {
	own := a.Grid.cells[sc][f].own
	if own.N < 1 || own.Mean == 0 {
		return Moments{}, false
	}
	return Mix(own, s.prior(a, sc, f)), true
}

// loosen makes what was learned count for a quarter.
func (g *Grid) loosen() {
	for sc := range g.cells {
		for f := range g.cells[sc] {
			g.cells[sc][f].own.N /= 4
		}
	}
}

// splitNumber cuts the number off the end of a resource: the hash of what precedes it, and the number.
func splitNumber(s string) (stem, n uint64, ok bool) {
	i := len(s)
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' && len(s)-i < 18 {
		i--
	}
	if i == len(s) {
		return 0, 0, false
	}
	for _, c := range []byte(s[i:]) {
		n = n*10 + uint64(c-'0')
	}
	return xxhash.Sum64String(s[:i]), n, true
}

// Reading is one feature at one scale: how many there are in the open window, and what was to be expected.
type Reading struct {
	Feature        Feature
	Scale          Scale
	Observed       float64
	Mean, Variance float64 // predictive, of the agent with its cohort as prior
	Peers          Moments // the cohort's own
	Own            Moments // the agent's own
}

// Read returns the reading of a feature at a scale, and false when the count is unremarkable or when too
// little is known to say so.
func (s *Store) Read(a *Agent, f Feature, sc Scale) (Reading, bool) {
	c := &a.Grid.cells[sc][f]
	if c.cur <= c.gate || c.cur < 1 {
		return Reading{}, false
	}
	prior := s.prior(a, sc, f)
	if c.own.N+prior.N < minWindows {
		return Reading{}, false
	}
	r := Reading{Feature: f, Scale: sc, Observed: float64(c.cur), Peers: a.Cohort.moms[sc][f], Own: c.own}
	r.Mean, r.Variance = Mix(c.own, prior).Predictive()
	return r, true
}
