package proportion_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/proportion"
	"github.com/astray-dev/astray/models/rate"
)

func Example() {
	// In the cohort one call in 200 is denied; this agent had none in 300. Now 12 of 40 are.
	cohort := proportion.Beta{Yes: 500, No: 99_500}
	agent := proportion.Beta{No: 300}.Under(cohort, 100)
	lower, upper := agent.Band(0.95)
	fmt.Printf("denied %.2f %% (95 %%: %.2f to %.2f)\n", 100*agent.Mean(), 100*lower, 100*upper)
	fmt.Printf("P(12 or more of 40) = 1e%.0f\n", agent.LogSF(12, 40)/math.Ln10)
	// Output:
	// denied 0.12 % (95 %: 0.00 to 0.63)
	// P(12 or more of 40) = 1e-14
}

func TestCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	hits := make([]float64, len(levels))
	prior := proportion.Beta{Yes: 2, No: 30}
	for range n {
		p := distuv.Beta{Alpha: 2, Beta: 30, Src: src}.Rand()
		draw := func(n float64) float64 { return distuv.Binomial{N: n, P: p, Src: src}.Rand() }
		var b proportion.Beta
		k := draw(50)
		b.Learn(k, 50-k, 1)
		b = b.Under(prior, 32)
		k = draw(80)
		lo, hi := math.Exp(b.LogSF(k+1, 80)), math.Exp(b.LogSF(k, 80))
		u := lo + src.Float64()*(hi-lo) // smooth over the atoms: exactly uniform
		for i, x := range levels {
			if u <= x {
				hits[i]++
			}
		}
	}
	for i, x := range levels {
		if want := x * n; math.Abs(hits[i]-want) > 5*math.Sqrt(want) {
			t.Errorf("P(p <= %v): %v of %v, expected %v", x, hits[i], n, want)
		}
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := proportion.Beta{Yes: rapid.Float32Range(0.001, 1e4).Draw(t, "yes"), No: rapid.Float32Range(0.001, 1e6).Draw(t, "no")}
		n := float64(rapid.IntRange(1, 2000).Draw(t, "n"))
		before := 0.0
		for k := 0.0; k <= n; k = math.Floor(1.2*k) + 1 {
			p := b.LogSF(k, n)
			if math.IsNaN(p) || p > before+1e-6 {
				t.Fatalf("ln P(K >= %v of %v) = %v after %v", k, n, p, before)
			}
			before = p
		}
		lower, upper := b.Band(0.9)
		if !(lower <= upper && lower >= 0 && upper <= 1) {
			t.Fatalf("band %v to %v", lower, upper)
		}
	})
}

func TestForgetsAtTheHalfLife(t *testing.T) {
	b := proportion.Beta{Yes: 100, No: 300}
	for range 24 {
		b.Learn(0, 0, rate.Keep(3600, 86400))
	}
	if math.Abs(float64(b.Yes)-50) > 1e-3 || math.Abs(b.Mean()-0.25) > 1e-6 {
		t.Errorf("after a half-life: %+v", b)
	}
}

func TestNoBasisNoSurprise(t *testing.T) {
	for _, b := range []proportion.Beta{{}, {Yes: 5}, {No: 5}} {
		if l := b.LogSF(3, 3); l != 0 {
			t.Errorf("%+v: ln p = %v", b, l)
		}
	}
}

func BenchmarkLogSF(b *testing.B) {
	s := proportion.Beta{Yes: 3, No: 300}
	for b.Loop() {
		s.LogSF(12, 40)
	}
}
