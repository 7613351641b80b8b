package tail_test

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/tail"
)

// Where gonum does not cancel, both must agree to a millionth.
func TestPoissonAgreesWithGonum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.01, 200).Draw(t, "mean")
		k := float64(rapid.IntRange(1, 400).Draw(t, "k"))
		want := distuv.Poisson{Lambda: mean}.Survival(k - 1)
		if want < 1e-9 {
			return
		}
		if got := math.Exp(tail.PoissonLogSF(k, mean)); math.Abs(got-want) > 1e-6*want {
			t.Fatalf("P(X>=%v | %v) = %v, gonum %v", k, mean, got, want)
		}
	})
}

func TestNegBinomialAgreesWithGonum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.01, 300).Draw(t, "mean")
		size := rapid.Float64Range(0.05, 100).Draw(t, "size")
		k := float64(rapid.IntRange(1, 2000).Draw(t, "k"))
		want := mathext.RegIncBeta(k, size, mean/(mean+size))
		if want < 1e-12 {
			return
		}
		if got := math.Exp(tail.NegBinomialLogSF(k, mean, size)); math.Abs(got-want) > 1e-6*want {
			t.Fatalf("P(X>=%v | %v, %v) = %v, gonum %v", k, mean, size, got, want)
		}
	})
}

// Far out, where nothing else computes it, the tail is the sum of its probabilities.
func TestFarTailIsTheSumOfItsTerms(t *testing.T) {
	for _, c := range []struct{ k, mean, size float64 }{{100, 20, 1e12}, {500, 20, 1e12}, {300, 2, 1}, {900, 5, 3}, {3000, 0.02, 0.5}} {
		var got, lead float64
		sum := 0.0
		for i := 0.0; i < 40000; i++ {
			x := c.k + i
			var l float64
			if c.size > 1e9 {
				g, _ := math.Lgamma(x + 1)
				l = x*math.Log(c.mean) - c.mean - g
			} else {
				a, _ := math.Lgamma(x + c.size)
				b, _ := math.Lgamma(x + 1)
				d, _ := math.Lgamma(c.size)
				l = a - b - d + c.size*math.Log(c.size/(c.mean+c.size)) + x*math.Log(c.mean/(c.mean+c.size))
			}
			if i == 0 {
				lead = l
			}
			sum += math.Exp(l - lead)
		}
		want := lead + math.Log(sum)
		if c.size > 1e9 {
			got = tail.PoissonLogSF(c.k, c.mean)
		} else {
			got = tail.NegBinomialLogSF(c.k, c.mean, c.size)
		}
		if math.Abs(got-want) > 0.01 {
			t.Errorf("k=%v mean=%v size=%v: ln p = %v, the sum says %v", c.k, c.mean, c.size, got, want)
		}
	}
}

func TestTailFallsWithTheCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.001, 1e4).Draw(t, "mean")
		falls(t, mean, mean*rapid.Float64Range(0.5, 1e4).Draw(t, "scatter"), 1e6, rapid.Just(1.7), 1e-9, 0)
	})
}

// What scatters a million times its mean has tails of which a complement leaves few digits.
func TestTailFallsHoweverCountsScatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := math.Pow(10, rapid.Float64Range(-3, 7).Draw(t, "log mean"))
		falls(t, mean, mean*math.Pow(10, rapid.Float64Range(-0.3, 7).Draw(t, "log scatter")), 1e9, rapid.Float64Range(1.001, 1.701), 0, 1e-6)
	})
}

// falls checks that no larger count up to most is more likely, but for an error, absolute and relative to the logarithm.
func falls(t *rapid.T, mean, variance, most float64, step *rapid.Generator[float64], absolute, relative float64) {
	before := 0.0
	for k := 1.0; k < most; k *= step.Draw(t, "step") {
		p := tail.CountLogSF(k, mean, variance)
		if math.IsNaN(p) || p > before+absolute-relative*before {
			t.Fatalf("ln P(X>=%v | mean %v, variance %v) = %v after %v", k, mean, variance, p, before)
		}
		before = p
	}
}

// Large counts take another way; where the ways meet they must agree, and far beyond it they must be right.
func TestLargeCounts(t *testing.T) {
	for z := -6.0; z < 60; z += 0.37 {
		const mean = 10_001.0
		k := math.Round(mean + z*100)
		if k <= 1e4 {
			continue
		}
		got, want := tail.PoissonLogSF(k, mean), tail.NegBinomialLogSF(k, mean, 9e8)
		if math.Abs(got-want) > 2e-4*(1+math.Abs(want)) {
			t.Errorf("P(X>=%v | %v): ln p = %v, by the incomplete beta function %v", k, mean, got, want)
		}
	}
	for _, mean := range []float64{1e6, 1e9} {
		for _, z := range []float64{-2, 0, 1, 5} {
			k := math.Round(mean + z*math.Sqrt(mean))
			want := mathext.GammaIncReg(k, mean)
			if mean > 1e8 { // there the normal distribution with a correction for continuity is all but exact
				want = math.Exp(tail.NormalLogSF((k - 0.5 - mean) / math.Sqrt(mean)))
			}
			if got := math.Exp(tail.PoissonLogSF(k, mean)); math.Abs(got-want) > 2e-3*want {
				t.Errorf("P(X>=%v | %v) = %v, want %v", k, mean, got, want)
			}
			if got := math.Exp(tail.NegBinomialLogSF(math.Round(mean+z*math.Sqrt(5*mean)), mean, mean/4)); mean > 1e8 {
				if want := math.Exp(tail.NormalLogSF(z)); math.Abs(got-want) > 5e-3*want {
					t.Errorf("negative binomial at %v deviations of mean %v: %v, want %v", z, mean, got, want)
				}
			}
		}
	}
}

func ExampleCountLogSF() {
	// An agent reads 14 profiles in twenty minutes, give or take; today it read 2,310.
	fmt.Printf("p = 1e%.0f\n", tail.CountLogSF(2310, 14, 100)/math.Ln10)
	// Output: p = 1e-148
}

func BenchmarkCountLogSF(b *testing.B) {
	for b.Loop() {
		tail.CountLogSF(140, 14, 100)
	}
}
