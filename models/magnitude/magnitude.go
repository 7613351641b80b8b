// Package magnitude says how unusual a size is: bytes sent, a duration, the length of a text.
//
// Null: sizes are lognormal in the body, and may be heavier above it. Body: Student's predictive distribution of
// the logarithm, from decayed moments (Gelman et al., Bayesian Data Analysis, §3.2). Tail: above the threshold of
// 1.5 standard deviations the excess of the logarithm, in standard deviations, is generalised Pareto (Pickands
// 1975), fitted by the method of moments (Hosking & Wallis 1987) under a prior of an exponential excess, that is,
// of a size whose tail is a power law. The p-value is the larger of the two: the tail can make a size less
// surprising than the lognormal says, never more. It stays finite to 1e-300 and beyond.
//
// Prior: the parent's state at a fixed weight. Units: any positive, the same throughout; the state keeps their
// natural logarithm, 0 counting as 1. Cost: 24 bytes, 40 ns to learn, 180 ns for a tail.
package magnitude

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/astray-dev/astray/models/tail"
)

const (
	threshold = 1.5 // standard deviations above the mean of the logarithm where the tail begins
	above     = 0.0668072012688581
	// The prior of the tail: it weighs like this many sizes, of which the share above lies beyond the threshold, with
	// the mean excess that a normal body has there.
	priorWeight = 150.0
	priorExcess = 0.4387
	minFreedom  = 1.0
	floor       = 0.05 // the least standard deviation of the logarithm: sizes within 5 % are one size
)

// LogNormal is the state: Weight sizes with the mean and the sum of squared deviations of their logarithms, and
// Excess of them above the threshold, with sum and sum of squares of the excess in standard deviations. The zero
// value knows nothing.
type LogNormal struct {
	Weight, Mean, Squares float32
	Excess, Sum1, Sum2    float32
}

// log is the logarithm of a size; what is no size, a NaN or an infinity, must not spoil the state.
func log(x float64) float64 {
	if !(x > 1) {
		return 0
	}
	return math.Log(math.Min(x, math.MaxFloat64))
}

// Learn forgets all but keep (see rate.Keep) of the past and adds a size.
func (s *LogNormal) Learn(size, keep float64) {
	x := log(size)
	w, m, q := float64(s.Weight), float64(s.Mean), float64(s.Squares)
	if w > 10 { // before that there is no threshold to speak of
		e := (x-m)/s.deviation() - threshold
		k := 0.0
		if e > 0 {
			k = 1
		} else {
			e = 0
		}
		s.Excess = float32(float64(s.Excess)*keep + k)
		s.Sum1 = float32(float64(s.Sum1)*keep + e)
		s.Sum2 = float32(float64(s.Sum2)*keep + e*e)
	}
	w, q = w*keep, q*keep
	d := x - m
	m += d / (w + 1)
	q += d * d * w / (w + 1)
	s.Weight, s.Mean, s.Squares = float32(w+1), float32(m), float32(q)
}

func (s LogNormal) deviation() float64 {
	return math.Max(floor, math.Sqrt(float64(s.Squares)/math.Max(1, float64(s.Weight)-1)))
}

// Under is s with its parent as the prior, which may count for at most weight sizes. The means are pooled, and
// their distance becomes doubt.
func (s LogNormal) Under(parent LogNormal, weight float64) LogNormal {
	share := 1.0
	if float64(parent.Weight) > weight {
		share = weight / float64(parent.Weight)
	}
	a, b := float64(s.Weight), share*float64(parent.Weight)
	if a+b == 0 {
		return s
	}
	d := float64(parent.Mean) - float64(s.Mean)
	if a == 0 || b == 0 {
		d *= 0
	}
	mean := float64(s.Mean) + d*b/(a+b)
	if a == 0 {
		mean = float64(parent.Mean)
	}
	add := func(x, y float32) float32 { return float32(float64(x) + share*float64(y)) }
	return LogNormal{
		Weight: float32(a + b), Mean: float32(mean),
		Squares: float32(float64(s.Squares) + share*float64(parent.Squares) + d*d*a*b/(a+b)),
		Excess:  add(s.Excess, parent.Excess), Sum1: add(s.Sum1, parent.Sum1), Sum2: add(s.Sum2, parent.Sum2),
	}
}

// LogSF is ln P(X ≥ size) for the next size; 0 while fewer than two were seen.
func (s LogNormal) LogSF(size float64) float64 {
	w := float64(s.Weight)
	if w < 2 {
		return 0
	}
	z := (log(size) - float64(s.Mean)) / s.deviation()
	body := tail.StudentLogSF(z/math.Sqrt(1+1/w), math.Max(minFreedom, w-1))
	share, shape, scale := s.tail()
	return math.Max(body, math.Log(share)+tail.ParetoLogSF(z-threshold, shape, scale))
}

// tail is the share of sizes above the threshold and the shape and scale of their excess.
func (s LogNormal) tail() (share, shape, scale float64) {
	n := priorWeight*above + float64(s.Excess)
	share = math.Min(1, n/(priorWeight+math.Max(float64(s.Weight)-10, 0)))
	// The prior's excesses are exponential: their second moment is twice the square of the first.
	m1 := (priorWeight*above*priorExcess + float64(s.Sum1)) / n
	m2 := (priorWeight*above*2*priorExcess*priorExcess + float64(s.Sum2)) / n
	r := m1 * m1 / math.Max(m2-m1*m1, 1e-9*m1*m1)
	shape = math.Min(math.Max((1-r)/2, -0.5), 0.45)
	return share, shape, m1 * (1 - shape)
}

// Band holds the middle share (say 0.95) of the next size, by the lognormal body.
func (s LogNormal) Band(share float64) (lower, upper float64) {
	return s.BandAt(Quantile(share, s.Freedom()))
}

// Freedom is the degrees of freedom of what is known of the next size, for Quantile.
func (s LogNormal) Freedom() float64 { return math.Max(minFreedom, float64(s.Weight)-1) }

// Quantile is within how many deviations the middle share of a Student's t distribution lies. It takes as long as ten events: who
// asks for one share again and again remembers it by the freedom, which many states have in common.
func Quantile(share, freedom float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile((1 + share) / 2)
}

// BandAt is Band with the Quantile of its share.
func (s LogNormal) BandAt(t float64) (lower, upper float64) {
	if s.Weight < 2 {
		return 0, math.Inf(1)
	}
	w := float64(s.Weight)
	half := t * s.deviation() * math.Sqrt(1+1/w)
	return math.Exp(float64(s.Mean) - half), math.Exp(float64(s.Mean) + half)
}

// leastLogVariance is how much the logarithm of a sum of sizes varies at least.
const leastLogVariance = 0.25

// Predict is the mean and variance of the next logarithm when n before it had these, the uncertainty of the mean
// included: for amounts of whole windows, whose moments are learned as those of counts are (package rate).
func Predict(n, mean, variance float64) (m, v float64) {
	v = math.Max(variance, leastLogVariance)
	return mean, v + v/math.Max(n, 1)
}

// Natural is the mean and variance of a size when those of its logarithm, ln(1+x), are given.
func Natural(mean, variance float64) (m, v float64) {
	m = math.Expm1(mean)
	return m, math.Expm1(math.Min(variance, 4)) * (m + 1) * (m + 1)
}

// Median is the expected size.
func (s LogNormal) Median() float64 { return math.Exp(float64(s.Mean)) }
