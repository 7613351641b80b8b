package cadence_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/cadence"
)

func Example() {
	src := rand.New(rand.NewPCG(1, 2))
	var person, beacon cadence.Gaps
	for range 20 {
		person.Learn(300*src.ExpFloat64(), 1, 1)
		beacon.Learn(300+15*src.NormFloat64(), 1, 1) // every five minutes, give or take 5 %
	}
	fmt.Printf("person: every %.0f s, variation %.2f, p = %.2f\n", person.Mean(), person.Variation(), math.Exp(person.LogSF(1)))
	fmt.Printf("beacon: every %.0f s, variation %.2f, p = 1e%.0f\n", beacon.Mean(), beacon.Variation(), beacon.LogSF(1)/math.Ln10)
	// Output:
	// person: every 214 s, variation 1.02, p = 0.61
	// beacon: every 300 s, variation 0.06, p = 1e-20
}

func TestCalibratedOnGammaGaps(t *testing.T) {
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	for _, shape := range []float64{0.5, 1, 8} {
		for _, gaps := range []int{4, 12, 60} {
			src := rand.New(rand.NewPCG(3, uint64(gaps)))
			most := 1.25
			if shape < 1 {
				most = 1.6
			}
			const n = 100_000
			hits := make([]float64, len(levels))
			d := distuv.Gamma{Alpha: shape, Beta: shape / 1e5, Src: src}
			for range n {
				var g cadence.Gaps
				for range gaps {
					g.Learn(d.Rand(), 0, 1)
				}
				l := g.LogSF(shape)
				for i, x := range levels {
					if l <= math.Log(x) {
						hits[i]++
					}
				}
			}
			for i, x := range levels {
				if want := x * n; hits[i] > most*want+4*math.Sqrt(want) || hits[i] < 0.7*want-4*math.Sqrt(want) {
					t.Errorf("shape %v, %d gaps: P(p <= %v): %v of %v", shape, gaps, x, hits[i], n)
				}
			}
		}
	}
}

// Far out the probability of n gaps so nearly equal is the volume of a small ball in the simplex of their shares:
// Γ(n)/(√n·n^(n−1)) · (2πM)^((n−1)/2)/Γ((n+1)/2).
func TestFarOutItIsTheVolumeOfABall(t *testing.T) {
	for _, n := range []float64{5, 20, 100, 200} {
		const jitter = 0.02
		var g cadence.Gaps
		for i := range int(n) {
			g.Learn(1000*(1+jitter*float64(2*(i%2)-1)), 1, 1)
		}
		m := n * (math.Log(float64(g.Sum/g.N)) - float64(g.Logs/g.N))
		a, _ := math.Lgamma(n)
		b, _ := math.Lgamma((n + 1) / 2)
		want := a - math.Log(n)/2 - (n-1)*math.Log(n) + (n-1)/2*math.Log(2*math.Pi*m) - b
		if got := g.LogSF(1); math.Abs(got-want) > 0.1+0.005*n || got > -n {
			t.Errorf("%v gaps: ln p = %.2f, the volume says %.2f", n, got, want)
		}
	}
}

// With fading sums the p-value may be too large but not too small.
func TestHonestWhenForgetting(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	const n = 20_000
	var hits [3]float64
	for range n {
		var g cadence.Gaps
		for range 80 {
			g.Learn(1e4*src.ExpFloat64(), 0, 0.95)
		}
		for i, x := range []float64{1e-1, 1e-2, 1e-3} {
			if g.LogSF(1) <= math.Log(x) {
				hits[i]++
			}
		}
	}
	for i, x := range []float64{1e-1, 1e-2, 1e-3} {
		if hits[i] > x*n*1.2+4*math.Sqrt(x*n) {
			t.Errorf("P(p <= %v): %v of %v", x, hits[i], n)
		}
	}
}

func TestMoreRegularIsLessLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 300).Draw(t, "gaps")
		shape := rapid.Float64Range(0.3, 20).Draw(t, "shape")
		before := math.Inf(-1)
		for jitter := 0.0; jitter < 0.99; jitter += 0.05 {
			var g cadence.Gaps
			for i := range n {
				g.Learn(600*(1+jitter*float64(2*(i%2)-1)), 1, 1)
			}
			l := g.LogSF(shape)
			if math.IsNaN(l) || math.IsInf(l, 0) || l > 0 || l < before-1e-3*math.Abs(before) {
				t.Fatalf("jitter %v: ln p = %v after %v", jitter, l, before)
			}
			if v := g.Variation(); jitter > 0 && jitter < 0.5 && math.Abs(v-jitter) > 0.25*jitter+0.01 {
				t.Fatalf("jitter %v: variation %v", jitter, v)
			}
			before = l
		}
	})
}

func TestForgetsAtTheHalfLife(t *testing.T) {
	var g cadence.Gaps
	for range 1000 {
		g.Learn(10, 1, 1)
	}
	for range 50 {
		g.Learn(20, 1, math.Exp2(-1.0/50))
	}
	fresh := 0.5 / (1 - math.Exp2(-1.0/50))
	if got, want := g.Mean(), (500*10+fresh*20)/(500+fresh); math.Abs(got-want) > 0.01 {
		t.Errorf("mean gap %v, want %v", got, want)
	}
}

func BenchmarkLearn(b *testing.B) {
	var g cadence.Gaps
	for b.Loop() {
		g.Learn(300, 1, 0.99)
	}
}

func BenchmarkLogSF(b *testing.B) {
	var g cadence.Gaps
	for i := range 40 {
		g.Learn(300+float64(i), 1, 1)
	}
	for b.Loop() {
		g.LogSF(1)
	}
}
