// Package changepoint finds changes too slow or too small for any single window: an agent that reads a little more
// each day.
//
// Null: the increments are log-likelihood ratios, ln dP₁/dP₀ of a change that matters against no change, under P₀
// (each has E₀[exp] ≤ 1, given those before it). Page's sum S = max(0, S+x) (Page 1954) then exceeds h at any one
// time with probability at most e^−h: seen from now backwards it is the maximum of a random walk whose exponential
// is a supermartingale (Ville; Siegmund 1985, §II.6). So −S is a log p-value, honest for any distribution, and the
// mean time between false alarms at threshold h is at least e^h steps (Lorden 1971). For normal increments
// Siegmund's correction for the overshoot makes both exact to a few percent (LogSFNormal, RunLength).
//
// Prior: none; the size of change worth finding is chosen, and changes of half to twice that size are found nearly
// as fast. Units: natural logarithms; one step per increment. Cost: 8 bytes, 2 ns to learn.
package changepoint

import "math"

// Sum is Page's one-sided sum S and the number of Steps since it was last 0, which is when the change began, if
// there is one.
type Sum struct {
	S     float32
	Steps uint32
}

// Learn adds an increment (see Normal, Poisson, Bernoulli, Exponential).
func (c *Sum) Learn(ratio float64) {
	if s := float32(float64(c.S) + ratio); s > 0 {
		c.S = s
		if c.Steps < math.MaxUint32 {
			c.Steps++
		}
		return
	}
	*c = Sum{}
}

// LogSF bounds ln P₀(S this large now): honest whatever the increments' distribution.
func (c Sum) LogSF() float64 { return -float64(c.S) }

// LogSFWithin bounds ln P₀(S gets this large at least once within that many steps).
func (c Sum) LogSFWithin(steps float64) float64 {
	return math.Min(0, math.Log(math.Max(1, steps))-float64(c.S))
}

// overshoot is Siegmund's constant ρ = −ζ(1/2)/√(2π).
const overshoot = 0.5825971579390107

// LogSFNormal is ln P₀(S this large now) for the increments of Normal, corrected for the overshoot.
func (c Sum) LogSFNormal(shift float64) float64 {
	if c.S <= 0 {
		return 0
	}
	return -float64(c.S) - overshoot*shift
}

// Normal is the increment for a standardised value z and an upward shift of that many standard deviations. For
// downward changes negate z.
func Normal(z, shift float64) float64 { return shift * (z - shift/2) }

// Poisson is the increment for a count with that mean under the null, and a factor on it under the change.
func Poisson(count, mean, factor float64) float64 {
	return count*math.Log(factor) - mean*(factor-1)
}

// NegBinomial is the increment for a count with that mean under the null, a factor on the mean under the change,
// and size r under both (variance mean + mean²/r): where real counts scatter, Poisson cries wolf.
func NegBinomial(count, mean, factor, size float64) float64 {
	if math.IsInf(size, 1) {
		return Poisson(count, mean, factor)
	}
	return count*math.Log(factor) - (count+size)*math.Log1p(mean*(factor-1)/(mean+size))
}

// Bernoulli is the increment for yes of n events of a kind whose proportion is p under the null and q under the
// change, both strictly between 0 and 1.
func Bernoulli(yes, n, p, q float64) float64 {
	return yes*math.Log(q/p) + (n-yes)*math.Log1p((p-q)/(1-p))
}

// Exponential is the increment for a duration with that mean under the null, and a factor on it under the change.
func Exponential(x, mean, factor float64) float64 {
	return x/mean*(1-1/factor) - math.Log(factor)
}

// RunLength is the mean number of steps between false alarms at that threshold for the increments of Normal
// (Siegmund 1985, eq. 2.57).
func RunLength(threshold, shift float64) float64 {
	b := threshold + 2*overshoot*shift
	return (math.Exp(b) - 1 - b) / (shift * shift / 2)
}

// Delay is the mean number of steps to an alarm at that threshold once the change has happened as supposed.
func Delay(threshold, shift float64) float64 {
	b := threshold + 2*overshoot*shift
	return (math.Expm1(-b) + b) / (shift * shift / 2)
}

// Threshold is the least threshold with that mean number of steps between false alarms, to a thousandth.
func Threshold(runLength, shift float64) float64 {
	low, high := 0.0, 700.0
	for high-low > 1e-3 {
		if mid := (low + high) / 2; RunLength(mid, shift) < runLength {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// Drift is the Page–Hinkley test (Hinkley 1971): a sum against the running Mean of the values themselves, for use
// where there is no baseline to compare with. It finds a value that has risen by more than tolerance above its own
// decayed mean for a while, and has no p-value of its own: give S to a calibration.
type Drift struct {
	S, Mean, N float32
}

// Learn adds a value. Keep (see rate.Keep) of the past is kept in the mean; S never forgets but by falling. The mean
// learns after S, so a value is compared with those before it.
func (d *Drift) Learn(x, tolerance, keep float64) {
	if d.N > 0 {
		d.S = float32(math.Max(0, float64(d.S)+x-float64(d.Mean)-tolerance))
	}
	n := float64(d.N)*keep + 1
	d.Mean += float32((x - float64(d.Mean)) / n)
	d.N = float32(n)
}
