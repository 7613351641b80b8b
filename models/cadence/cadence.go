// Package cadence says how unusual the pauses of a renewal process are: too even, when malware phones home, or too long, when
// something has stopped.
//
// Even (Gaps). Null: the pauses are those of a Poisson process. Statistic: their coefficient of variation. A pause lies within a
// band of the mean, as wide as a uniform one of that deviation, 2·√3·cv, with the density of an exponential there, e^-1 a
// mean, so that n pauses are so even with probability (1.27·cv)^(n−1). That is the leading term; the exact volume of a
// ball in the simplex of their shares is up to 1.2^(n−1) times as large (Moran 1951), so that what it says of many pauses is a
// ranking and is to be held against what is usual, not believed. A perfect clock counts for 12 decades and for 2 % of
// variation at most. Forgetting: exponential, by two hundred pauses.
//
// Long (Longest). Null: beyond the fourth longest, pauses are Pareto distributed. Prior: an index of 3, worth two pauses; the
// longest ones tell theirs (Hill 1975). Clockwork has a short tail, moods a long one. Their index is taken for the true one, so that
// of a heavy tail a thousandth is too bold by ten after three days, by five after thirty. Forgetting: a hundredth a day of
// their length.
//
// Units: seconds, days. Cost: 10 and 20 bytes, 10 ns to learn, 60 and 120 ns to judge.
package cadence

import "math"

// Gaps is what is known of pauses: N of them, Memory at most, their Mean and Variance. The zero value knows nothing.
type Gaps struct {
	N              uint16
	Mean, Variance float32
}

// Memory is after how many pauses an old one has lost its weight.
const Memory = 200

// Learn adds a pause.
func (g *Gaps) Learn(pause float32) {
	g.N = min(g.N+1, Memory)
	x := pause - g.Mean
	g.Mean += x / float32(g.N)
	g.Variance += (x*(pause-g.Mean) - g.Variance) / float32(g.N)
}

// Variation is the coefficient of variation of the pauses: 1 random, 0 a clock, more than 1 bursts; 1 as well with fewer
// than two.
func (g *Gaps) Variation() float64 {
	if g.N < 2 || g.Mean <= 0 {
		return 1
	}
	return math.Sqrt(math.Max(float64(g.Variance), 0)) / float64(g.Mean)
}

const (
	leastGaps      = 4
	leastVariation = 0.02
	mostEvenness   = 12 // clocks are common; a perfect one says no more than a good one
)

// Evenness is −log10 of the probability that a Poisson process makes pauses as even; 0 with fewer than four.
func (g *Gaps) Evenness() float64 {
	if g.N < leastGaps {
		return 0
	}
	return math.Min(mostEvenness, -float64(int(g.N)-1)*math.Log10(math.Min(1, 1.27*math.Max(g.Variation(), leastVariation))))
}

// Longest is the N pauses of a source by its longest, the longest first. The zero value knows nothing.
type Longest struct {
	N   uint32
	Top [top]float32
}

const (
	top = 4
	// The index of the Pareto tail of pauses before any is known, and how many pauses that is worth.
	index, worth = 3, 2
	daily        = 0.99
)

// Learn adds a pause.
func (g *Longest) Learn(pause float32) {
	g.N++
	for i := range g.Top {
		if pause > g.Top[i] {
			pause, g.Top[i] = g.Top[i], pause
		}
	}
}

// Age forgets a day's worth.
func (g *Longest) Age() {
	for i := range g.Top {
		g.Top[i] *= daily
	}
}

// LogSF is ln P(a day sees a pause so long), after so many days; 0 for one that is no longer than the fourth longest.
func (g *Longest) LogSF(pause, days float64) float64 {
	least := math.Max(float64(g.Top[top-1]), 1)
	if pause <= least {
		return 0
	}
	spread := worth / float64(index)
	for _, t := range g.Top[:top-1] {
		spread += math.Log(math.Max(float64(t), least) / least)
	}
	index := (top - 1 + worth) / spread
	return math.Min(0, math.Log(top/math.Max(days, 1))-index*math.Log(pause/least))
}
