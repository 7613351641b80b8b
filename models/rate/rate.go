// Package rate predicts how often something happens: events, bytes in blocks, alerts per second.
//
// Null: counts are Poisson with an unknown rate that changes slowly, scattered by a constant factor (the
// dispersion) because real traffic clumps. Prior: a Gamma distribution, usually the parent's own posterior at a
// fixed weight (agent under cohort under fleet). Predictive: with shape a and exposure b the count of the next w
// units of exposure has mean w·a/b and variance mean·φ·(1+w/b); without scatter (φ = 1) that is exactly the
// negative binomial of Gelman et al., Bayesian Data Analysis (3rd ed.), §2.6. Forgetting: shape and exposure fade
// together (power discounting; West & Harrison 1997, §10.8), so that the mean stays and the doubt grows.
// Units: the caller's, seconds in Astray. Cost: 8 bytes, 5 ns to learn, 130 ns for a tail.
package rate

import (
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// Gamma is what is known of a rate: Shape events seen in Exposure units. The zero value knows nothing; a
// prediction needs a prior above it (see Under) that has seen something, however little.
type Gamma struct {
	Shape, Exposure float32
}

// Keep is the share of the past that is kept after elapsed units with that half-life. A half-life of zero or
// less never forgets.
func Keep(elapsed, halfLife float64) float64 {
	if halfLife <= 0 || elapsed <= 0 {
		return 1
	}
	return math.Exp2(-elapsed / halfLife)
}

// Learn forgets all but keep (0 to 1) of the past and adds count events in exposure units.
func (g *Gamma) Learn(count, exposure, keep float64) {
	g.Shape = float32(float64(g.Shape)*keep + count)
	g.Exposure = float32(float64(g.Exposure)*keep + exposure)
}

// Under is g with its parent as the prior. Weight is how many events the parent may count for: 1/weight is the
// squared coefficient of variation of the members' rates around the parent's, so 1 says that members differ
// from each other by about a factor of e, 100 that they differ by 10 %.
func (g Gamma) Under(parent Gamma, weight float64) Gamma {
	share := 1.0
	if float64(parent.Shape) > weight {
		share = weight / float64(parent.Shape)
	}
	return Gamma{
		Shape:    float32(float64(g.Shape) + share*float64(parent.Shape)),
		Exposure: float32(float64(g.Exposure) + share*float64(parent.Exposure)),
	}
}

// Mean is the expected rate, events per unit of exposure; 0 when nothing is known.
func (g Gamma) Mean() float64 {
	if g.Exposure <= 0 {
		return 0
	}
	return float64(g.Shape) / float64(g.Exposure)
}

// Predict gives the mean and variance of the count in the next exposure units under that dispersion (1 is
// Poisson; less is taken as 1).
func (g Gamma) Predict(exposure, dispersion float64) (mean, variance float64) {
	if g.Exposure <= 0 {
		return 0, 0
	}
	mean = g.Mean() * exposure
	return mean, mean * math.Max(dispersion, 1) * (1 + exposure/float64(g.Exposure))
}

// LogSF is ln P(X ≥ count) for the count of the next exposure units. With nothing known it is 0: no basis, no
// surprise.
func (g Gamma) LogSF(count, exposure, dispersion float64) float64 {
	mean, variance := g.Predict(exposure, dispersion)
	if mean <= 0 {
		return 0
	}
	return tail.CountLogSF(count, mean, variance)
}

// Band holds the middle share (say 0.95) of the count of the next exposure units.
func (g Gamma) Band(share, exposure, dispersion float64) (lower, upper float64) {
	mean, variance := g.Predict(exposure, dispersion)
	return tail.CountBand(share, mean, variance)
}

// Dispersion estimates how much more than a Poisson count the counts of one window length scatter: the mean of
// the squared Pearson residuals (McCullagh & Nelder 1989, §4.5), shrunk to a prior. Keep one for each window
// length: clumps that last a minute scatter the minutes and even out over a day.
type Dispersion struct {
	Chi, Windows float32
}

// Learn takes a finished window's count with what was predicted before it: mean and variance at dispersion 1.
// One window counts for at most limit times its expectation (0: no limit), so that a single burst, perhaps an
// attack, does not make every later burst look ordinary.
func (d *Dispersion) Learn(count, mean, variance, limit, keep float64) {
	if mean <= 0 || variance <= 0 {
		return
	}
	r := (count - mean) * (count - mean) / variance
	if limit > 0 {
		r = math.Min(r, limit*d.Factor(1, 1))
	}
	d.Chi = float32(float64(d.Chi)*keep + r)
	d.Windows = float32(float64(d.Windows)*keep + 1)
}

// Factor is the estimate under a prior worth that many windows, never below 1.
func (d Dispersion) Factor(prior, weight float64) float64 {
	return math.Max(1, (prior*weight+float64(d.Chi))/(weight+float64(d.Windows)))
}
