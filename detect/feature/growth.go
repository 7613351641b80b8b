package feature

import (
	"unsafe"

	"github.com/astray-dev/astray/models/cardinality"
)

// The table of the objects that an agent has read holds the latest few hundred. Whoever goes round more of them than that has
// read what it reads again: a set that grows into a HyperLogLog tells it apart from what is new, and how many objects
// there were in all. From that follows how many new ones the next reads are to bring (cardinality.LogSF): who knows its
// way about reads what it knows.

// wide is how many objects in the table make room for the set.
const wide = maxResources * 3 / 4

const (
	// growthDiscount is the exponent of growth where little is known, worth growthPrior objects.
	growthDiscount, growthPrior = 0.6, 50
	// leastGrowth is of how many reads of a day how many of them new are weighed.
	leastGrowth = 60
)

// growth is how many objects an agent has read in all on the days before, and of the open one how many reads there were, and of what
// was new to it.
type growth struct {
	Draws, Distinct float32
	Today, New      float32
}

// newReads is how many objects more an agent is known to have read, with one that the table does not hold: one or none, or so many that it is
// right on average.
func (a *Agent) newReads(h uint64) float32 {
	if a.everRead == nil {
		if a.resources.Len() < wide {
			return 1
		}
		a.everRead = new(cardinality.Set)
		a.resources.Each(func(h uint64) { a.everRead.Add(h) })
		return 1
	}
	before := a.everRead.Estimate()
	a.everRead.Add((h>>32 | 1) << 32) // as the table keeps them
	return float32(a.everRead.Estimate() - before)
}

// read adds a read of the day, of so many objects that are new.
func (g *growth) read(n float32) {
	g.Today++
	g.New += n
}

// close ends the open day.
func (g *growth) close() {
	*g = growth{Draws: g.Draws + g.Today, Distinct: g.Distinct + g.New}
}

// Growth is how many of the objects that the agent has read on the day are new to it, with the probability, as a natural logarithm, of as
// many in as many reads. ok is false where there are few, or no more than were to be expected.
func (s *Store) Growth(v *View) (r Reading, logP float64, ok bool) {
	a := v.Agent
	g := &a.Growth
	if !v.fresh || g.Today < leastGrowth || g.Draws < leastGrowth || !a.Compared() {
		return r, 0, false
	}
	d := cardinality.Discount(float64(g.Distinct), float64(g.Draws), growthDiscount, growthPrior)
	mean := cardinality.Expect(float64(g.Today), float64(g.Distinct), float64(g.Draws), d)
	if float64(g.New) <= mean+1 {
		return r, 0, false
	}
	r = Reading{Name: "growth_of_resources_read", Scale: Hour, Observed: float64(g.New), Mean: mean, cell: growthCell}
	return r, cardinality.LogSF(float64(g.New), float64(g.Today), float64(g.Distinct), float64(g.Draws), d), true
}

// ReadsToday is how many reads of objects the agent has made on the day.
func (a *Agent) ReadsToday() float64 { return float64(a.Growth.Today) }

func (a *Agent) everReadBytes() int {
	if a.everRead == nil {
		return 0
	}
	return int(unsafe.Sizeof(*a.everRead))
}

func (a *Agent) appendEverRead(dst []byte) []byte {
	if a.everRead == nil {
		return append(dst, 0)
	}
	return a.everRead.Append(append(dst, 1))
}

func (a *Agent) decodeEverRead(d *decoder) {
	if d.byte() == 0 || d.err != nil {
		return
	}
	a.everRead = new(cardinality.Set)
	rest, err := a.everRead.Decode(d.src)
	if err != nil {
		d.fail("set of objects read")
		return
	}
	d.src = rest
}
