package feature

import "time"

// Feature is something that is counted, per agent and window. The windows are those in which the agent was
// active: a baseline answers "how many, when it is at work", so that nights and pauses do not make the first
// event of a morning look like a surprise. Silence is a question of its own.
type Feature uint8

const (
	Events       Feature = iota // all events but those that failed by the server's fault
	Posts                       // posts, comments, votes and other writes that others see
	Reads                       // distinct resources read
	NewReads                    // resources read that the agent has not read before
	Sequential                  // steps to the neighbouring number of the resource read before
	Denied                      // 401, 403, 407
	Missing                     // 404, 410
	Services                    // distinct services called
	NewServices                 // services the agent has not called before, and its cohort hardly
	Destinations                // distinct destinations written to
	NewDests                    // destinations new to the agent, and hardly known to its cohort
	SentKB                      // kilobytes sent
	ReceivedKB                  // kilobytes returned
	Privileged                  // auth, admin and delete operations
	NewActions                  // actions new to the agent, and hardly known to its cohort
	Repeats                     // events to the service that was called most in the window
	Malformed                   // 400, 405, 414, 415, 422: requests that make no sense
	NetworkTurns                // events from another network than the one just before
	KeyTurns                    // events with another key than the one just before
	NumFeatures
)

var featureNames = [NumFeatures]string{
	"events", "posts", "distinct_resources_read", "new_resources_read", "sequential_reads", "denied", "missing",
	"distinct_services", "new_services", "distinct_destinations", "new_destinations", "kilobytes_sent",
	"kilobytes_received", "privileged_operations", "new_actions", "events_to_one_service", "malformed", "turns_of_network", "turns_of_key",
}

// discovery says that a feature counts what an agent takes up of a limited world. On its first day everything is new to
// it: that day neither teaches what is usual later nor is judged.
func (f Feature) discovery() bool { return f == NewServices || f == NewActions || f == NewDests }

// size says that a feature is an amount rather than a count. Amounts range over orders of magnitude and so does each
// agent's: their logarithm is learned, ln(1+x), as that of a lognormal quantity.
func (f Feature) size() bool { return f == SentKB || f == ReceivedKB }

// String is the name of the feature in evidence and tables.
func (f Feature) String() string { return featureNames[f] }

// Scale is a window length. Windows are aligned to the epoch.
type Scale uint8

const (
	Minute Scale = iota
	TenMinutes
	Hour
	Day
	NumScales
)

var scaleSeconds = [NumScales]int64{60, 600, 3600, 86400}

// Seconds is the window's length.
func (s Scale) Seconds() int64 { return scaleSeconds[s] }

// Duration is the window's length.
func (s Scale) Duration() time.Duration { return time.Duration(scaleSeconds[s]) * time.Second }

// memory is after how many active windows an old one has lost its weight: two hours' worth of busy minutes
// would forget too fast, a year's worth never. In windows, per scale.
var memory = [NumScales]float32{1440, 720, 336, 45}

// plan says which feature is counted over which windows: short ones for what is loud, long ones for what is
// slow. Every entry costs an agent sixteen bytes. Cells of one scale stand together.
var plan = [...]struct {
	Feature Feature
	Scale   Scale
}{
	{Events, Minute}, {Posts, Minute}, {Reads, Minute}, {Repeats, Minute}, {Services, Minute},
	{Events, TenMinutes}, {Posts, TenMinutes}, {Reads, TenMinutes}, {NewReads, TenMinutes}, {Sequential, TenMinutes},
	{Denied, TenMinutes}, {Missing, TenMinutes}, {Services, TenMinutes}, {NewServices, TenMinutes}, {SentKB, TenMinutes},
	{Privileged, TenMinutes}, {Repeats, TenMinutes}, {NewActions, TenMinutes}, {Malformed, TenMinutes},
	{Events, Hour}, {Posts, Hour}, {Reads, Hour}, {Services, Hour}, {NewServices, Hour}, {Destinations, Hour}, {NewDests, Hour},
	{Missing, Hour}, {ReceivedKB, Hour}, {Repeats, Hour}, {NetworkTurns, Hour}, {KeyTurns, Hour},
	{Events, Day}, {Reads, Day}, {NewReads, Day}, {Denied, Day}, {Missing, Day}, {NewServices, Day}, {Destinations, Day},
	{NewDests, Day}, {SentKB, Day}, {Privileged, Day}, {NewActions, Day}, {Malformed, Day}, {NetworkTurns, Day}, {KeyTurns, Day},
}

const numCells = len(plan)

// cellOf maps feature and scale to the place in plan, -1 where the pair is not counted; cellsOf is the set of a feature's
// places; span is the half-open range of a scale's cells.
var (
	cellOf = func() (m [NumFeatures][NumScales]int8) {
		for f := range m {
			m[f] = [NumScales]int8{-1, -1, -1, -1}
		}
		for i, p := range plan {
			m[p.Feature][p.Scale] = int8(i)
		}
		return m
	}()
	cellsOf = func() (m [NumFeatures]uint64) {
		for i, p := range plan {
			m[p.Feature] |= 1 << i
		}
		return m
	}()
	span = func() (s [NumScales][2]int) {
		for i := len(plan) - 1; i >= 0; i-- {
			s[plan[i].Scale][0] = i
		}
		for i := range plan {
			s[plan[i].Scale][1] = i + 1
		}
		return s
	}()
)
