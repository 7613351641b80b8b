package feature

import (
	"math"

	"github.com/astray-dev/astray/models/magnitude"
)

// cargo is how much an operation is wont to carry, whoever performs it: a picture is large, a vote is small. An agent that
// seldom sends pictures sends nothing strange when it does.
type cargo struct {
	Size  magnitude.LogNormal // bytes of a request
	Usual float32             // kilobytes that hardly one in a hundred requests exceeds, 0 while too little is known
}

const (
	// cargoAgents and cargoSizes are how many agents and how many of their sizes must be known; each agent is heard once an hour.
	cargoAgents, cargoSizes = 3, 6
	// cargoMemory is how many sizes are remembered.
	cargoMemory = 500
	// usualShare is the part of the sizes within the band whose upper end is still usual.
	usualShare = 0.98
)

// quantiles remembers magnitude.Quantile of usualShare by the freedom. How much is remembered of sizes grows in the same way for
// all operations, so that there are few.
type quantiles map[float64]float64

const maxQuantiles = 1 << 13

func (q *quantiles) of(freedom float64) float64 {
	t, ok := (*q)[freedom]
	if !ok {
		if *q == nil || len(*q) >= maxQuantiles {
			*q = quantiles{}
		}
		t = magnitude.Quantile(usualShare, freedom)
		(*q)[freedom] = t
	}
	return t
}

// learn counts the size of a request.
func (c *cargo) learn(bytes int64, q *quantiles) {
	c.Size.Learn(float64(bytes), 1-1.0/cargoMemory)
	if c.Size.Weight >= cargoSizes {
		_, upper := c.Size.BandAt(q.of(c.Size.Freedom()))
		c.Usual = float32(math.Min(upper, 1<<40) / 1024)
	}
}

// carried is what the agent's requests in the open window have carried as such operations do.
type carried struct {
	KB float32
	N  uint16 // requests, of so many as are allowed for
	_  uint16
}

// carriedScales are the windows in which it is told, and carriedMost for how many requests: beyond that there is more to it
// than what one of them carries.
var (
	carriedScales = [...]Scale{TenMinutes, Day}
	carriedMost   = [...]uint16{8, 24}
)

// load counts what a request carries and returns how much of it, in kilobytes, its operation explains.
func (s *Store) load(v *View, in *[NumScales]bool, kb float32, first bool) (usual float32) {
	t := v.Target
	if t == nil {
		return 0
	}
	if t.cargo != nil && t.Members() >= cargoAgents {
		usual = min(kb, t.cargo.Usual)
	}
	if first {
		if t.cargo == nil {
			t.cargo = &cargo{}
		}
		t.cargo.learn(v.Event.RequestBytes, &s.usual)
	}
	for i, sc := range carriedScales {
		if c := &v.Agent.Carried[i]; usual > 0 && in[sc] && c.N < carriedMost[i] {
			c.N++
			c.KB += usual
		}
	}
	return usual
}

// Strange is the reading of the kilobytes sent, as PerEvent gives it, less what the operations explain.
func (s *Store) Strange(v *View, sc Scale) (Reading, bool) {
	r, ok := s.PerEvent(v, SentKB, sc)
	if !ok {
		return r, false
	}
	for i, of := range carriedScales {
		if of == sc {
			r.Observed -= float64(v.Agent.Carried[i].KB)
		}
	}
	return r, r.Observed > r.Mean
}
