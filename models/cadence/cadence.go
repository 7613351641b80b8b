// Package cadence says how unlikely it is that something so regular is the ordinary business of an agent: the gaps
// between its contacts with one destination, when malware phones home.
//
// Null: the gaps are independent and Gamma distributed with a known shape; shape 1, the exponential, is random
// arrival, a higher one the regularity that is usual for this agent or its cohort. Statistic: Moran's,
// M = n·(ln mean g − mean ln g) (Moran 1951), which for a Gamma null is Bartlett's of homogeneous variances, so that
// 2αM/c is chi-square with n−1 degrees of freedom, c = 1+(n+1)/(6αn) (Bartlett 1937). Small M is regular; the lower
// tail of the chi-square is exact to some ten percent from 1 to 1e-300 (for α < 1 it may be half too small). Greenwood's sum of squares has the same
// purpose, but one missed beat spoils it, and its lower tail is only known by tables.
//
// A gap below the resolution counts as one resolution, so that a retry within the second, which says nothing about
// the rhythm, costs little. Forgetting: all three sums fade alike; the p-value then errs towards 1.
// Units: seconds. Cost: 12 bytes, 15 ns to learn, 100 ns for a tail.
package cadence

import (
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// Gaps is the state: N gaps, their Sum and the sum of their natural Logs. The zero value knows nothing.
type Gaps struct {
	N, Sum, Logs float32
}

// Learn forgets all but keep (see rate.Keep) of the past and adds a gap, of at least the resolution (both seconds).
func (g *Gaps) Learn(gap, resolution, keep float64) {
	if least := math.Max(resolution, 1e-6); !(gap > least) { // a NaN counts as no gap
		gap = least
	}
	g.N = float32(float64(g.N)*keep + 1)
	g.Sum = float32(float64(g.Sum)*keep + gap)
	g.Logs = float32(float64(g.Logs)*keep + math.Log(gap))
}

// Mean is the mean gap, 0 when there is none.
func (g Gaps) Mean() float64 {
	if g.N <= 0 {
		return 0
	}
	return float64(g.Sum) / float64(g.N)
}

// spread is ln mean g − mean ln g, 0 for perfect regularity.
func (g Gaps) spread() float64 {
	return math.Max(0, math.Log(g.Mean())-float64(g.Logs)/float64(g.N))
}

// Shape is the shape of the Gamma distribution that fits the gaps (the closed approximation of the likelihood's
// maximum by Minka 2002): 1 random, 100 within 10 %. At most 1e6; 0 with fewer than three gaps.
func (g Gaps) Shape() float64 {
	if g.N < 3 {
		return 0
	}
	s := math.Max(g.spread(), 5e-7)
	return (3 - s + math.Sqrt((s-3)*(s-3)+24*s)) / (12 * s)
}

// Variation is the coefficient of variation of the gaps: 1 random, 0 a clock, more than 1 bursts. It is that of the
// fitted Gamma distribution, which one missed beat does not spoil; 0 with fewer than three gaps.
func (g Gaps) Variation() float64 {
	if a := g.Shape(); a > 0 {
		return 1 / math.Sqrt(a)
	}
	return 0
}

// LogSF is ln P(gaps at least so regular) when gaps are Gamma distributed with that shape; 0 with fewer than three.
// The shape is 1 unless it is known that this agent is regular in everything it does.
func (g Gaps) LogSF(shape float64) float64 {
	n := float64(g.N)
	if n < 3 || !(shape > 0) {
		return 0
	}
	// Jitter below a float32's precision is no evidence: the spread is not believed below 1e-6.
	m := n * math.Max(g.spread(), 1e-6)
	c := 1 + (n+1)/(6*shape*n)
	// P(χ²_ν ≤ y) is the regularised lower incomplete gamma function at (ν/2, y/2).
	return tail.PoissonLogSF((n-1)/2, shape*m/c)
}
