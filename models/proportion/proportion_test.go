package proportion_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/proportion"
	"github.com/astray-dev/astray/models/tail"
)

func Example() {
	// One in ten of an agent's operations is a deletion, give or take: two of a day correlate by 0.03. Today 60 of 150 are.
	usual := proportion.Scattered(0.1, 0.03)
	fmt.Printf("%.1f deviations, P(60 or more of 150) = 1e%.0f\n", proportion.Deviations(60, 150, 0.1, 0.03), usual.LogSF(60, 150)/math.Ln10)
	fmt.Printf("up to %.0f %% is within two deviations\n", 100*proportion.Usual(150, 0.1, 0.03, 2))

	// Were they independent, it would take fewer.
	fmt.Printf("P(60 or more of 150) = 1e%.0f\n", proportion.Scattered(0.1, 1e-6).LogSF(60, 150)/math.Ln10)
	// Output:
	// 5.2 deviations, P(60 or more of 150) = 1e-4
	// up to 21 % is within two deviations
	// P(60 or more of 150) = 1e-21
}

// day draws how a day's n events are divided among kinds with those shares.
func day(src *rand.Rand, n int, shares []float64, scatter float64) []uint16 {
	p, sum := make([]float64, len(shares)), 0.0
	for i, s := range shares {
		p[i] = distuv.Gamma{Alpha: s * (1/scatter - 1), Beta: 1, Src: src}.Rand()
		sum += p[i]
	}
	counts := make([]uint16, len(shares))
	for range n {
		u := src.Float64() * sum
		i := 0
		for ; i < len(p)-1 && u >= p[i]; i++ {
			u -= p[i]
		}
		counts[i]++
	}
	return counts
}

func TestCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	for _, scatter := range []float64{0.005, 0.05} {
		hits := make([]float64, len(levels))
		sum, square := 0.0, 0.0
		b := proportion.Scattered(0.06, scatter)
		of := distuv.Beta{Alpha: b.Yes, Beta: b.No, Src: src}
		for range n {
			k := distuv.Binomial{N: 80, P: of.Rand(), Src: src}.Rand()
			lo, hi := math.Exp(b.LogSF(k+1, 80)), math.Exp(b.LogSF(k, 80))
			u := lo + src.Float64()*(hi-lo) // smooth over the atoms: exactly uniform
			for i, x := range levels {
				if u <= x {
					hits[i]++
				}
			}
			d := proportion.Deviations(k, 80, 0.06, scatter)
			sum += d
			square += d * d
		}
		for i, x := range levels {
			if want := x * n; math.Abs(hits[i]-want) > 5*math.Sqrt(want) {
				t.Errorf("scatter %v: P(p <= %v): %v of %v, expected %v", scatter, x, hits[i], n, want)
			}
		}
		if mean, variance := sum/n, square/n; math.Abs(mean) > 0.02 || math.Abs(variance-1) > 0.03 {
			t.Errorf("scatter %v: the deviations have mean %.3f and variance %.3f", scatter, mean, variance)
		}
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.001, 0.999).Draw(t, "share")
		scatter := rapid.Float64Range(0.001, 0.5).Draw(t, "scatter")
		b := proportion.Scattered(share, scatter)
		if math.Abs(b.Mean()-share) > 1e-9 {
			t.Fatalf("mean %v", b.Mean())
		}
		n := float64(rapid.IntRange(2, 2000).Draw(t, "n"))
		before, was := 0.0, math.Inf(-1)
		for k := 0.0; k <= n; k = math.Floor(1.2*k) + 1 {
			p, d := b.LogSF(k, n), proportion.Deviations(k, n, share, scatter)
			if math.IsNaN(p) || p > before+1e-6 || !(d > was) {
				t.Fatalf("ln P(K >= %v of %v) = %v after %v, %v deviations after %v", k, n, p, before, d, was)
			}
			before, was = p, d
		}
		// What is so many deviations above the mean is so far above it.
		if at := proportion.Usual(n, share, scatter, 3); math.Abs(proportion.Deviations(n*at, n, share, scatter*n/(n-1))-3) > 1e-6 {
			t.Fatalf("%v is three deviations", at)
		}
	})
}

// The correlation is found from the days of a Dirichlet-multinomial, each against the mean of those before.
func TestScatterIsFound(t *testing.T) {
	src := rand.New(rand.NewPCG(3, 4))
	shares := []float64{0.5, 0.2, 0.1, 0.1, 0.06, 0.04}
	for _, scatter := range []float64{0.01, 0.05, 0.2} {
		const days, n, known = 4000, 200, 5
		sum := 0.0
		for range days {
			mean := make([]float64, len(shares))
			for range known {
				for i, c := range day(src, n, shares, scatter) {
					mean[i] += float64(c) / n / known
				}
			}
			var x proportion.Pearson
			for i, c := range day(src, n, shares, scatter) {
				x.Add(float64(c), n, (mean[i]*known+0.2*shares[i])/(known+0.2))
			}
			got, ok := x.Scatter(n, known)
			if !ok {
				t.Fatal("no estimate")
			}
			sum += got
		}
		// A share that was seldom seen makes it too large, never much too small.
		if got := sum / days; got < 0.8*scatter || got > 2*scatter+0.01 {
			t.Errorf("scatter %v: %v found", scatter, got)
		}
	}
	var x proportion.Pearson
	x.Add(5, 10, 0.5)
	if _, ok := x.Scatter(10, 3); ok {
		t.Error("one kind scatters")
	}
}

// The likelihood ratio is chi-squared, and that times the design effect where events correlate.
func TestGIsChiSquared(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	shares := []float64{0.3, 0.25, 0.2, 0.15, 0.1}
	for _, scatter := range []float64{1e-6, 0.02} {
		const n, rounds = 60, 20_000
		sum, hits := 0.0, 0.0
		for range rounds {
			g := proportion.G(day(src, n, shares, scatter), n, func(i int) float64 { return shares[i] }) / proportion.Effect(n, scatter)
			sum += g
			if tail.ChiSquareLogSF(g, 4) <= math.Log(0.01) {
				hits++
			}
		}
		if mean := sum / rounds; math.Abs(mean-4) > 0.4 {
			t.Errorf("scatter %v: mean %v with four degrees of freedom", scatter, mean)
		}
		if p := hits / rounds; p < 0.003 || p > 0.025 {
			t.Errorf("scatter %v: P(p <= 0.01) = %v", scatter, p)
		}
	}
}

func TestShrunkMovesFromPriorToOwn(t *testing.T) {
	for n, want := range map[float64]float64{0: 1, 4: 2, 1e9: 3} {
		if got := proportion.Shrunk(3, n, 1, 4); math.Abs(got-want) > 1e-6 {
			t.Errorf("%v observations: %v, want %v", n, got, want)
		}
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
	b.ReportAllocs()
	for b.Loop() {
		proportion.Scattered(0.1, 0.03).LogSF(12, 40)
	}
}

func BenchmarkDeviations(b *testing.B) {
	k := 12.0
	for b.Loop() {
		proportion.Deviations(k, 40, 0.1, 0.03)
	}
}
