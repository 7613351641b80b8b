package feature

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Agents that do one thing to one object gather: they pay into an account, write to an address, click on an advert. (That many answer
// a post is what posts are for, and not looked at here.) How many of them come to an object within an hour depends on the
// operation: a shop is paid by a hundred agents, an account for refunds belongs to one. So each operation remembers how many of its objects have ever drawn how many agents in an hour, a survival
// function in steps, under that of all operations. What a cohort is given to do comes to all of it; counted are agents new to
// the object that are of another cohort than the one before.

// gatherSteps are the steps of the survival function, in agents.
var gatherSteps = [...]float64{1, 2, 3, 5, 8, 13, 21, 34}

const (
	// gatherPrior is how many objects of an operation's own outweigh what the objects of all operations draw.
	gatherPrior = 100
	// gatherIndex is the Pareto index of the number of agents beyond what was seen, and where nothing is known.
	gatherIndex = 3
	// gatherBase is the share of objects that draw one more agent, where nothing is known.
	gatherBase = 0.01
	// gatherMemory is after how many objects an old one has lost half of its weight.
	gatherMemory = 50_000
	// maxGatherings bounds the operations that are told apart.
	maxGatherings = 1 << 12
)

// gathering is how many objects an operation has had, and how many of them drew as many agents within an hour.
type gathering struct {
	Objects float32
	Drew    [len(gatherSteps)]float32
}

func (g *gathering) object() {
	if g.Objects++; g.Objects > gatherMemory {
		g.Objects /= 2
		for i := range g.Drew {
			g.Drew[i] /= 2
		}
	}
}

// drew notes that an object has drawn n agents within the hour.
func (g *gathering) drew(n float64) {
	for i, step := range gatherSteps {
		if n == step {
			g.Drew[i]++
		}
	}
}

// share is the part of other objects that draw n agents or more, with all as the prior.
func (g *gathering) share(n float64, all *gathering) float64 {
	i := len(gatherSteps) - 1
	for i > 0 && gatherSteps[i] > n {
		i--
	}
	step := gatherSteps[i]
	drew := func(g *gathering) float64 {
		if n > step {
			return math.Max(float64(g.Drew[i])-1, 0) // without this one, which has come past the step
		}
		return float64(g.Drew[i])
	}
	none := gatherBase * math.Pow(step, -gatherIndex)
	prior := (gatherPrior*none + drew(all)) / (gatherPrior + float64(all.Objects))
	p := (gatherPrior*prior + drew(g)) / (gatherPrior + float64(g.Objects))
	return math.Min(p*math.Pow(n/step, -gatherIndex), 1)
}

// Gathering is how many agents of different kinds have come to an object.
type Gathering struct {
	Entity *Entity
	Count  float64 // within the hour
	LogP   float64 // natural logarithm of the share of objects of the operation that draw as many
}

// gathers keeps the gathering that is the least likely.
func (v *View) gathers(g Gathering) {
	if g.Entity != nil && g.LogP < v.Gathered.LogP {
		v.Gathered = g
	}
}

// gather counts that an agent has done something to an object, and weighs how many have.
func (s *Shared) gather(action uint64, e *Entity, fresh bool) (g Gathering) {
	of := s.gatherings[action]
	if of == nil {
		if len(s.gatherings) >= maxGatherings {
			of = &s.gathered
		} else {
			of = &gathering{}
			s.gatherings[action] = of
		}
	}
	if e == nil {
		if fresh {
			of.object()
			if of != &s.gathered {
				s.gathered.object()
			}
		}
		return g
	}
	if n := float64(e.cells[Hour][CrowdChain].cur); fresh && e.joined {
		g = Gathering{e, n, math.Log(of.share(n, &s.gathered))}
		of.drew(n)
		if of != &s.gathered {
			s.gathered.drew(n)
		}
	}
	return g
}

// actionOf is the hash of the operation in the name of an object's entity.
func actionOf(name string) uint64 {
	action, _, _ := strings.Cut(name, " ")
	return xxhash.Sum64String(action)
}

func (s *Shared) appendGatherings(dst []byte) []byte {
	dst = fixed(dst, &s.gathered)
	keys := make([]uint64, 0, len(s.gatherings))
	for k := range s.gatherings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = binary.LittleEndian.AppendUint64(dst, k)
		dst = fixed(dst, s.gatherings[k])
	}
	return dst
}

func (s *Shared) decodeGatherings(d *decoder) {
	d.fixed(&s.gathered)
	n := d.uvarint()
	if n > maxGatherings {
		d.fail("number of operations")
		return
	}
	for range n {
		k, g := d.uint64(), &gathering{}
		d.fixed(g)
		s.gatherings[k] = g
	}
}
