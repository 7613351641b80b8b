// Package proportion says how unusual a make-up is: how many of n events are of a kind, whatever their number.
//
// Null: each event is of the kind with a probability that is unknown, or differs from day to day. Prior: a Beta distribution
// of that probability, as counts that were seen before (Beta) or by its mean and the correlation of two events of one day
// (Scattered): 0 is a coin of a known side, 1 all or nothing. Predictive: the Beta-Binomial (Gelman et al., Bayesian Data
// Analysis, §2.4; Skellam 1948), its tail in logarithms; n events tell no more than n over the design effect 1+(n−1)·ρ
// independent ones would (Kish 1965). Of several kinds at once it is a Dirichlet-multinomial (Mosimann 1962), and the correlation is
// estimated by moments, from how much more than a multinomial sample the counts scatter (Weir & Hill 2002).
//
// The package keeps no state but a sum over kinds; who learns keeps shares. Units: events. Cost: 230 ns for a tail of tens of
// events (see tail.BetaBinomialLogSF), 5 ns for deviations: look at those first.
package proportion

import (
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// Beta is what is known of a proportion: as much as after Yes events of the kind and No others.
type Beta struct {
	Yes, No float64
}

// Scattered is the Beta of a proportion with the mean share (between 0 and 1) when two events of a day correlate by scatter
// (above 0, under 1).
func Scattered(share, scatter float64) Beta {
	return Beta{Yes: share * (1/scatter - 1), No: (1 - share) * (1/scatter - 1)}
}

// Mean is the expected proportion.
func (b Beta) Mean() float64 { return b.Yes / (b.Yes + b.No) }

// LogSF is ln P(K ≥ k) for the number K of the kind among the next n events; 0 where there is no basis, when one of the
// two was never seen.
func (b Beta) LogSF(k, n float64) float64 {
	if b.Yes <= 0 || b.No <= 0 {
		return 0
	}
	return tail.BetaBinomialLogSF(k, n, b.Yes, b.No)
}

// Effect is the design effect: by how much more the count among n events varies when they correlate by scatter.
func Effect(n, scatter float64) float64 { return 1 + (n-1)*scatter }

// Deviations is by how many standard deviations a count of k among n events is above what was to be expected.
func Deviations(k, n, share, scatter float64) float64 {
	mean := n * share
	return (k - mean) / math.Sqrt(mean*(1-share)*Effect(n, scatter))
}

// Usual is the share among n events that is so many deviations above the mean.
func Usual(n, share, scatter, deviations float64) float64 {
	return share + deviations*math.Sqrt(share*(1-share)*(scatter+1/n))
}

// Pearson is how far the counts of a day are from what was to be expected: his statistic, kind by kind.
type Pearson struct {
	Chi   float64
	Kinds float64
}

// Add adds a kind: count of the day's n events, of which a share was to be expected.
func (x *Pearson) Add(count, n, share float64) {
	d := count - n*share
	x.Chi += d * d / (n * share)
	x.Kinds++
}

// Scatter estimates from a day of n events how they correlate, when the shares expected are the mean of so many days; ok is
// false for fewer than two kinds.
func (x *Pearson) Scatter(n, days float64) (scatter float64, ok bool) {
	df := x.Kinds - 1
	if df < 1 {
		return 0, false
	}
	return math.Max((x.Chi/df-1)/(n-1)/(1+1/days), 0), true
}

// Shrunk is an estimate that rests on n observations with another as prior, worth weight of them.
func Shrunk(own, n, prior, weight float64) float64 {
	return (n*own + weight*prior) / (n + weight)
}

// G is twice the log-likelihood ratio of the counts, n in all, against the shares expected: chi-squared with one degree of freedom
// less than there are kinds when the events are independent, Effect times that when they are not.
func G(count []uint16, n float64, share func(kind int) float64) float64 {
	g := 0.0
	for i, c := range count {
		if c > 0 {
			g += float64(c) * math.Log(float64(c)/(n*share(i)))
		}
	}
	return 2 * g
}
