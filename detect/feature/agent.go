package feature

import (
	"math"
	"math/bits"
)

// Agent is what is remembered of one agent: its open windows, its baseline, what it has touched, where it
// comes from and how it keeps time. About 1.2 KiB, and eight bytes a remembered value.
type Agent struct {
	ID     string
	Cohort *Cohort
	state

	resources Recency // objects read
	values    Recency // services, destinations, actions, keys, networks and clients, told apart by salt
	dirty     bool
	closed    bool  // is in Store.closed
	size      int32 // as Store.weigh found it
}

// state is the part of an agent of fixed size. It is stored as it stands here: a change is a new Version.
type state struct {
	Key         uint64 // xxhash of the id
	First, Last int64  // event time, microseconds
	Total       int64  // events ever
	Days        uint32 // days with events
	Version     uint64 // hash of agent_version: a change forks the baseline
	Window      [NumScales]int64
	N           [NumScales]float32
	Live        uint64 // cells that were ever counted
	Cells       [numCells]struct{ Cur, Gate, Mean, Var float32 }
	Favourite   [Day]struct {
		Key uint32
		N   int32
	}

	LastRead, Stem uint64    // number at the end of the resource read last, and hash of it without
	Reads          [8]uint32 // hashes of the objects read last, a ring
	ReadAt         uint8

	Origin   origin
	Gaps     [gapBins]uint16
	Gap      gap
	Routes   [4]route
	Mix      mix
	Presence presence
	Moved    struct { // by what moves its peers, when it was last seen to be
		At    uint32 // seconds since the epoch
		Share float32
	}
	Clock    float32 // how even the agent's calls to its destinations are, mean −log10 p
	Reported uint8   // bit 0: the open ten-minute window stands in an alert; bit 1: its silence was told
}

// origin is where an agent's calls come from: how often each attribute was new, and which are new just now.
type origin struct {
	New     [NumOrigins]uint16
	At      [NumOrigins]int32   // minute of the newest change, 0 for none
	Rare    [NumOrigins]float32 // how rare that change is among all first uses of the kind, natural logarithm
	Network uint32              // the network of the last event
	Client  uint32
}

// OriginPart is an attribute of where a call comes from.
type OriginPart uint8

const (
	Network OriginPart = iota // autonomous system, or address block
	Client                    // user agent
	Key                       // credential
	NumOrigins
)

var originNames = [NumOrigins]string{"network", "client", "credential"}

// String is the part's name.
func (o OriginPart) String() string { return originNames[o] }

// gapBins is how many bins the pauses between events fall into: under a second, then powers of two.
const gapBins = 10

func gapBin(seconds float64) int {
	if seconds < 1 {
		return 0
	}
	return min(1+bits.Len64(uint64(seconds))-1, gapBins-1)
}

// gap is the pauses of an agent in seconds.
type gap struct {
	N   uint32
	Top [topGaps]float32 // the longest, the longest first, forgotten at a rate of a hundredth a day
}

const (
	topGaps = 4
	// The index of the Pareto tail of pauses before any is known, and how many pauses that is worth.
	gapIndex, gapWorth = 3, 2
)

// add counts a pause.
func (g *gap) add(d float32) {
	g.N++
	for i := range g.Top {
		if d > g.Top[i] {
			d, g.Top[i] = g.Top[i], d
		}
	}
}

// age forgets a day's worth.
func (g *gap) age() {
	for i := range g.Top {
		g.Top[i] *= 0.99
	}
}

// logSF is the natural logarithm of the probability that a day sees a pause so long: beyond the longest pauses the tail is
// that of a Pareto distribution with the index that they tell (Hill 1975). Clockwork has a short tail, moods a long one.
func (g *gap) logSF(pause, days float64) float64 {
	least := math.Max(float64(g.Top[topGaps-1]), 1)
	if pause <= least {
		return 0
	}
	spread := gapWorth / float64(gapIndex)
	for _, t := range g.Top[:topGaps-1] {
		spread += math.Log(math.Max(float64(t), least) / least)
	}
	index := (topGaps - 1 + gapWorth) / spread
	return math.Min(0, math.Log(topGaps/math.Max(days, 1))-index*math.Log(pause/least))
}

// route is an agent's calls to one destination, as a renewal process.
type route struct {
	Key        uint32
	First      int32 // minute
	Last       int32 // seconds since the epoch, as uint32
	N          uint16
	Mean, M2   float32 // of the pauses, seconds
	Surprise   float32 // when it began, −log10 of the probability that the agent's peers gave the destination
	AgentEvent float32 // events of the agent when it began, on a logarithmic scale
	Sent       float32 // kilobytes
}

const (
	mixBins  = 12
	mixWorth = 40
)

// mix is what an agent does, by kind of operation: the open day, and what is normal.
type mix struct {
	Day   [mixBins]uint16
	Base  [mixBins]float32 // shares
	Disp  float32          // dispersion of a day's G statistic about its degrees of freedom
	Days  float32
	Count uint32 // events of the open day
}

// gStatistic is twice the log-likelihood ratio of the counts against expected shares.
func gStatistic(count []uint16, n float64, share func(i int) float64) float64 {
	g := 0.0
	for i, c := range count {
		if c > 0 {
			g += float64(c) * math.Log(float64(c)/(n*share(i)))
		}
	}
	return 2 * g
}

func (m *mix) add(i int) {
	m.Count++
	if m.Day[i] == math.MaxUint16 {
		return
	}
	m.Day[i]++
}

// close learns the day that has ended.
func (m *mix) close() {
	total := 0.0
	for _, c := range m.Day {
		total += float64(c)
	}
	if total >= 10 {
		g, df := m.statistic(total)
		g /= 1 + total/mixWorth
		if m.Days >= 2 {
			m.Disp += (float32(g/df) - m.Disp) / min(m.Days, 10)
		}
		m.Days++
		a := 1 / min(m.Days, 14)
		for i, c := range m.Day {
			m.Base[i] += a * (float32(float64(c)/total) - m.Base[i])
		}
	}
	m.Day = [mixBins]uint16{}
	m.Count = 0
}

// minMixDays is how many days must be known before another is compared with them.
const minMixDays = 3

// Compared reports whether the agent's day before this one was compared with those before it.
func (a *Agent) Compared() bool { return a.Mix.Days > minMixDays }

func (m *mix) statistic(total float64) (g, df float64) {
	live := 0
	for i := range m.Base {
		if m.Base[i] > 0 || m.Day[i] > 0 {
			live++
		}
	}
	g = gStatistic(m.Day[:], total, func(i int) float64 { return (float64(m.Base[i]) + 0.5/mixBins/50) / (1 + 0.5/50) })
	return g, float64(max(live-1, 1))
}

// Cohort is what agents of one kind have in common, and the prior of each. The fleet is the cohort of all. A cohort
// whose name is a path ("payments/refunds") has the one before the last slash as its parent, else the fleet.
type Cohort struct {
	Name   string
	Agents int64
	pool   pool
	parent *Cohort // nil for the fleet

	services, destinations, actions Vocabulary

	gaps    [gapBins]float32
	gapSum  float32
	tides   tides
	origins struct{ Days, New [NumOrigins]float32 }
	dirty   bool

	known, quiet int // used by Store.Silents
}
