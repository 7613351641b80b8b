// Package feature counts what agents do. Store.Update takes one event and brings up to date everything that detectors
// read: the counts of an agent's open windows and what is normal for it (Agent), what agents of a kind have in common
// (Cohort), and what crosses agents: credentials, sources, targets, templates (Entity).
package feature

import (
	"math"
	"math/bits"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/cardinality"
	"github.com/astray-dev/astray/models/similarity"
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

	fresh     bool    // it reads an object that is new to the agent
	newHour   bool    // it is the agent's first event in the hour
	hourly    bool    // it is the agent's first use of the target in the hour
	customary bool    // the agent has used the target before
	bumped    uint64  // cells that the event raised: the others were examined when they were
	pause     float64 // seconds since the agent's event before, -1 for none
	raised    uint64  // of those, the ones that stand above their gates

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
	Gathered                                 Gathering // about an object of the event
	Templates                                [maxTemplates]*Entity
	NumTemplates                             int    // keys of the text; nil where no other agent has used one
	Objects                                  uint16 // those of structured objects
	Pages                                    uint16 // those of links
	Like                                     Likeness
	SinceStart                               int64 // seconds since the first event of the stream
	Replied                                  bool  // the text answers another: likeness has a reason

	// Linked says that the view is of a link: the agent is a stand-in, and only what agents share is to be judged.
	Linked bool

	Route    *route  // of the event, when a pause of its was counted
	Way      *route  // of the event, when it is one of the agent's latest
	RhythmG  float64 // G statistic of the agent's steps against its peers', 0 when there is no basis
	RhythmDF float64
	RhythmN  int
	Turns    [2]Turn // of the latest days, by the kind of the event's operation
	NumTurns int
	TakenUp  Turn // what the agent took up of late, if the event is part of it; of no events otherwise
}

// Store owns the state of all agents of a partition, and of what they share. It is used by one goroutine.
type Store struct {
	agents   table[*Agent]
	cohorts  map[string]*Cohort
	fleet    *Cohort
	shared   *Shared
	shares   struct{ Keys, Foreign float32 } // credentials known, and uses of another's
	places   places                          // the networks and clients that the fleet's agents use
	adopted  cardinality.Recency             // surprising values by the owners whose agents have taken them up
	turnover turnover
	view     View
	mask     similarity.Masker
	sig      similarity.Signature
	near     []candidate
	seats    seats
	closed   []*Agent // whose hour has closed since Closed was called
	now      int64    // latest event time, microseconds
	scanned  int64
	start    int64 // first event time
	usual    quantiles

	trusting bool // see Trust

	agentBytes int64  // of the agents held
	warm       uint64 // keeps the reads of Ahead from being left out
	hashes     [block]hashes
	ahead      []hashes // of hashes, those of events that were not counted yet
	own        hashes   // of an event that Ahead was not told of
	hash       *hashes  // of the event that is counted

	exchange int // partitions of the exchange, 0 without
	link     Link
	linkBuf  []byte
	words    []byte // names in link
	mates    []Ref
	guest    Agent       // stands in for the agent of a link
	guests   Cohort      // its cohort
	joined   event.Event // its event
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{cohorts: map[string]*Cohort{}, fleet: &Cohort{}, shared: newShared(),
		mask: similarity.Masker{Hash: xxhash.Sum64}}
}

func newAgent(id string) *Agent {
	a := &Agent{ID: id, Judged: -1}
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
	for _, p := range s.shared.entities.all {
		e := *p
		n += int64(unsafe.Sizeof(*e)) + int64(e.members.Bytes()+24*cap(e.posts)+22*cap(e.latest.names)+len(e.Name))
	}
	return n + int64(len(s.shared.waiting.slots))*32
}

// Len is the number of agents held.
func (s *Store) Len() int { return s.agents.len() }

// Settled says that the stream is older than the time in which everything is new.
func (s *Store) Settled() bool { return (s.now-s.start)/micros >= settling+86400 }

// Young says that the stream is younger than a day: nobody is known by a whole day of its own.
func (s *Store) Young() bool { return (s.now-s.start)/micros < firstDay }

// FirstDay is the first full day of the stream, in days since 1970: until its end everything is new.
func (s *Store) FirstDay() int64 { return (s.start + 43_200*micros) / (86_400 * micros) }

// Now is the latest event time seen, in microseconds.
func (s *Store) Now() int64 { return s.now }

// Agent returns the agent with that id, nil when it is not known.
func (s *Store) Agent(id string) *Agent { return s.agents.get(xxhash.Sum64String(id)) }

func (s *Store) agent(ev *event.Event) *Agent {
	a := s.agents.get(s.hash.agent)
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
	s.hash = s.hashed(ev)
	a := s.agent(ev)
	v := &s.view
	*v = View{Event: ev, Agent: a, Fleet: s.fleet, Shared: s.shared, pause: -1}
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
			v.newHour = v.newHour || sc == Hour && a.Window[Hour] >= 0
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
	if ev.Access >= event.Delete {
		v.add(&in, Privileged, 1)
	}
	if ev.Resource != "" {
		h := s.hash.resource
		if ev.Access == event.Read {
			before := a.resources.Touch(h, minute, maxResources)
			more := float32(0)
			if before == 0 {
				more = a.newReads(h)
			}
			v.fresh = more > 0
			if !failed {
				v.distinct(&in, Reads, before)
				a.Growth.read(more)
				if more > 0 {
					v.add(&in, NewReads, more)
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
	s.step(v, a, v.fresh)
	s.novel(v, a, ev, &in, minute, failed)
	s.origin(v, a, ev, &in, minute)
	s.cross(v, a, ev, sec, failed)
	s.refused(v, a, ev, &in, minute)
	if !failed {
		if ev.RequestBytes > 0 {
			kb := float32(ev.RequestBytes) / 1024
			v.add(&in, SentKB, kb)
			usual := s.load(v, &in, kb, v.hourly)
			if w := v.Way; w != nil {
				if usual > 0 && w.Loads < maxLoads {
					w.Loads++
					kb -= usual
				}
				w.Sent += kb
			}
		}
		if ev.ResponseBytes > 0 {
			v.add(&in, ReceivedKB, float32(ev.ResponseBytes)/1024)
		}
	}
	v.sift()
	s.weigh(a)
	return v
}

// sift finds the cells that are worth a look.
func (v *View) sift() {
	for rest := v.bumped; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if c := &v.Agent.Cells[i]; c.Cur > c.Gate && c.Cur >= 1 {
			v.raised |= 1 << i
		}
	}
}

// Raised reports whether the event has brought a count of the feature above what is unremarkable, in any window.
func (v *View) Raised(f Feature) bool { return v.raised&cellsOf[f] != 0 }

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

// keepTime follows the agent's pauses, and the mix of what it does.
func (s *Store) keepTime(v *View, a *Agent, ev *event.Event, sec int64) {
	if a.Total == 0 {
		a.Last = ev.Time
	} else if d := float64(ev.Time-a.Last) / micros; d >= 0 {
		v.Idle, v.IdleMax, v.IdleN = d, float64(a.Gap.Top[0]), a.Gap.N
		a.Gap.Learn(float32(d))
		v.pause = d
		a.Last = ev.Time
		a.Reported &^= 2
	}
	if ev.Access >= event.Write && uint32(sec) >= a.Acted {
		if a.Acted != 0 {
			a.Acts.Learn(float32(uint32(sec) - a.Acted))
		}
		if uint32(sec)/86400 > a.Acted/86400 {
			a.ActDays++
		}
		a.Acted = uint32(sec)
		a.Reported &^= 4
	}
	if ev.OwnerID != "" {
		a.Owner = uint32(xxhash.Sum64String(ev.OwnerID)>>32) | 1
	}
	if a.Window[Day] >= 0 && sec/scaleSeconds[Day] > a.Window[Day] || a.Total == 0 {
		a.Days++
		if a.Mix.Count > 0 {
			a.TakeUp.Last, a.TakeUp.Day = a.TakeUp.Day, 0
		}
		a.Growth.close()
		a.Mix.close(&a.Cohort.mixed, &s.fleet.mixed, s.trusting)
		a.Gap.Age()
		a.Acts.Age()
	}
	h := s.hash.action ^ s.hash.service*3
	v.Turns, v.NumTurns = a.Mix.turns(a.Mix.add(h), &a.Cohort.mixed)
}

const (
	// adopted is the most that a value may surprise which another agent of the same owner has taken up before, and
	// adoptedShare the part of the peers that then counts as using it.
	adopted      = 1.2
	adoptedShare = 0.5
	maxAdopted   = 1 << 14
)

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

func sqrt(x float64) float64 { return math.Sqrt(x) }
