package changepoint_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/changepoint"
)

func Example() {
	// An agent reads 20 things an hour; is it 40 % more? Every single hour looks ordinary.
	var s changepoint.Sum
	for range 48 {
		s.Learn(changepoint.Poisson(27, 20, 1.4))
	}
	fmt.Printf("over %d hours, p = 1e%.0f\n", s.Steps, s.LogSF()/math.Ln10)
	h := changepoint.Threshold(1e6, 1)
	fmt.Printf("one false alarm in 1e6 steps: threshold %.1f, found after %.0f steps\n", h, changepoint.Delay(h, 1))
	// Output:
	// over 48 hours, p = 1e-23
	// one false alarm in 1e6 steps: threshold 12.0, found after 24 steps
}

// Under its null the p-value must be honest for every kind of increment, and the corrected one right for the normal.
func TestCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	pois := distuv.Poisson{Lambda: 3, Src: src}
	gamma := distuv.Gamma{Alpha: 2, Beta: 2.0 / 3, Src: src}
	kinds := map[string]func() float64{
		"normal":      func() float64 { return changepoint.Normal(src.NormFloat64(), 0.5) },
		"poisson":     func() float64 { return changepoint.Poisson(pois.Rand(), 3, 1.5) },
		"exponential": func() float64 { return changepoint.Exponential(7*src.ExpFloat64(), 7, 1.5) },
		"bernoulli": func() float64 {
			yes := 0.0
			if src.Float64() < 0.1 {
				yes = 1
			}
			return changepoint.Bernoulli(yes, 1, 0.1, 0.2)
		},
		"negative binomial": func() float64 {
			return changepoint.NegBinomial(distuv.Poisson{Lambda: gamma.Rand(), Src: src}.Rand(), 3, 1.5, 2)
		},
	}
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	for name, draw := range kinds {
		const n = 3_000_000
		hits, corrected := make([]float64, len(levels)), make([]float64, len(levels))
		var s changepoint.Sum
		for range n {
			s.Learn(draw())
			for i, x := range levels {
				if s.LogSF() <= math.Log(x) {
					hits[i]++
				}
				if name == "normal" && s.LogSFNormal(0.5) <= math.Log(x) {
					corrected[i]++
				}
			}
		}
		for i, x := range levels {
			// Neighbouring sums depend on each other, so the scatter is that of the excursions.
			slack := 1 + 15/math.Sqrt(x*n)
			if hits[i] > x*n*slack {
				t.Errorf("%s: P(p <= %v): %v of %v", name, x, hits[i], n)
			}
			if name == "normal" && (corrected[i] > 1.3*x*n*slack || corrected[i] < 0.7*x*n/slack) {
				t.Errorf("normal, corrected: P(p <= %v): %v of %v", x, corrected[i], n)
			}
		}
	}
}

func TestRunLengthAndDelay(t *testing.T) {
	src := rand.New(rand.NewPCG(3, 4))
	for _, shift := range []float64{0.3, 1} {
		h := changepoint.Threshold(2000, shift)
		mean := func(drift float64) float64 {
			var steps float64
			const rounds = 600
			for range rounds {
				for s := (changepoint.Sum{}); float64(s.S) < h; steps++ {
					s.Learn(changepoint.Normal(src.NormFloat64()+drift, shift))
				}
			}
			return steps / rounds
		}
		if got := mean(0); got < 1700 || got > 2400 {
			t.Errorf("shift %v: %v steps between false alarms, asked for 2000", shift, got)
		}
		if got, want := mean(shift), changepoint.Delay(h, shift); math.Abs(got-want) > 0.12*want {
			t.Errorf("shift %v: found after %v steps, predicted %v", shift, got, want)
		}
	}
}

func TestIncrementsAreLikelihoodRatios(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		factor := rapid.Float64Range(1.1, 3).Draw(t, "factor")
		mean := rapid.Float64Range(0.1, 30).Draw(t, "mean")
		k := float64(rapid.IntRange(0, 60).Draw(t, "k"))
		want := distuv.Poisson{Lambda: mean * factor}.LogProb(k) - distuv.Poisson{Lambda: mean}.LogProb(k)
		if got := changepoint.Poisson(k, mean, factor); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("poisson %v, gonum %v", got, want)
		}
		want = distuv.Exponential{Rate: 1 / (mean * factor)}.LogProb(k) - distuv.Exponential{Rate: 1 / mean}.LogProb(k)
		if got := changepoint.Exponential(k, mean, factor); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("exponential %v, gonum %v", got, want)
		}
		want = distuv.Normal{Mu: factor, Sigma: 1}.LogProb(k) - distuv.UnitNormal.LogProb(k)
		if got := changepoint.Normal(k, factor); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("normal %v, gonum %v", got, want)
		}
		p := rapid.Float64Range(0.01, 0.3).Draw(t, "p")
		n := k + float64(rapid.IntRange(0, 50).Draw(t, "more")) + 1
		want = distuv.Binomial{N: n, P: p * factor}.LogProb(k) - distuv.Binomial{N: n, P: p}.LogProb(k)
		if got := changepoint.Bernoulli(k, n, p, p*factor); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("bernoulli %v, gonum %v", got, want)
		}
		if a, b := changepoint.NegBinomial(k, mean, factor, 1e12), changepoint.Poisson(k, mean, factor); math.Abs(a-b) > 1e-6*(1+math.Abs(b)) {
			t.Fatalf("negative binomial of endless size %v, poisson %v", a, b)
		}
	})
}

func TestMoreIsLessLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b changepoint.Sum
		for _, x := range rapid.SliceOfN(rapid.Float64Range(-3, 3), 1, 100).Draw(t, "increments") {
			more := rapid.Float64Range(0, 1).Draw(t, "more")
			a.Learn(x)
			b.Learn(x + more)
			if b.LogSF() > a.LogSF()+1e-4 || a.LogSF() > 0 || (a.S > 0) != (a.Steps > 0) || a.LogSFWithin(10) < a.LogSF() {
				t.Fatalf("%+v and, with more, %+v", a, b)
			}
		}
	})
}

func TestDriftFindsASlowRise(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	var d changepoint.Drift
	worst := float32(0)
	for i := range 4000 {
		rise := 0.0
		if i >= 3000 {
			rise = 0.002 * float64(i-3000)
		}
		d.Learn(src.NormFloat64()+rise, 0.5, math.Exp2(-1.0/500))
		if i < 3000 {
			worst = max(worst, d.S)
		}
	}
	if d.S < 5*worst {
		t.Errorf("after the rise %v, before it at most %v", d.S, worst)
	}
}

func BenchmarkLearn(b *testing.B) {
	var s changepoint.Sum
	for b.Loop() {
		s.Learn(changepoint.Normal(0.3, 0.5))
	}
}
