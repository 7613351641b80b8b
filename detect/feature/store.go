// Package feature counts what agents do. Store.Update takes one event and brings up to date everything that detectors
// read: the counts of an agent's open windows and what is normal for it (Agent), what agents of a kind have in common
// (Cohort), and what crosses agents: credentials, sources, targets, templates (Entity).
package feature

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// Limits of the tables an agent keeps. Sets start at four values and double while they fill.
const (
	maxResources = 256
	maxValues    = 256
)

// firstDay is for how many seconds everything is new to an agent.
const firstDay = 86400

const (
	gateSigmas = 2   // a count less than this many deviations above the mean is not looked at
	capSigmas  = 6   // a window is learned as at most this far above the mean: poisoning is slow, growth is not stopped
	capFloor   = 5   // … and never capped below this count
	minWindows = 12  // effective windows, own and cohort's together, below which there is no basis for a score
	micros     = 1e6 // microseconds in a second

	// surprising is from what −log10 probability on a value new to an agent is not learned for its peers at once.
	surprising = 3
	// away is how many minutes a new network, client or key counts as new.
	away = 60
	// longGap is from when on, in microseconds, a pause of the whole stream is the stream's and not its agents', when it is
	// also twenty times as long as the mean.
	longGap = 3600 * micros
)

// Salts tell the kinds of values in one table apart.
const (
	saltService     = 0x9e3779b97f4a7c15
	saltDestination = 0xc2b2ae3d27d4eb4f
	saltAction      = 0x165667b19e3779f9
	saltKey         = 0x27d4eb2f165667c5
	saltNetwork     = 0x85ebca6b2c1b3c6d
	saltClient      = 0xff51afd7ed558ccd
)

// View is what a detector sees: the event just counted, and what it changed.
type View struct {
	Event  *event.Event
	Agent  *Agent
	Fleet  *Cohort
	Shared *Shared

	bumped uint64 // cells that the event raised: the others were examined when they were

	// What the agent does for the first time, as −log10 of the probability that its cohort, the wider group and
	// the fleet give it (0 when it is not new), and the share of its peers that have done it before.
	ServiceSurprise, DestinationSurprise, ActionSurprise float64
	// Adopted says that another agent of the same owner has taken up the destination before.
	Adopted                        bool
	ServiceShare, DestinationShare float64
	// Converging is how many agents of other cohorts the same destination came as a surprise to.
	Converging int

	// OriginNew marks the parts of the origin that are new within the last hour, OriginLogP the joint
	// probability of that, as a natural logarithm; OriginFresh says that this event brought the newest.
	OriginNew   [NumOrigins]bool
	OriginLogP  float64
	OriginFresh bool
	// Returned says that the event comes from a network the agent used before the new one of the last hour: it
	// is in two places at once.
	Returned bool

	// Foreign says that the key is new to the agent and belongs to others; ForeignLogP how rare that is.
	Foreign     bool
	ForeignLogP float64
	// Idle is how long the agent had been silent before, in seconds; IdleMax the longest silence before that.
	Idle, IdleMax float64
	IdleN         uint32

	Target, Object, Credential, Source, Drop *Entity
	Templates                                [maxTemplates]*Entity
	NumTemplates                             int    // keys of the text; nil where no other agent has used one
	Objects                                  uint16 // those of structured objects
	SinceStart                               int64  // seconds since the first event of the stream
	Replied                                  bool   // the text answers another: likeness has a reason

	// Linked says that the view is of a link: the agent is a stand-in, and only what agents share is to be judged.
	Linked bool

	Route     *route  // of the event, when a pause of its was counted
	Way       *route  // of the event, when it is one of the agent's latest
	RhythmG   float64 // G statistic of the agent's pauses against its peers', 0 when there is no basis
	RhythmN   int
	MixG      float64 // of the day's operations against the agent's own past
	MixDF     float64
	MixEvents int
}

// Store owns the state of all agents of a partition, and of what they share. It is used by one goroutine.
type Store struct {
	agents   map[uint64]*Agent
	cohorts  map[string]*Cohort
	fleet    *Cohort
	shared   *Shared
	shares   struct{ Keys, Foreign float32 } // credentials known, and uses of another's
	places   places                          // the networks and clients that the fleet's agents use
	adopted  Recency                         // surprising values by the owners whose agents have taken them up
	turnover turnover
	view     View
	mask     masker
	sig      Signature
	closed   []*Agent // whose hour has closed since Closed was called
	now      int64    // latest event time, microseconds
	scanned  int64
	start    int64 // first event time

	agentBytes int64 // of the agents held

	exchange int // partitions of the exchange, 0 without
	link     Link
	linkBuf  []byte
	mates    []Ref
	guest    Agent       // stands in for the agent of a link
	guests   Cohort      // its cohort
	joined   event.Event // its event
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{agents: map[uint64]*Agent{}, cohorts: map[string]*Cohort{}, fleet: &Cohort{}, shared: newShared()}
}

func newAgent(id string) *Agent {
	a := &Agent{ID: id}
	a.Key = xxhash.Sum64String(id)
	for i := range a.Window {
		a.Window[i] = -1
	}
	return a
}

// cohort returns the cohort of that name, made when it is new. The empty name is a cohort of its own: agents
// of which nothing is said.
func (s *Store) cohort(name string) *Cohort {
	c := s.cohorts[name]
	if c == nil && len(s.cohorts) >= maxCohorts && name != "" {
		return s.cohort("") // names that producers make up must not fill the memory
	}
	if c == nil {
		c = &Cohort{Name: strings.Clone(name), parent: s.fleet}
		s.cohorts[c.Name] = c
		if i := strings.LastIndexByte(c.Name, '/'); i > 0 {
			c.parent = s.cohort(c.Name[:i])
		}
	}
	return c
}

// Bytes is about how much memory the agents' states take: the structures and the tables they have grown.
func (s *Store) Bytes() int64 {
	n := s.agentBytes
	for _, e := range s.shared.entities {
		n += int64(unsafe.Sizeof(*e)) + int64(e.members.bytes()+24*cap(e.posts)+16*cap(e.Names)+len(e.Name))
	}
	return n + int64(len(s.shared.waiting))*32
}

// Len is the number of agents held.
func (s *Store) Len() int { return len(s.agents) }

// Settled says that the stream is older than the time in which everything is new.
func (s *Store) Settled() bool { return (s.now-s.start)/micros >= settling+86400 }

// FirstDay is the first full day of the stream, in days since 1970: until its end everything is new.
func (s *Store) FirstDay() int64 { return (s.start + 43_200*micros) / (86_400 * micros) }

// Now is the latest event time seen, in microseconds.
func (s *Store) Now() int64 { return s.now }

// Agent returns the agent with that id, nil when it is not known.
func (s *Store) Agent(id string) *Agent { return s.agents[xxhash.Sum64String(id)] }

func (s *Store) agent(ev *event.Event) *Agent {
	key := xxhash.Sum64String(ev.AgentID)
	a := s.agents[key]
	if a == nil {
		a = newAgent(strings.Clone(ev.AgentID))
		a.First = ev.Time
		s.add(a)
		s.fleet.Agents++
	}
	if a.Cohort == nil || a.Cohort.Name != ev.Cohort && ev.Cohort != "" {
		c := s.cohort(ev.Cohort)
		if c == a.Cohort {
			return a
		}
		for g := c; g != s.fleet; g = g.parent {
			g.Agents++
			g.dirty = true
		}
		a.Cohort = c
	}
	return a
}

// Update counts one event and returns the view of it, valid until the next Update.
func (s *Store) Update(ev *event.Event) *View {
	a := s.agent(ev)
	v := &s.view
	*v = View{Event: ev, Agent: a, Fleet: s.fleet, Shared: s.shared}
	if gap := ev.Time - s.now; s.now > 0 && gap >= longGap && float64(gap)*float64(s.fleet.gapSum) > 20*float64(s.now-s.start) {
		// Nothing was heard of anybody: agents are given as much time to come back before one is called silent.
		s.scanned = ev.Time + min(gap, 86400*micros)
	}
	s.now = max(s.now, ev.Time)
	if s.start == 0 {
		s.start = ev.Time
	}
	v.SinceStart = (ev.Time - s.start) / micros
	a.dirty, s.fleet.dirty = true, true
	sec := ev.Time / micros
	minute := uint32(max(sec/60, 1))
	s.keepTime(v, a, ev, sec)
	a.Total++
	if ev.AgentVersion != "" {
		// A new version inherits the baseline but is held to it less firmly: what it has learned counts a
		// quarter, so that the upgrade's own ways are taken up within hours.
		if h := xxhash.Sum64String(ev.AgentVersion); h != a.Version {
			if a.Version != 0 {
				a.loosen()
			}
			a.Version = h
		}
	}
	// A late event counts in the windows that are still open for it and in no other.
	var in [NumScales]bool
	for sc := range NumScales {
		w := sec / scaleSeconds[sc]
		if w > a.Window[sc] {
			if sc == TenMinutes {
				s.turnover.seen(w, a.Total == 1)
				s.arrive(a, a.Window[sc], w)
			}
			s.roll(a, sc, w)
		}
		in[sc] = w == a.Window[sc]
	}
	failed := ev.Status >= 500 || ev.Status == 429 || ev.Status == 408
	if !failed {
		// What failed by the server's fault is tried again, by everybody at once: an outage is not a burst.
		v.add(&in, Events, 1)
		if ev.Kind == event.Post {
			v.add(&in, Posts, 1)
		}
	}
	switch ev.Status {
	case 401, 403, 407:
		v.add(&in, Denied, 1)
	case 404, 410:
		v.add(&in, Missing, 1)
	}
	if ev.Access >= event.Delete {
		v.add(&in, Privileged, 1)
	}
	if ev.Resource != "" {
		h := xxhash.Sum64String(ev.Resource)
		if ev.Access == event.Read {
			before := a.resources.Touch(h, minute, maxResources)
			if !failed {
				v.distinct(&in, Reads, before)
				if before == 0 {
					v.add(&in, NewReads, 1)
				}
				stem, n, ok := splitNumber(ev.Resource)
				if ok && stem == a.Stem && (n == a.LastRead+1 || n+1 == a.LastRead) {
					v.add(&in, Sequential, 1)
				}
				a.Stem, a.LastRead = stem, n
			}
			a.Reads[a.ReadAt%8] = uint32(h>>32) | 1
			a.ReadAt = (a.ReadAt + 1) % 8
		}
	}
	s.novel(v, a, ev, &in, minute, failed)
	s.origin(v, a, ev, minute)
	s.cross(v, a, ev, sec, failed)
	if !failed {
		if ev.RequestBytes > 0 {
			v.add(&in, SentKB, float32(ev.RequestBytes)/1024)
		}
		if ev.ResponseBytes > 0 {
			v.add(&in, ReceivedKB, float32(ev.ResponseBytes)/1024)
		}
	}
	s.weigh(a)
	return v
}

// Flood is the events that the target has got within the minute, when most of them are this agent's.
func (v *View) Flood(s *Store) (Reading, bool) {
	if v.Target == nil || v.Target.Last-v.Target.First < settling {
		return Reading{}, false
	}
	own := v.Agent.Cells[cellOf[Repeats][Minute]].Cur
	if 2*own < v.Target.cells[Minute][CrowdEvents].cur {
		return Reading{}, false
	}
	r, ok := s.shared.Read(v.Target, CrowdEvents, Minute)
	r.Name, r.cell = "events_at_the_target", floodCell
	return r, ok
}

func (v *View) add(in *[NumScales]bool, f Feature, x float32) {
	a := v.Agent
	for sc := range NumScales {
		if i := cellOf[f][sc]; i >= 0 && in[sc] {
			a.Cells[i].Cur += x
			v.bumped |= 1 << i
		}
	}
	a.Live |= v.bumped
}

// distinct counts a value once per window: in those that began after it was last seen.
func (v *View) distinct(in *[NumScales]bool, f Feature, before uint32) {
	a := v.Agent
	for sc := range NumScales {
		if i := cellOf[f][sc]; i >= 0 && in[sc] && int64(before)*60 < a.Window[sc]*scaleSeconds[sc] {
			a.Cells[i].Cur++
			v.bumped |= 1 << i
		}
	}
	a.Live |= v.bumped
}

// NewRate is how many new values of a kind the agent takes up on a day, by its own past and its peers'.
func (s *Store) NewRate(a *Agent, f Feature) (perDay float64, ok bool) {
	i := cellOf[f][Day]
	prior := s.prior(a, int(i))
	if a.N[Day]+prior.N < minWindows {
		return 0, false
	}
	mean, _ := Mix(Moments{a.N[Day], a.Cells[i].Mean, a.Cells[i].Var}, prior).Predictive()
	return mean, true
}

// keepTime follows the agent's pauses, and the mix of what it does.
func (s *Store) keepTime(v *View, a *Agent, ev *event.Event, sec int64) {
	if a.Total == 0 {
		a.Last = ev.Time
	} else if d := float64(ev.Time-a.Last) / micros; d >= 0 {
		v.Idle, v.IdleMax, v.IdleN = d, float64(a.Gap.Top[0]), a.Gap.N
		a.Gap.add(float32(d))
		i := gapBin(d)
		if a.Gaps[i]++; a.Gap.N%1024 == 0 {
			for j := range a.Gaps {
				a.Gaps[j] /= 2
			}
		}
		// Newcomers only: whoever has a past of its own is not compared with the others.
		if n := int(a.Gap.N); n <= 64 {
			peers := a.Cohort
			if peers.gapSum-float32(n) < 100 {
				peers = s.fleet
			}
			if rest := float64(peers.gapSum) - float64(n) + 1; n >= 8 && rest >= 100 {
				v.RhythmN = n
				v.RhythmG = gStatistic(a.Gaps[:], float64(n), func(i int) float64 {
					return (max(float64(peers.gaps[i])-float64(a.Gaps[i]), 0) + 0.1) / rest
				})
			}
		}
		for c := a.Cohort; ; c = s.fleet {
			c.gaps[i]++
			if c.gapSum++; c.gapSum >= 1e6 {
				for j := range c.gaps {
					c.gaps[j] /= 2
				}
				c.gapSum /= 2
			}
			c.dirty = true
			if c == s.fleet {
				break
			}
		}
		a.Last = ev.Time
		a.Reported &^= 2
	}
	if a.Window[Day] >= 0 && sec/scaleSeconds[Day] > a.Window[Day] || a.Total == 0 {
		a.Days++
		a.Mix.close()
		a.Gap.age()
	}
	h := xxhash.Sum64String(ev.Action) ^ xxhash.Sum64String(ev.Service)*3
	m := &a.Mix
	m.add(int(h>>33) % mixBins)
	if m.Days >= minMixDays && m.Count >= 30 && m.Count%8 == 0 {
		g, df := m.statistic(float64(m.Count))
		// Days differ by more than chance: no day counts for more than mixWorth independent events.
		g /= 1 + float64(m.Count)/mixWorth
		v.MixG, v.MixDF, v.MixEvents = g/math.Max(float64(m.Disp), 1), df, int(m.Count)
	}
}

// novel counts services, destinations and actions, and weighs those that are new to the agent.
func (s *Store) novel(v *View, a *Agent, ev *event.Event, in *[NumScales]bool, minute uint32, failed bool) {
	if ev.Service != "" && ev.Service != "unknown" {
		h := xxhash.Sum64String(ev.Service)
		before := a.values.Touch(h*saltService, minute, maxValues)
		v.distinct(in, Services, before)
		if before == 0 {
			v.ServiceSurprise, v.ServiceShare = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.services })
			if s.adopt(ev, h*saltService, v.ServiceSurprise, minute) {
				v.ServiceSurprise, v.ServiceShare = min(v.ServiceSurprise, adopted), max(v.ServiceShare, adoptedShare)
			}
			v.add(in, NewServices, float32(1-v.ServiceShare))
		}
		for sc := range Day {
			if f := &a.Favourite[sc]; in[sc] && !failed {
				switch k := uint32(h >> 32); {
				case f.Key == k:
					f.N++
				case f.N == 0:
					f.Key, f.N = k, 1
				default:
					f.N--
				}
				if i := cellOf[Repeats][sc]; i >= 0 && float32(f.N) > a.Cells[i].Cur {
					a.Cells[i].Cur = float32(f.N)
					v.bumped |= 1 << i
					a.Live |= 1 << i
				}
			}
		}
	}
	if h := xxhash.Sum64String(ev.Action); a.values.Touch(h*saltAction, minute, maxValues) == 0 {
		var share float64
		v.ActionSurprise, share = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.actions })
		v.add(in, NewActions, float32(1-share))
	}
	if ev.Destination != "" {
		h := xxhash.Sum64String(ev.Destination)
		before := a.values.Touch(h*saltDestination, minute, maxValues)
		v.distinct(in, Destinations, before)
		if before == 0 {
			v.DestinationSurprise, v.DestinationShare = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.destinations })
			if s.adopt(ev, h*saltDestination, v.DestinationSurprise, minute) {
				v.DestinationSurprise, v.DestinationShare, v.Adopted = min(v.DestinationSurprise, adopted), max(v.DestinationShare, adoptedShare), true
			}
			v.add(in, NewDests, float32(1-v.DestinationShare))
		}
		v.Way, v.Route = a.follow(h, ev.Time/micros, float32(v.DestinationSurprise), before == 0)
		if v.Way != nil {
			v.Way.Sent += float32(ev.RequestBytes) / 1024
		}
	}
}

// take weighs a value that the agent takes up, and counts the agent among its users: surprise is −log10 of the
// probability that its peers give it, share the part of them that uses it.
func (s *Store) take(a *Agent, h uint64, of func(*Cohort) *Vocabulary) (surprise, share float64) {
	var chain [4]*Cohort
	n := 0
	for c := a.Cohort; c != nil && n < len(chain)-1; c = c.parent {
		chain[n] = c
		n++
	}
	if chain[n-1] != s.fleet {
		chain[n-1] = s.fleet
	}
	p := float64(pyBase)
	for i := n - 1; i >= 0; i-- {
		c := chain[i]
		p = of(c).predict(h, p)
		if c.Agents > 1 {
			// n/(N+1): with few peers even a value they all use is not yet common.
			share = math.Max(share, float64(of(c).Agents[h])/float64(c.Agents+1))
		}
	}
	surprise = -math.Log10(math.Min(p, 1))
	learn := true
	for _, c := range chain[:n] {
		if learn {
			// What the wider group learns is what the narrower has accepted.
			learn = of(c).add(h, surprise >= surprising && of(c).Total >= 10)
		}
		c.dirty = true
	}
	return surprise, math.Min(share, 1)
}

const (
	// adopted is the most that a value may surprise which another agent of the same owner has taken up before, and
	// adoptedShare the part of the peers that then counts as using it.
	adopted      = 1.2
	adoptedShare = 0.5
	maxAdopted   = 1 << 14
)

// adopt remembers a surprising value with the agent's owner, and reports whether another agent of that owner has it
// already: what an organisation gives to its agents comes to one after the other.
func (s *Store) adopt(ev *event.Event, h uint64, surprise float64, minute uint32) bool {
	if ev.OwnerID == "" || surprise <= adopted {
		return false
	}
	return s.adopted.Touch(h^xxhash.Sum64String(ev.OwnerID)*saltKey, minute, maxAdopted) != 0
}

// follow keeps the pauses between the agent's calls to a destination, for the four used last. It returns the route of the
// call, and again when a pause of its was counted.
func (a *Agent) follow(h uint64, sec int64, surprise float32, first bool) (way, regular *route) {
	k := uint32(h>>32) | 1
	oldest := &a.Routes[0]
	for i := range a.Routes {
		r := &a.Routes[i]
		if r.Key == k {
			if d := float32(uint32(sec) - uint32(r.Last)); d >= 5 && d < 1<<30 {
				r.N = min(r.N+1, 200)
				x := d - r.Mean
				r.Mean += x / float32(r.N)
				r.M2 += (x*(d-r.Mean) - r.M2) / float32(r.N)
				r.Last = int32(uint32(sec))
				if r.N >= 8 && !r.recent(a) {
					a.Clock += (float32(r.Evenness()) - a.Clock) / 16
				}
				return r, r
			}
			return r, nil
		}
		if r.Key == 0 || oldest.Key != 0 && uint32(r.Last) < uint32(oldest.Last) {
			oldest = r
		}
	}
	if !first && oldest.Key != 0 && uint32(sec)-uint32(oldest.Last) < 86400 {
		return nil, nil
	}
	*oldest = route{Key: k, First: int32(sec / 60), Last: int32(uint32(sec)), Surprise: surprise, AgentEvent: float32(math.Log1p(float64(a.Total)))}
	return oldest, nil
}

// recent reports whether the agent has called the destination for less than a day, and had a past before that.
func (r *route) recent(a *Agent) bool {
	return int64(r.First)*60-a.First/micros > 86400 && int64(uint32(r.Last))-int64(r.First)*60 < 2*86400
}

// Recent reports whether the agent has called the destination for less than two days, and had a past before that.
func (r *route) Recent(a *Agent) bool { return r.recent(a) }

// Age is for how many seconds the agent has called the destination.
func (r *route) Age() int64 { return int64(uint32(r.Last)) - int64(r.First)*60 }

// Unusual is how much more even the route is than the agent's calls are wont to be, 0 for a route that is no
// longer new.
func (r *route) Unusual(a *Agent) float64 {
	if !r.recent(a) {
		return 0
	}
	return math.Max(r.Evenness()-float64(a.Clock), 0)
}

// Regular returns the number of pauses of a route, their mean in seconds and their coefficient of variation.
func (r *route) Regular() (n int, mean, cv float64) {
	if r.N < 2 || r.Mean <= 0 {
		return int(r.N), float64(r.Mean), 1
	}
	return int(r.N), float64(r.Mean), math.Sqrt(math.Max(float64(r.M2), 0)) / float64(r.Mean)
}

// Evenness is −log10 of the probability that a Poisson process makes pauses as even as the route's: a pause lies
// within a deviation band of the mean with the density there, e^-1 a mean, times the band's width of 2·√3·cv.
func (r *route) Evenness() float64 {
	n, _, cv := r.Regular()
	if n < 4 {
		return 0
	}
	const most = 12 // clocks are common; a perfect one says no more than a good one
	return math.Min(most, -float64(n-1)*math.Log10(math.Min(1, 1.27*math.Max(cv, 0.02))))
}

// origin compares where the event comes from with where the agent came from before.
func (s *Store) origin(v *View, a *Agent, ev *event.Event, minute uint32) {
	var h [NumOrigins]uint64
	h[Network] = networkOf(ev)
	if ev.UserAgent != "" {
		h[Client] = xxhash.Sum64String(ev.UserAgent) * saltClient
	}
	if ev.CredentialID != "" {
		h[Key] = xxhash.Sum64String(ev.CredentialID) * saltKey
	}
	c := a.Cohort
	o := &a.Origin
	for p := range NumOrigins {
		if h[p] == 0 {
			continue
		}
		before := a.values.Touch(h[p], minute, maxValues)
		if before == 0 && (p == Network && o.Network == 0 || p == Client && o.Client == 0 || p == Key && a.Total == 1) {
			before = minute // the first of all is not new
			s.places.add(p, h[p])
		}
		if before == 0 {
			o.New[p] = min(o.New[p]+1, math.MaxUint16-1)
			o.At[p] = int32(minute)
			v.OriginFresh = true
			o.Rare[p] = s.places.rarity(p, h[p])
			s.places.add(p, h[p])
			c.origins.New[p]++
			s.fleet.origins.New[p]++
			c.dirty, s.fleet.dirty = true, true
		} else if p == Network && o.At[Network] > 0 && int32(minute)-o.At[Network] <= away && uint32(h[p]>>32) != o.Network && int32(before) < o.At[Network] {
			v.Returned = true
		}
		if p == Network {
			o.Network = uint32(h[p]>>32) | 1
		}
		if p == Client {
			o.Client = uint32(h[p]>>32) | 1
		}
	}
	for p := range NumOrigins {
		if o.At[p] == 0 || int32(minute)-o.At[p] > away {
			continue
		}
		v.OriginNew[p] = true
		// New per active day: the agent's own rate, with its cohort's, with the fleet's as prior.
		f := &s.fleet.origins
		rate := (float64(f.New[p]) + 1) / (float64(f.Days[p]) + 20)
		rate = (float64(c.origins.New[p]) + 5*rate) / (float64(c.origins.Days[p]) + 5)
		rate = (float64(o.New[p]-1) + 5*rate) / (float64(a.Days) + 5)
		v.OriginLogP += math.Log(math.Min(rate, 1)) + float64(o.Rare[p])
	}
}

func networkOf(ev *event.Event) uint64 {
	if ev.ASN != 0 {
		return (uint64(ev.ASN) + 1) * saltNetwork
	}
	if ev.SourceIP == "" {
		return 0
	}
	if ip, err := netip.ParseAddr(ev.SourceIP); err == nil {
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		if p, err := ip.Prefix(bits); err == nil {
			b := p.Addr().As16()
			return xxhash.Sum64(b[:]) * saltNetwork
		}
	}
	return xxhash.Sum64String(ev.SourceIP) * saltNetwork
}

// cross counts the event with what agents share. What failed by the server's fault makes no crowd at a target.
func (s *Store) cross(v *View, a *Agent, ev *event.Event, sec int64, failed bool) {
	sh := s.shared
	away := s.exchange > 0
	if away {
		s.link.Refs, s.link.Keys = s.link.Refs[:0], s.link.Keys[:0]
	}
	if ev.Service != "" && ev.Service != "unknown" && !failed {
		key := xxhash.Sum64String(ev.Service)*31 + xxhash.Sum64String(ev.Action)
		name := func() string { return ev.Action + " " + ev.Service }
		var before uint32
		v.Target, _, before = sh.touch(Target, key, a, sec, name)
		if away && first(before, sec, Minute) {
			s.refer(Target, key, name())
		}
	}
	if ev.Access == event.Write {
		on := ev.Resource
		if ev.ReplyTo != "" {
			on = ev.ReplyTo
		}
		if on != "" {
			key := xxhash.Sum64String(on)*31 + xxhash.Sum64String(ev.Action)
			name := func() string { return ev.Action + " " + on }
			var before uint32
			v.Object, _, before = sh.touch(Object, key, a, sec, name)
			if away && first(before, sec, Minute) {
				s.refer(Object, key, name())
			}
		}
	}
	if ev.CredentialID != "" {
		key := xxhash.Sum64String(ev.CredentialID)
		before := s.useKey(v, a, key, sec, func() string { return strings.Clone(ev.CredentialID) })
		if away && (v.OriginFresh || first(before, sec, Hour)) {
			s.refer(Credential, key, ev.CredentialID)
		}
	}
	if ev.SourceIP != "" {
		key := xxhash.Sum64String(ev.SourceIP)
		var before uint32
		v.Source, _, before = sh.touch(Source, key, a, sec, func() string { return strings.Clone(ev.SourceIP) })
		if w := moved(v, a); v.Source != nil && w > 0 {
			sh.bump(v.Source, CrowdChain, sec, w)
		}
		if away && (v.OriginFresh || first(before, sec, Hour)) {
			s.refer(Source, key, ev.SourceIP)
		}
	}
	if ev.Destination != "" && v.DestinationSurprise >= surprising-1 {
		key := xxhash.Sum64String(ev.Destination)
		v.Drop, _, _ = sh.touch(Drop, key, a, sec, func() string { return strings.Clone(ev.Destination) })
		if v.Drop != nil {
			v.Converging = v.Drop.Members() - 1
		}
	}
	if ev.Kind == event.Post && len(ev.Content) >= minSegment {
		s.templates(v, a, ev, sec)
	}
	if away {
		s.refers(v, a, ev)
		v.Foreign, v.ForeignLogP = false, 0
		v.Object, v.Credential, v.Source = nil, nil, nil
	}
}

func (s *Shared) bump(e *Entity, c Crowd, sec int64, w float32) {
	for sc := range NumScales {
		if sec/scaleSeconds[sc] == e.window[sc] {
			e.cells[sc][c].cur += w
		}
	}
}

// templates finds what the text has in common with others', and whether the agent had read one of them.
func (s *Store) templates(v *View, a *Agent, ev *event.Event, sec int64) {
	s.mask.sign(ev.Content, &s.sig)
	id := uint32(xxhash.Sum64String(ev.ID)>>32) | 1
	object := uint32(0)
	if ev.Resource != "" {
		object = uint32(xxhash.Sum64String(ev.Resource)>>32) | 1
	}
	reply := uint32(0)
	if ev.ReplyTo != "" {
		reply = uint32(xxhash.Sum64String(ev.ReplyTo)>>32) | 1
	}
	if s.exchange > 0 {
		l := &s.link
		l.Keys = append(l.Keys, s.sig.Keys[:s.sig.N]...)
		l.Objects, l.ID, l.Object, l.Reply = s.sig.Objects, id, object, reply
		return
	}
	v.Replied = reply != 0
	v.Objects = s.sig.Objects
	s.share(v, a, s.sig.Keys[:s.sig.N], id, object, reply, sec)
}

// hasRead reports whether the agent has read the object lately. Resources name their kind before the id
// ("post/123"); a post that is known by its event's id alone is not found that way.
func (a *Agent) hasRead(h uint32) bool {
	for _, r := range a.Reads {
		if r == h {
			return true
		}
	}
	return false
}

// Report marks the agent's open ten-minute window as told in an alert. What has been told is neither learned as
// normal nor evidence a second time: when the window closes, its excess is taken off the longer ones.
func (a *Agent) Report() { a.Reported |= 1 }

// partOfDay is how many seconds of a stream's first day may be missing for it to count as one.
const partOfDay = 2 * 3600

// roll closes the open window of one scale and opens window w.
func (s *Store) roll(a *Agent, sc Scale, w int64) {
	first, closed := a.Window[sc] < 0, a.Window[sc]
	a.Window[sc] = w
	if sc == Hour {
		for c := a.Cohort; c != nil; c = c.parent {
			c.tides.attend(w)
		}
	}
	if sc < Day {
		a.Favourite[sc].N = 0
	}
	if first {
		return
	}
	if first := s.start / micros; sc == Day && closed == first/scaleSeconds[Day] && first%scaleSeconds[Day] > partOfDay {
		// A stream that began in the middle of a day: to learn that part would make every full day look busy.
		for i := span[sc][0]; i < span[sc][1]; i++ {
			a.Cells[i].Cur = 0
		}
		return
	}
	c := a.Cohort
	n := min(a.N[sc], memory[sc]-1) + 1
	share := 1 / n
	// A cohort listens to each of its agents, the busy ones and the long known a little more.
	weight := float32(1 / math.Sqrt(1+float64(a.N[sc])))
	reported := a.Reported&1 != 0 && sc <= TenMinutes
	for i := span[sc][0]; i < span[sc][1]; i++ {
		if a.Live&(1<<i) == 0 {
			continue
		}
		cl := &a.Cells[i]
		if plan[i].Feature.discovery() && (closed+1)*scaleSeconds[sc] <= a.First/micros+firstDay {
			cl.Cur = 0
			continue
		}
		m, variance := predict(i, Moments{a.N[sc], cl.Mean, cl.Var}, s.prior(a, i))
		x := cl.Cur
		size := plan[i].Feature.size()
		usual := float32(m)
		if size {
			x = float32(math.Log1p(float64(x)))
			usual = float32(math.Expm1(m))
		}
		if reported {
			if excess := cl.Cur - usual; excess > 0 && sc == TenMinutes {
				for _, longer := range [...]Scale{Hour, Day} {
					if j := cellOf[plan[i].Feature][longer]; j >= 0 {
						a.Cells[j].Cur = max(a.Cells[j].Cur-excess, 0)
					}
				}
			}
			x = min(x, float32(m))
		}
		if limit := float32(m + capSigmas*math.Sqrt(variance) + capFloor); x > limit && a.N[sc] >= 1 {
			x = limit
		}
		d := x - cl.Mean
		cl.Mean += share * d
		cl.Var += share * (d*(x-cl.Mean) - cl.Var)
		cl.Cur = 0
		c.pool.Sum[i] += weight * x
		c.pool.Square[i] += weight * x * x
		s.fleet.pool.Sum[i] += weight * x
		s.fleet.pool.Square[i] += weight * x * x
		m, variance = predict(i, Moments{n, cl.Mean, cl.Var}, s.prior(a, i))
		cl.Gate = float32(m + gateSigmas*math.Sqrt(variance))
		if size {
			cl.Gate = float32(math.Expm1(math.Min(float64(cl.Gate), 80)))
		}
	}
	a.N[sc] = n
	c.pool.close(sc, weight)
	s.fleet.pool.close(sc, weight)
	c.dirty, s.fleet.dirty = true, true
	switch sc {
	case TenMinutes:
		a.Reported &^= 1
	case Hour:
		if !a.closed {
			a.closed = true
			s.closed = append(s.closed, a)
		}
	case Day:
		for p := range NumOrigins {
			c.origins.Days[p]++
			s.fleet.origins.Days[p]++
		}
	}
}

// prior is what the agent's cohort says, itself shrunk to the fleet.
func (s *Store) prior(a *Agent, i int) Moments {
	return Mix(a.Cohort.pool.moments(i), s.fleet.pool.moments(i))
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

// Expect returns the mean and variance of what is expected of an agent and how many of its windows they rest on, ok false
// for what it has never shown.
func (s *Store) Expect(a *Agent, f Feature, sc Scale) (mean, variance, windows float64, ok bool) {
	i := cellOf[f][sc]
	if i < 0 || a.N[sc] < 1 || a.Cells[i].Mean == 0 {
		return 0, 0, 0, false
	}
	prior := s.prior(a, int(i))
	mean, variance = predict(int(i), Moments{a.N[sc], a.Cells[i].Mean, a.Cells[i].Var}, prior)
	if f.size() {
		mean, variance = natural(mean, variance)
	}
	return mean, variance, float64(a.N[sc] + min(prior.N, priorWindows)), true
}

// loosen makes what was learned count for a quarter.
func (a *Agent) loosen() {
	for sc := range a.N {
		a.N[sc] /= 4
	}
	a.Mix.Days = min(a.Mix.Days, 1)
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
	Name           string
	Scale          Scale
	Observed       float64
	Mean, Variance float64 // predictive, of the entity with its peers as prior
	Peers          Moments // the peers' own
	Own            Moments // the entity's own

	// LogMean and LogSD are those of the logarithm of an amount; LogSD is 0 for a count.
	LogMean, LogSD float64

	cell int // place among the tides of its groups
}

// Share is the part of the agent's events in the open window that a count accounts for, 0 for an amount.
func (a *Agent) Share(r *Reading) float64 {
	i := cellOf[Events][r.Scale]
	if i < 0 || r.LogSD > 0 || a.Cells[i].Cur <= 0 {
		return 0
	}
	return r.Observed / float64(a.Cells[i].Cur)
}

// raise makes k times as much expected.
func (r *Reading) raise(k float64) {
	r.Mean *= k
	r.Variance *= k * k
	r.LogMean += math.Log(k)
}

// Read returns the reading of a feature at a scale, and false when the event did not raise it, when the count is
// unremarkable, or when too little is known to say so.
func (s *Store) Read(v *View, f Feature, sc Scale) (Reading, bool) {
	i := cellOf[f][sc]
	if i < 0 || v.bumped&(1<<i) == 0 {
		return Reading{}, false
	}
	a := v.Agent
	c := &a.Cells[i]
	if c.Cur <= c.Gate || c.Cur < 1 || f.discovery() && (v.Event.Time-a.First < firstDay*micros || v.SinceStart < 2*firstDay) {
		return Reading{}, false
	}
	prior := s.prior(a, int(i))
	if a.N[sc]+prior.N < minWindows {
		return Reading{}, false
	}
	r := Reading{Name: f.String(), Scale: sc, Observed: float64(c.Cur), cell: int(i), Peers: a.Cohort.pool.moments(int(i)), Own: Moments{a.N[sc], c.Mean, c.Var}}
	r.Mean, r.Variance = predict(int(i), r.Own, prior)
	if f.size() {
		r.LogMean, r.LogSD = r.Mean, math.Sqrt(r.Variance)
		r.Mean, r.Variance = natural(r.Mean, r.Variance)
		r.Peers.Mean = float32(math.Expm1(float64(r.Peers.Mean)))
	}
	return r, r.Observed > r.Mean
}

// Usual is the mean and deviation of the logarithm of an amount in a window of the agent's, ok false without a basis.
func (s *Store) Usual(a *Agent, f Feature, sc Scale) (mean, sd float64, ok bool) {
	i := int(cellOf[f][sc])
	prior := s.prior(a, i)
	if a.N[sc]+prior.N < minWindows {
		return 0, 0, false
	}
	m, v := predict(i, Moments{N: a.N[sc], Mean: a.Cells[i].Mean, Var: a.Cells[i].Var}, prior)
	return m, math.Sqrt(v), true
}

// PerEvent is the reading of a quantity that grows with the number of events, with as much allowed for as the open
// window's events explain: who calls ten times as often sends ten times as much.
func (s *Store) PerEvent(v *View, f Feature, sc Scale) (Reading, bool) {
	r, ok := s.Read(v, f, sc)
	if !ok {
		return r, false
	}
	if i := cellOf[Events][sc]; i >= 0 {
		a := v.Agent
		mean, _ := Mix(Moments{a.N[sc], a.Cells[i].Mean, a.Cells[i].Var}, s.prior(a, int(i))).Predictive()
		if k := float64(a.Cells[i].Cur) / mean; k > 1 {
			r.raise(k)
		}
	}
	return r, r.Observed > r.Mean
}

// Silent is an agent that has been silent for longer than it ever was.
type Silent struct {
	Agent  *Agent
	Pause  float64 // seconds since its last event
	Usual  float64 // longest pause before
	Pauses uint32
	LogP   float64 // natural logarithm of the probability that a day sees such a pause
}

// Silents looks, every ten minutes of event time, for agents that have fallen silent. They are yielded in the
// order of their ids. Nobody is named when many, or many of its cohort, are silent for longer than they are wont to be: that
// is an outage, a night or a holiday.
func (s *Store) Silents(yield func(Silent)) {
	const every = 600 * micros
	if s.now-s.scanned < every {
		return
	}
	s.scanned = s.now - s.now%every
	var found []Silent
	var all [2]int // agents known well enough, and those among them that are silent for longer than ever
	for _, c := range s.cohorts {
		c.known, c.quiet = 0, 0
	}
	for _, a := range s.agents {
		pause := float64(s.now-a.Last) / micros
		if a.Days < 3 || a.Gap.N < 200 || pause > 7*86400 {
			continue
		}
		all[0]++
		a.Cohort.known++
		usual := float64(a.Gap.Top[0])
		if pause < longer*usual {
			continue
		}
		all[1]++
		a.Cohort.quiet++
		if a.Reported&2 != 0 || pause < 3600 || pause < muchLonger*usual {
			continue
		}
		logP := a.Gap.logSF(pause, float64(a.Last-a.First)/86400/micros)
		found = append(found, Silent{a, pause, usual, a.Gap.N, logP})
	}
	sortSilents(found)
	for _, f := range found {
		c := f.Agent.Cohort
		if manyQuiet*(all[1]-1) > all[0] || c.known >= 5 && manyQuiet/2*(c.quiet-1) > c.known {
			continue
		}
		yield(f)
	}
}

const (
	// longer and muchLonger are by which factors a pause exceeds the longest so far to count as silence, and to be told.
	longer, muchLonger = 1.2, 2
	// manyQuiet is the part of the agents, and half of it that of a cohort's, whose silence has a common cause.
	manyQuiet = 10
)

// Told marks the agent's silence as told; its next event clears the mark.
func (a *Agent) Told() { a.Reported |= 2; a.dirty = true }

func sqrt(x float64) float64 { return math.Sqrt(x) }

func sortSilents(all []Silent) {
	slices.SortFunc(all, func(a, b Silent) int { return strings.Compare(a.Agent.ID, b.Agent.ID) })
}
