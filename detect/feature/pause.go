package feature

import (
	"math"
	"math/bits"
)

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
