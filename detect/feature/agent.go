package feature

import (
	"github.com/astray-dev/astray/models/cadence"
	"github.com/astray-dev/astray/models/cardinality"
)

// Agent is what is remembered of one agent: its open windows, its baseline, what it has touched, where it
// comes from and how it keeps time. About 1.2 KiB, and eight bytes a remembered value.
type Agent struct {
	ID     string
	Cohort *Cohort
	state

	resources cardinality.Recency // objects read
	everRead  *cardinality.Set    // of one that has read many objects, all of them; nil for others
	values    cardinality.Recency // services, destinations, actions, keys, networks and clients, told apart by salt

	// Of the owner of the store: the day whose events it judges, since 1970, −1 before the first, and whatever it
	// remembers of the agent beside what is counted here, nil while that is nothing.
	Judged int32
	Beside any

	dirty  bool
	closed bool  // is in Store.closed
	size   int32 // as Store.weigh found it
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
	Steps    [stepBins]uint16
	Gap      cadence.Longest
	Routes   [4]route
	Mix      mix
	TakeUp   takeUp
	Presence presence
	Moved    struct { // by what moves its peers, when it was last seen to be
		At    uint32 // seconds since the epoch
		Share float32
	}
	Carried  [len(carriedScales)]carried
	Changes  float32         // kinds of operations that change something, of its first day, each less the share of its peers that do it
	Clock    float32         // how even the agent's calls to its destinations are, mean −log10 p
	Owner    uint32          // hash of who answers for it, 0 when nobody is known to
	Acts     cadence.Longest // the same as Gap, of what changes something
	Acted    uint32          // when it did so last, seconds since the epoch
	ActDays  uint32          // on how many days
	Reported uint8           // bit 0: the open ten-minute window stands in an alert; bit 1: its silence was told; bit 2: that it only reads
	Refused  [4]uint32       // hashes of what it asked for in vain last, a ring
	RefuseAt uint8
	Creeps   [len(creeping)]creep
	Growth   growth
	Locked   uint8 // 1 while nothing is let in that the agent's key is shown for (401)
}

// origin is where an agent's calls come from: how often each attribute was new, and which are new just now.
type origin struct {
	New     [NumOrigins]uint16
	At      [NumOrigins]int32   // minute of the newest change, 0 for none
	Rare    [NumOrigins]float32 // how rare that change is among all first uses of the kind, natural logarithm
	Network uint32              // the network of the last event
	Client  uint32
	Key     uint32
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
