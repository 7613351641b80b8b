package tail

import "math"

// BetaBinomialLogSF returns ln P(X ≥ k) for the number X of successes in n draws whose probability is Beta(a, b).
// It sums the ratio of neighbouring terms (Johnson, Kemp & Kotz, Univariate Discrete Distributions, §6.2) from
// the near end of the tail outwards, so the cost is a few ns for each term that matters: tens of them far out,
// some standard deviations near the mean.
func BetaBinomialLogSF(k, n, a, b float64) float64 {
	k = math.Ceil(k)
	switch {
	case math.IsNaN(k) || !(n >= 0) || !(a > 0) || !(b > 0):
		return math.NaN()
	case k <= 0:
		return 0
	case k > n:
		return math.Inf(-1)
	}
	n = math.Floor(n)
	if k > n*a/(a+b) {
		return math.Min(0, betaBinomialLogTail(k, n, a, b))
	}
	// Below the mean: one minus the lower tail, P(n−X ≥ n−k+1).
	return logOneLess(betaBinomialLogTail(n-k+1, n, b, a))
}

func betaBinomialLogTail(k, n, a, b float64) float64 {
	lead := logChoose(n, k) + lbeta(k+a, n-k+b) - lbeta(a, b)
	sum, term, ratio := 1.0, 1.0, 0.0
	j := k
	for i := 0; j < n && i < 1<<16; i++ {
		ratio = (n - j) / (j + 1) * (j + a) / (n - j - 1 + b)
		term *= ratio
		sum += term
		j++
		if ratio < 1 && term*ratio < epsilon*sum*(1-ratio) {
			return lead + math.Log(sum)
		}
	}
	if j < n && ratio < 1 { // what is left falls at least geometrically
		sum += term * ratio / (1 - ratio)
	}
	return lead + math.Log(sum)
}

func logChoose(n, k float64) float64 { return -math.Log(n+1) - lbeta(k+1, n-k+1) }

// lbeta is ln B(a,b). Where one argument is much the larger, the difference of its two log gammas is taken by
// Stirling's series, so that nothing cancels.
func lbeta(a, b float64) float64 {
	if a > b {
		a, b = b, a
	}
	la, _ := math.Lgamma(a)
	if b < 100 {
		lb, _ := math.Lgamma(b)
		lab, _ := math.Lgamma(a + b)
		return la + lb - lab
	}
	// ln Γ(b) − ln Γ(a+b), both large.
	s := a + b
	rest := func(x float64) float64 { return (1 - 1/(30*x*x)) / (12 * x) }
	return la + a - a*math.Log(s) - (b-0.5)*math.Log1p(a/b) + rest(b) - rest(s)
}

// BetaLogSF returns ln P(X ≥ x) for X ~ Beta(a, b).
func BetaLogSF(x, a, b float64) float64 {
	switch {
	case math.IsNaN(x) || !(a > 0) || !(b > 0):
		return math.NaN()
	case x <= 0:
		return 0
	case x >= 1:
		return math.Inf(-1)
	}
	return logIncBeta(b, a, math.Log1p(-x), math.Log(x), 1-x, x)
}

// logIncBeta is ln I_x(a,b), given ln x and ln y where y is 1−x.
func logIncBeta(a, b, lx, ly, x, y float64) float64 {
	if x < (a+1)/(a+b+2) {
		return math.Min(0, logBeta(a, b, lx, ly, x, epsilon))
	}
	return logOneLess(logBeta(b, a, ly, lx, y, fine))
}

// StudentLogSF returns ln P(T ≥ t) for Student's distribution with that many degrees of freedom, +Inf being the
// normal one: half of I_{ν/(ν+t²)}(ν/2, 1/2) for t > 0 (Abramowitz & Stegun 26.7.1).
func StudentLogSF(t, freedom float64) float64 {
	switch {
	case math.IsNaN(t) || !(freedom > 0):
		return math.NaN()
	case freedom > 1e7:
		return NormalLogSF(t)
	case t < 0:
		return logOneLess(StudentLogSF(-t, freedom))
	}
	t = math.Min(t, 1e150) // its square is finite
	r := t * t / freedom
	lx := -math.Log1p(r)
	return logIncBeta(freedom/2, 0.5, lx, math.Log(r)+lx, 1/(1+r), r/(1+r)) - math.Ln2
}

// NormalLogSF returns ln P(Z ≥ z) for the standard normal distribution: erfc where it has not underflowed,
// beyond it the continued fraction of Mills' ratio (Abramowitz & Stegun 26.2.14).
func NormalLogSF(z float64) float64 {
	if z < 10 {
		return math.Log(0.5 * math.Erfc(z/math.Sqrt2))
	}
	f := z
	for i := 20.0; i > 0; i-- {
		f = z + i/f
	}
	return -z*z/2 - 0.5*math.Log(2*math.Pi) - math.Log(f)
}

// ParetoLogSF returns ln P(X ≥ x) for the generalised Pareto distribution of an excess x ≥ 0 (Pickands 1975):
// −ln(1+ξx/σ)/ξ, the exponential where the shape ξ is 0, −Inf beyond the end that a negative shape has.
func ParetoLogSF(x, shape, scale float64) float64 {
	y := x / scale
	switch {
	case math.IsNaN(y) || math.IsNaN(shape):
		return math.NaN()
	case y <= 0:
		return 0
	case math.Abs(shape*y) < 1e-8:
		return -y
	case 1+shape*y <= 0:
		return math.Inf(-1)
	}
	return -math.Log1p(shape*y) / shape
}
