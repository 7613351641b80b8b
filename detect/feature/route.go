package feature

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/models/cadence"
)

// route is an agent's calls to one destination, as a renewal process.
type route struct {
	Key            uint32
	First          int32 // minute
	Last           int32 // seconds since the epoch, as uint32
	N              uint16
	Loads          uint8   // requests of which what the operation is wont to carry was taken off
	Mean, Variance float32 // of the pauses, seconds
	Surprise       float32 // when it began, −log10 of the probability that the agent's peers gave the destination
	AgentEvent     float32 // events of the agent when it began, on a logarithmic scale
	Sent           float32 // kilobytes, what operations explain left out
}

// maxLoads is for how many requests to a destination their operations explain what they carry: a file in many pieces is a
// file.
const maxLoads = 8

// follow keeps the pauses between the agent's calls to a destination, for the four used last. It returns the route of the
// call, and again when a pause of its was counted.
func (a *Agent) follow(h uint64, sec int64, surprise float32, first bool) (way, regular *route) {
	k := uint32(h>>32) | 1
	oldest := &a.Routes[0]
	for i := range a.Routes {
		r := &a.Routes[i]
		if r.Key == k {
			if d := float32(uint32(sec) - uint32(r.Last)); d >= 5 && d < 1<<30 {
				g := r.gaps()
				g.Learn(d)
				r.N, r.Mean, r.Variance = g.N, g.Mean, g.Variance
				r.Last = int32(uint32(sec))
				if r.N >= 8 && !r.recent(a) {
					a.Clock += (float32(g.Evenness()) - a.Clock) / 16
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
	return int64(r.First)*60-a.First/micros > firstDay && int64(uint32(r.Last))-int64(r.First)*60 < 2*86400
}

// Recent reports whether the agent has called the destination for less than two days, and had a past before that.
func (r *route) Recent(a *Agent) bool { return r.recent(a) }

// Age is for how many seconds the agent has called the destination.
func (r *route) Age() int64 { return int64(uint32(r.Last)) - int64(r.First)*60 }

// rollout is by how many others of its cohort what is new to an agent must have been taken up for it to have been given to all.
const rollout = 2

// InCompany reports whether the destination of the event is one that others of the agent's cohort have taken up as well, be it
// after the agent: what is given to a cohort comes to some of it first.
func (v *View) InCompany() bool {
	d := &v.Agent.Cohort.destinations
	h := xxhash.Sum64String(v.Event.Destination)
	return v.Agent.Cohort.Name != "" && max(d.Agents[h], d.Pending[h]) > rollout
}

// Unusual is how much more even the route is than the agent's calls are wont to be, 0 for a route that is no
// longer new.
func (r *route) Unusual(a *Agent) float64 {
	if !r.recent(a) {
		return 0
	}
	return math.Max(r.evenness()-float64(a.Clock), 0)
}

const (
	// inRun is how many seconds after another event of the agent an event is a step of the same run, at most, and runPart
	// the same as a part of the route's mean pause.
	inRun, runPart = 60, 0.25
	// mostRuns is the share of the time taken by runs from which on it says nothing that an event falls into one.
	mostRuns = 0.25
)

// InRun reports whether the event, of a route, is one step of what the agent does in one go, a job's or a session's: then it is as even
// as those are, and that is the agent's own rhythm. Of an agent that is busy most of the time nothing can be said.
func (v *View) InRun() bool {
	a := v.Agent
	within := math.Min(inRun, runPart*float64(v.Route.Mean))
	if v.IdleN == 0 || v.Idle >= within {
		return false
	}
	n, covered := 0.0, 0.0
	for i, c := range a.Steps {
		n += float64(c)
		pause := 0.75 * float64(uint(1)<<(i%pauseBins))
		if i%pauseBins == pauseBins-1 {
			pause = within // or less
		}
		covered += float64(c) * math.Min(pause, within)
	}
	elapsed := float64(a.Last-a.First) / micros
	return covered/math.Max(n, 1)*float64(v.IdleN) < mostRuns*elapsed
}

// Since says that the route began when the stream was older than a day and a quarter: what is done every day is not done at
// the minute, so that on the second day everybody has something new to begin with.
func (r *route) Since(s *Store) bool {
	return int64(r.First)*60-s.start/micros > firstDay+firstDay/4
}

func (r *route) gaps() cadence.Gaps {
	return cadence.Gaps{N: r.N, Mean: r.Mean, Variance: r.Variance}
}

// Regular returns the number of pauses of a route, their mean in seconds and their coefficient of variation.
func (r *route) Regular() (n int, mean, cv float64) {
	g := r.gaps()
	return int(g.N), float64(g.Mean), g.Variation()
}

func (r *route) evenness() float64 {
	g := r.gaps()
	return g.Evenness()
}
