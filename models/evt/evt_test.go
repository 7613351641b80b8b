package evt_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/evt"
)

func Example() {
	src := rand.New(rand.NewPCG(1, 2))
	var h evt.Histogram
	for range 100_000 { // a detector whose p-values are too small: real traffic clumps
		h.Learn(1.8*src.ExpFloat64(), 1)
	}
	t := h.Fit(evt.Prior{Weight: 200, Contamination: 0.02})
	fmt.Printf("raw p 1e-9, honest p %.0e\n", math.Exp(t.LogSF(9*math.Ln10)))
	fmt.Printf("one in a million: raw p 1e-%.0f\n", t.Quantile(1e-6)/math.Ln10)
	// Output:
	// raw p 1e-9, honest p 9e-06
	// one in a million: raw p 1e-11
}

var levels = []float64{1e-1, 1e-2, 1e-3, 1e-4}

type world struct {
	name string
	draw func(*rand.Rand) float64
}

var worlds = []world{
	{"right", func(r *rand.Rand) float64 { return r.ExpFloat64() }},
	{"too bold", func(r *rand.Rand) float64 { return 2.5 * r.ExpFloat64() }},
	{"too shy", func(r *rand.Rand) float64 { return 0.4 * r.ExpFloat64() }},
	{"heavy", func(r *rand.Rand) float64 { return (math.Pow(r.Float64(), -0.25) - 1) / 0.25 }},
	{"mostly abstains", func(r *rand.Rand) float64 { return max(0, 2*r.ExpFloat64()-3) }},
}

func hits(t evt.Tail, w world, src *rand.Rand, n int) []float64 {
	out := make([]float64, len(levels))
	for range n {
		l := t.LogSF(w.draw(src))
		for i, x := range levels {
			if l <= math.Log(x) {
				out[i]++
			}
		}
	}
	return out
}

// Learned from attack-free scores, p-values of new ones are honest to 1e-4 within a factor of two, trimmed of three.
func TestCalibrated(t *testing.T) {
	for _, trim := range []float64{0, 0.02} {
		factor := 2.0
		if trim > 0 {
			factor = 3
		}
		for _, w := range worlds {
			src := rand.New(rand.NewPCG(3, 4))
			var sum [4]float64
			const rounds, n = 8, 200_000
			for range rounds {
				var h evt.Histogram
				for range 50_000 {
					h.Learn(w.draw(src), 1)
				}
				for i, c := range hits(h.Fit(evt.Prior{Weight: 200, Contamination: trim}), w, src, n) {
					sum[i] += c
				}
			}
			for i, x := range levels {
				if r := sum[i] / (x * rounds * n); r < 1/factor && x < 0.1 || r > factor || x == 0.1 && r > 1.2 {
					t.Errorf("%s, trimmed by %v: P(p <= %v) is %.2f times that", w.name, trim, x, r)
				}
			}
		}
	}
}

// Attacks of two percent of the scores, moderate or huge, change little.
func TestAttacksDoNotHideAttacks(t *testing.T) {
	for _, attack := range []float64{15, 60, 600} {
		for _, w := range worlds[:2] {
			src := rand.New(rand.NewPCG(5, 6))
			var h, dirty evt.Histogram
			for range 50_000 {
				x := w.draw(src)
				h.Learn(x, 1)
				if src.Float64() < 0.02 {
					x = attack * (0.8 + 0.4*src.Float64())
				}
				dirty.Learn(x, 1)
			}
			prior := evt.Prior{Weight: 200, Contamination: 0.03}
			clean, fit, naive := h.Fit(prior), dirty.Fit(prior), dirty.Fit(evt.Prior{Weight: 200})
			if a, b := clean.Quantile(1e-4), fit.Quantile(1e-4); b > 1.5*a || b < a/1.5 {
				t.Errorf("%s, attacks of %v: the 1e-4 quantile goes from %.1f to %.1f", w.name, attack, a, b)
			}
			if attack >= 60 && naive.Quantile(1e-4) < 2*clean.Quantile(1e-4) {
				t.Errorf("%s: without trimming attacks of %v do no harm, so this test shows nothing", w.name, attack)
			}
			if p := math.Exp(fit.LogSF(attack)); attack >= 60 && p > 1e-6 {
				t.Errorf("%s: an attack of %v has p = %v", w.name, attack, p)
			}
		}
	}
}

func TestLittleDataIsThePrior(t *testing.T) {
	var h evt.Histogram
	for n, src := 0, rand.New(rand.NewPCG(7, 8)); n < 30; n++ {
		f := h.Fit(evt.Prior{Weight: 200})
		for _, s := range []float64{1, 5, 10} {
			if l := f.LogSF(s); math.Abs(l+s) > 0.4*s {
				t.Fatalf("after %d scores, %v has ln p = %v", n, s, l)
			}
		}
		if l := f.LogSF(100); l > -20 {
			t.Fatalf("after %d scores, 100 has ln p = %v", n, l)
		}
		h.Learn(src.ExpFloat64(), 1)
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h evt.Histogram
		src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		scale, shape := rapid.Float64Range(0.01, 20).Draw(t, "scale"), rapid.Float64Range(0.01, 1).Draw(t, "shape")
		for range rapid.IntRange(0, 3000).Draw(t, "n") {
			h.Learn(scale*(math.Pow(src.Float64(), -shape)-1)/shape, 1)
		}
		f := h.Fit(evt.Prior{Weight: 200, Contamination: rapid.SampledFrom([]float64{0, 0.01, 0.05}).Draw(t, "trim")})
		before := 0.0
		for s := 0.0; s < 700; s = s*1.05 + 0.01 {
			l := f.LogSF(s)
			if math.IsNaN(l) || math.IsInf(l, 0) || l > before+1e-5 {
				t.Fatalf("ln P(score >= %v) = %v after %v: %+v", s, l, before, f)
			}
			before = l
		}
		p := rapid.Float64Range(1e-9, 0.5).Draw(t, "p")
		if l := f.LogSF(f.Quantile(p)); l > math.Log(p)+1e-4 {
			t.Fatalf("the quantile of %v has ln p %v", p, l)
		}
	})
}

func TestMergeForgetAndSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOf(rapid.Float64Range(-1, 2000)).Draw(t, "scores")
		cut := rapid.IntRange(0, len(scores)).Draw(t, "cut")
		var all, a, b, back evt.Histogram
		for i, s := range scores {
			all.Learn(s, 1)
			if i < cut {
				a.Learn(s, 1)
			} else {
				b.Learn(s, 1)
			}
		}
		a.Merge(&b)
		if a != all {
			t.Fatal("two halves are not the whole")
		}
		rest, err := back.Decode(append(a.Append(nil), 9))
		if err != nil || len(rest) != 1 || back != a {
			t.Fatalf("round trip: %v, %d left", err, len(rest))
		}
		a.Forget(0.5)
		if math.Abs(float64(a.Total)-float64(len(scores))/2) > 1e-3*float64(len(scores)) {
			t.Fatalf("half of %d is %v", len(scores), a.Total)
		}
	})
}

func TestWhatIsNoScore(t *testing.T) {
	var h evt.Histogram
	for _, s := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -5} {
		h.Learn(s, 1)
	}
	if h.Count[0] != 3 || h.Count[evt.Bins-1] != 2 {
		t.Errorf("%v below, %v above", h.Count[0], h.Count[evt.Bins-1])
	}
	f := h.Fit(evt.Prior{Weight: 200})
	if l := f.LogSF(math.NaN()); l != 0 {
		t.Errorf("NaN has ln p %v", l)
	}
}

func FuzzDecode(f *testing.F) {
	var h evt.Histogram
	h.Learn(3, 1)
	h.Learn(300, 2)
	f.Add(h.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h evt.Histogram
		if _, err := h.Decode(b); err == nil {
			f := h.Fit(evt.Prior{Weight: 200, Contamination: 0.02})
			if l := f.LogSF(5); math.IsNaN(l) || l > 1e-6 {
				t.Fatalf("ln p = %v", l)
			}
		}
	})
}

func BenchmarkLearn(b *testing.B) {
	var h evt.Histogram
	for b.Loop() {
		h.Learn(3.3, 1)
	}
}

func filled() *evt.Histogram {
	var h evt.Histogram
	src := rand.New(rand.NewPCG(9, 10))
	for range 50_000 {
		h.Learn(2*src.ExpFloat64(), 1)
	}
	return &h
}

func BenchmarkFit(b *testing.B) {
	h := filled()
	for b.Loop() {
		h.Fit(evt.Prior{Weight: 200, Contamination: 0.02})
	}
}

func BenchmarkLogSF(b *testing.B) {
	f := filled().Fit(evt.Prior{Weight: 200})
	for b.Loop() {
		f.LogSF(30)
	}
}
