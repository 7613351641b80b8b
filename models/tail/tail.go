// Package tail computes the far tails of distributions in logarithms.
//
// A detector lives where probabilities are 1e-6 to 1e-300, and there a survival function that subtracts from
// one has cancelled to zero long before. Here every tail is a product of its leading term and a series or
// continued fraction of order one, so it keeps its relative precision however small it gets.
//
// The functions named LogSF return the natural logarithm of P(X ≥ k), counts for real k ≥ 0 (between the integers they
// interpolate as the incomplete beta and gamma functions do). Cost is 100 to 300 ns.
package tail

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	epsilon = 1e-10
	fine    = 1e-15 // where what counts is the distance from one
	tiny    = 1e-300
	maxIter = 500
)

// PoissonLogSF returns ln P(X ≥ k) for X ~ Poisson(mean). For k above the mean it is the series
// γ(k,λ)/Γ(k) = e^{-λ} λ^k / Γ(k+1) · Σ λ^n / ((k+1)…(k+n)) (Abramowitz & Stegun 6.5.29), below it the
// complement, by Lentz's continued fraction for the upper incomplete gamma function.
func PoissonLogSF(k, mean float64) float64 {
	switch {
	case math.IsNaN(k) || math.IsNaN(mean) || mean < 0:
		return math.NaN()
	case k <= 0:
		return 0
	case mean == 0:
		return math.Inf(-1)
	}
	if mean > 1e4 && k > 1e4 {
		return temme(k, mean)
	}
	lg, _ := math.Lgamma(k + 1)
	lead := k*math.Log(mean) - mean - lg
	if mean < k+1 {
		sum, term := 1.0, 1.0
		for n := 1; n < 20*maxIter; n++ {
			term *= mean / (k + float64(n))
			sum += term
			if term < epsilon*sum {
				break
			}
		}
		return math.Min(0, lead+math.Log(sum))
	}
	// Q(k,λ) = e^{-λ} λ^k / Γ(k) · 1/(λ+1-k- 1(1-k)/(λ+3-k- …)); ln Γ(k) = ln Γ(k+1) − ln k.
	b := mean + 1 - k
	c := 1 / tiny
	d := 1 / b
	h := d
	for i := 1; i < maxIter; i++ {
		an := -float64(i) * (float64(i) - k)
		b += 2
		d = 1 / nonzero(an*d+b)
		c = nonzero(b + an/c)
		h *= c * d
		if math.Abs(c*d-1) < epsilon {
			break
		}
	}
	q := math.Exp(lead+math.Log(k)) * h
	return math.Log1p(-math.Min(math.Max(q, 0), 1))
}

// temme is ln P(a,x), the regularised lower incomplete gamma function, for large a by the first two terms of Temme's
// uniform expansion (1979): P = Φ(η√a) − φ(η√a)/√a·(1/μ − 1/η) with μ = x/a − 1 and η²/2 = μ − ln(1+μ). The next
// term is a millionth of it.
func temme(a, x float64) float64 {
	mu := (x - a) / a
	eta := math.Copysign(math.Sqrt(2*math.Max(0, mu-math.Log1p(mu))), mu)
	c := -1.0 / 3
	if math.Abs(mu) > 1e-4 {
		c = 1/mu - 1/eta
	}
	z := math.Abs(eta) * math.Sqrt(a)
	sf := NormalLogSF(z)
	term := c / math.Sqrt(a) * math.Exp(-z*z/2-0.5*math.Log(2*math.Pi)-sf)
	if mu <= 0 {
		return math.Min(0, sf+math.Log1p(-term))
	}
	return logOneLess(sf + math.Log1p(term))
}

// NegBinomialLogSF returns ln P(X ≥ k) for the negative binomial with the given mean and size r: the variance
// is mean + mean²/r, and r → ∞ is the Poisson. It is ln I_q(k, r) with q = mean/(mean+r), the regularised
// incomplete beta function by Lentz's continued fraction (Didonato & Morris 1992, ACM TOMS 708).
func NegBinomialLogSF(k, mean, size float64) float64 {
	switch {
	case math.IsNaN(k) || math.IsNaN(mean) || math.IsNaN(size) || mean < 0 || size <= 0:
		return math.NaN()
	case k <= 0:
		return 0
	case mean == 0:
		return math.Inf(-1)
	case size > 1e7*(1+mean):
		return PoissonLogSF(k, mean)
	}
	q := mean / (mean + size)
	p := size / (mean + size)
	// The logarithm of what is next to one is taken of its distance from it: it is multiplied by counts of any size.
	lq, lp := -math.Log1p(size/mean), -math.Log1p(mean/size)
	return logIncBeta(k, size, lq, lp, q, p)
}

// logOneLess is ln(1−exp(l)), for l up to 0.
func logOneLess(l float64) float64 {
	if l = math.Min(l, 0); l > -1 {
		return math.Log(-math.Expm1(l)) // near one, of which nearly all is taken
	}
	return math.Log1p(-math.Exp(l))
}

// logBeta is ln I_x(a,b) where the continued fraction converges quickly, x < (a+1)/(a+b+2), to a relative error of about eps.
func logBeta(a, b, lx, l1x, x, eps float64) float64 {
	lead := a*lx + b*l1x - math.Log(a) - lbeta(a, b)
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	h := d
	for i := 1; i < 20*maxIter; i++ { // of the order of √max(a,b), and only near the mean
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / nonzero(1+even*d)
		c = nonzero(1 + even/c)
		h *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / nonzero(1+odd*d)
		c = nonzero(1 + odd/c)
		h *= d * c
		if math.Abs(d*c-1) < eps {
			break
		}
	}
	return lead + math.Log(math.Max(h, tiny))
}

func nonzero(x float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}

// ChiSquareLogSF returns ln P(X ≥ x) for a chi-squared variable with df degrees of freedom: 1 − P(df/2, x/2), by the
// continued fraction where it is small and gonum elsewhere.
func ChiSquareLogSF(x, df float64) float64 {
	switch {
	case math.IsNaN(x) || math.IsNaN(df) || df <= 0:
		return math.NaN()
	case x <= 0:
		return 0
	}
	a, z := df/2, x/2
	if z < a+1 {
		return math.Log(distuv.ChiSquared{K: df}.Survival(x))
	}
	lg, _ := math.Lgamma(a)
	b := z + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for i := 1; i < maxIter; i++ {
		an := -float64(i) * (float64(i) - a)
		b += 2
		d = 1 / nonzero(an*d+b)
		c = nonzero(b + an/c)
		h *= c * d
		if math.Abs(c*d-1) < epsilon {
			break
		}
	}
	return math.Min(0, a*math.Log(z)-z-lg+math.Log(h))
}

// Size is the negative binomial's size for a mean and variance, +Inf when the variance does not exceed the mean.
func Size(mean, variance float64) float64 {
	if variance <= mean {
		return math.Inf(1)
	}
	return mean * mean / (variance - mean)
}

// CountLogSF returns ln P(X ≥ k) for a count with that mean and variance: negative binomial where it is more
// scattered than a Poisson count, Poisson otherwise.
func CountLogSF(k, mean, variance float64) float64 {
	size := Size(mean, variance)
	if math.IsInf(size, 1) {
		return PoissonLogSF(k, mean)
	}
	return NegBinomialLogSF(k, mean, size)
}

// CountBand returns the band that holds the middle share (0 < share < 1) of a count with that mean and
// variance, as quantiles of the Gamma distribution with the same two moments, widened to whole numbers.
func CountBand(share, mean, variance float64) (lower, upper float64) {
	if mean <= 0 || variance <= 0 {
		return 0, math.Max(mean, 0)
	}
	lower, upper = GammaBand(share, mean*mean/variance)
	return math.Floor(mean * lower), math.Ceil(mean * upper)
}

// GammaBand returns the band that holds the middle share (0 < share < 1) of a Gamma distribution with that shape (above 0) and
// mean 1. That of any other mean is as many times wider.
func GammaBand(share, shape float64) (lower, upper float64) {
	g := distuv.Gamma{Alpha: shape, Beta: shape}
	lower, upper = g.Quantile((1-share)/2), g.Quantile((1+share)/2)
	if math.IsNaN(lower) {
		lower = 0
	}
	if math.IsNaN(upper) {
		upper = 1
	}
	return lower, upper
}
