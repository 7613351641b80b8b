package feature

import (
	"math"
	"time"
)

// Feature is something that is counted, per agent and window. The windows are those in which the agent was
// active: a baseline answers "how many, when it is at work", so that nights and pauses do not make the first
// event of a morning look like a surprise. Silence is a question of its own.
type Feature uint8

const (
	Events       Feature = iota // all events
	Posts                       // posts, comments, votes and other writes that others see
	Reads                       // distinct resources read
	NewReads                    // resources read that the agent has not read before
	Sequential                  // steps to the neighbouring number of the resource read before
	Denied                      // 401, 403, 407, 429
	Missing                     // 404, 410
	Services                    // distinct services called
	NewServices                 // services the agent has not called before, and its cohort hardly
	Destinations                // distinct destinations written to
	NewDests                    // destinations new to the agent, and hardly known to its cohort
	SentKB                      // kilobytes sent
	ReceivedKB                  // kilobytes returned
	Privileged                  // auth, admin and delete operations
	NewKeys                     // credentials new to the agent
	NumFeatures
)

var featureNames = [NumFeatures]string{
	"events", "posts", "distinct_resources_read", "new_resources_read", "sequential_reads", "denied", "missing",
	"distinct_services", "new_services", "distinct_destinations", "new_destinations", "kilobytes_sent",
	"kilobytes_received", "privileged_operations", "new_credentials",
}

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

// Moments is a forgetting estimate of the mean and variance of a window's count. Twelve bytes.
type Moments struct {
	N    float32 // effective windows learned from
	Mean float32 // per window
	Var  float32 // per window, about the mean
}

// Learn adds one window with weight w, forgetting beyond limit windows (West 1979, with the effective
// sample size capped, which makes the forgetting exponential).
func (m *Moments) Learn(x, w, limit float32) {
	if m.N > limit-w {
		m.N = limit - w
	}
	m.N += w
	d := x - m.Mean
	a := w / m.N
	m.Mean += a * d
	m.Var += a * (d*(x-m.Mean) - m.Var)
}

// priorWindows is how many windows of its own outweigh what an agent's cohort says of it.
const priorWindows = 6

// Mix is the prediction for one who has own, when others like it have prior: the two as a mixture, weighted by
// what is known of each. The squared distance of the means is part of the variance, so that whoever is unlike
// its cohort is at first uncertain rather than anomalous.
func Mix(own, prior Moments) Moments {
	w := own.N / (own.N + priorWindows)
	if prior.N <= 0 {
		w = 1
	}
	d := own.Mean - prior.Mean
	return Moments{
		N:    own.N + min(prior.N, priorWindows),
		Mean: w*own.Mean + (1-w)*prior.Mean,
		Var:  w*own.Var + (1-w)*prior.Var + w*(1-w)*d*d,
	}
}

// Predictive is the mean and variance of the next window, the uncertainty of the mean included.
func (m Moments) Predictive() (mean, variance float64) {
	mean = math.Max(float64(m.Mean), 0)
	n := math.Max(float64(m.N), 1)
	// One pseudo-count spread over what was seen: "never in n windows" is a rate of about 1/(2n), not 0.
	mean += 0.5 / (n + 1)
	variance = math.Max(float64(m.Var), mean)
	variance += variance / n
	return mean, variance
}

// cell is one feature at one scale: the open window's count, and what is normal.
type cell struct {
	cur  float32 // count in the open window
	gate float32 // counts below cannot matter: the tail is not looked at
	own  Moments
}

type row [NumFeatures]cell

// Grid holds all features at all scales of one entity.
type Grid struct {
	cells  [NumScales]row
	window [NumScales]int64 // index of the open window: time / length; -1 before the first event
}
