package magnitude_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/magnitude"
)

func Example() {
	src := rand.New(rand.NewPCG(1, 2))
	var s magnitude.LogNormal
	for range 500 {
		s.Learn(8000*math.Exp(0.5*src.NormFloat64()), 1) // an agent that sends about 8 kB
	}
	lower, upper := s.Band(0.95)
	fmt.Printf("%.1f kB (95 %%: %.1f to %.1f)\n", s.Median()/1e3, lower/1e3, upper/1e3)
	fmt.Printf("20 kB: p = %.3f\n", math.Exp(s.LogSF(20e3)))
	fmt.Printf("40 MB: p = 1e%.0f\n", s.LogSF(40e6)/math.Ln10)
	// Output:
	// 8.0 kB (95 %: 3.0 to 21.0)
	// 20 kB: p = 0.032
	// 40 MB: p = 1e-19
}

func p(s magnitude.LogNormal, x float64) float64 { return math.Exp(s.LogSF(x)) }

// On lognormal sizes the p-values are right, with many sizes learned and with few.
func TestCalibratedOnLognormal(t *testing.T) {
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	for _, c := range []struct{ worlds, learned, drawn int }{{200, 3000, 2000}, {40_000, 12, 10}} {
		src := rand.New(rand.NewPCG(3, 4))
		hits := make([]float64, len(levels))
		for range c.worlds {
			var s magnitude.LogNormal
			for range c.learned {
				s.Learn(math.Exp(9+1.2*src.NormFloat64()), 1)
			}
			for range c.drawn {
				v := p(s, math.Exp(9+1.2*src.NormFloat64()))
				for i, x := range levels {
					if v <= x {
						hits[i]++
					}
				}
			}
		}
		n := float64(c.worlds * c.drawn)
		for i, x := range levels {
			if want := x * n; hits[i] > 1.35*want+4*math.Sqrt(want) || hits[i] < want/2-4*math.Sqrt(want) {
				t.Errorf("%d learned: P(p <= %v): %v of %v", c.learned, x, hits[i], n)
			}
		}
	}
}

// A power law above a lognormal body: the lognormal alone would give p-values far too small.
func TestHonestOnAHeavyTail(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	draw := func() float64 {
		if src.Float64() < 0.05 {
			return 3e4 * math.Pow(src.Float64(), -1/1.2)
		}
		return math.Exp(9 + 0.5*src.NormFloat64())
	}
	levels := []float64{1e-2, 1e-3, 1e-4}
	hits, lognormal := make([]float64, len(levels)), make([]float64, len(levels))
	var n float64
	for range 100 {
		var s magnitude.LogNormal
		for range 5000 {
			s.Learn(draw(), 1)
		}
		for range 5000 {
			n++
			x := draw()
			v := p(s, x)
			z := distuv.UnitNormal.Survival((math.Log(x) - float64(s.Mean)) / math.Sqrt(float64(s.Squares/s.Weight)))
			for i, l := range levels {
				if v <= l {
					hits[i]++
				}
				if z <= l {
					lognormal[i]++
				}
			}
		}
	}
	for i, x := range levels {
		if want := x * n; hits[i] > 1.8*want || hits[i] < want/5 {
			t.Errorf("P(p <= %v): %v of %v", x, hits[i], n)
		}
	}
	if last := len(levels) - 1; lognormal[last] < 10*hits[last] {
		t.Errorf("the lognormal alone has %v of %v: this test shows nothing", lognormal, n)
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		sd := rapid.Float64Range(0, 3).Draw(t, "deviation")
		var s magnitude.LogNormal
		for range rapid.IntRange(2, 500).Draw(t, "n") {
			s.Learn(math.Exp(6+sd*src.NormFloat64()), 0.999)
		}
		before := 0.0
		for x := 0.0; x < 1e19; x = 1.5*x + 1 {
			l := s.LogSF(x)
			if math.IsNaN(l) || math.IsInf(l, 0) || l > before+1e-9 {
				t.Fatalf("ln P(X >= %v) = %v after %v", x, l, before)
			}
			before = l
		}
	})
}

func TestUnderPoolsLikeOneState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Float64Range(1, 1e9), 2, 40).Draw(t, "sizes")
		cut := rapid.IntRange(0, len(sizes)).Draw(t, "cut")
		var all, a, b magnitude.LogNormal
		for i, x := range sizes {
			all.Learn(x, 1)
			if i < cut {
				a.Learn(x, 1)
			} else {
				b.Learn(x, 1)
			}
		}
		got := a.Under(b, 1e9)
		if math.Abs(float64(got.Mean-all.Mean)) > 1e-3 || math.Abs(float64(got.Squares-all.Squares)) > 1e-2*(1+float64(all.Squares)) {
			t.Fatalf("%+v, learned as one %+v", got, all)
		}
	})
}

func TestForgetsAtTheHalfLife(t *testing.T) {
	var s magnitude.LogNormal
	for range 1000 {
		s.Learn(100, 1)
	}
	for range 100 { // a hundred sizes are a half-life
		s.Learn(1e4, math.Exp2(-1.0/100))
	}
	// The old sizes weigh 500 of 500 + Σ 2^(-i/100).
	fresh := 0.5 / (1 - math.Exp2(-1.0/100))
	want := (500*math.Log(100) + fresh*math.Log(1e4)) / (500 + fresh)
	if got := float64(s.Mean); math.Abs(got-want) > 0.01 {
		t.Errorf("mean of the logarithm %v, want %v", got, want)
	}
}

func TestWhatIsNoSizeSpoilsNothing(t *testing.T) {
	var s magnitude.LogNormal
	for range 50 {
		s.Learn(1000, 1)
	}
	for _, x := range []float64{math.NaN(), math.Inf(1), -5, 0, math.MaxFloat64} {
		s.Learn(x, 1)
		if l := s.LogSF(5000); math.IsNaN(l) || l > 0 {
			t.Errorf("after %v: ln p = %v", x, l)
		}
	}
}

func BenchmarkLearn(b *testing.B) {
	var s magnitude.LogNormal
	x := 1.0
	for b.Loop() {
		x = math.Mod(x*7, 9001)
		s.Learn(x, 0.999)
	}
}

func BenchmarkLogSF(b *testing.B) {
	var s magnitude.LogNormal
	for i := range 300 {
		s.Learn(float64(100+i), 1)
	}
	for b.Loop() {
		s.LogSF(1e6)
	}
}

// A window's amount whose logarithm is normal has the moments that are said of it, and so has the next one's logarithm.
func TestMomentsOfAmounts(t *testing.T) {
	src := rand.New(rand.NewPCG(11, 12))
	const n = 400_000
	sum, square := 0.0, 0.0
	for range n {
		x := math.Expm1(5 + 0.5*src.NormFloat64())
		sum += x
		square += x * x
	}
	mean, variance := magnitude.Natural(5, 0.25)
	// The median stands for the mean: what is usual, not what is so on average.
	if got := sum / n; got < mean || got > 1.2*mean {
		t.Errorf("mean %v, median %v", got, mean)
	}
	if got := square/n - sum/n*sum/n; got < variance || got > 1.5*variance {
		t.Errorf("variance %v, about the median's %v", got, variance)
	}
	if m, v := magnitude.Predict(4, 5, 1); m != 5 || v != 1.25 {
		t.Errorf("after four sizes with 5 and 1 the next has %v and %v", m, v)
	}
}
