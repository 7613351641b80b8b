package rate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/rate"
)

func Example() {
	// The agent's cohort reads 100 profiles an hour; members differ by a factor of about e.
	cohort := rate.Gamma{Shape: 50_000, Exposure: 500 * 3600}
	var agent rate.Gamma
	agent.Learn(42, 3*3600, 1) // its own first three hours

	now := agent.Under(cohort, 1)
	lower, upper := now.Band(0.95, 1200, 1)
	fmt.Printf("next 20 min: %.1f (95 %%: %v to %v)\n", now.Mean()*1200, lower, upper)
	fmt.Printf("P(310 or more) = 1e%.0f\n", now.LogSF(310, 1200, 1)/math.Ln10)
	// Output:
	// next 20 min: 4.8 (95 %: 1 to 11)
	// P(310 or more) = 1e-258
}

func TestPredictiveIsTheNegativeBinomial(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rate.Gamma{Shape: rapid.Float32Range(0.5, 500).Draw(t, "shape"), Exposure: rapid.Float32Range(1, 1e5).Draw(t, "exposure")}
		w := rapid.Float64Range(0.1, 1e4).Draw(t, "window")
		k := float64(rapid.IntRange(1, 500).Draw(t, "k"))
		want := mathext.RegIncBeta(k, float64(g.Shape), w/(w+float64(g.Exposure)))
		if want < 1e-10 {
			return
		}
		if got := math.Exp(g.LogSF(k, w, 1)); math.Abs(got-want) > 1e-4*want {
			t.Fatalf("%v, gonum's incomplete beta %v", got, want)
		}
	})
}

// A rate is drawn from the cohort, a few windows of it are seen, the next is predicted. The p-value is smoothed
// over the atoms of the count (a share u of the last), so it must be uniform.
func TestCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	for _, clump := range []float64{1, 4} {
		const n = 300_000
		levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
		hits := make([]int, len(levels))
		cohort := rate.Gamma{Shape: 4, Exposure: 2}
		for range n {
			lambda := distuv.Gamma{Alpha: 4, Beta: 2, Src: src}.Rand()
			count := func(w float64) float64 { return clump * distuv.Poisson{Lambda: lambda * w / clump, Src: src}.Rand() }
			var g rate.Gamma
			for range 5 {
				g.Learn(count(3), 3, 1)
			}
			g = g.Under(cohort, 4)
			k := count(6)
			var p float64
			if clump == 1 {
				lo, hi := math.Exp(g.LogSF(k+1, 6, 1)), math.Exp(g.LogSF(k, 6, 1))
				p = lo + src.Float64()*(hi-lo)
			} else {
				p = math.Exp(g.LogSF(k, 6, clump))
			}
			for i, x := range levels {
				if p <= x {
					hits[i]++
				}
			}
		}
		for i, x := range levels {
			want := x * n
			// A clumped count is not a negative binomial: it must be honest, and not wasteful.
			low, high := want-5*math.Sqrt(want), want+5*math.Sqrt(want)
			if clump > 1 {
				low, high = want/8, want*1.5
			}
			if got := float64(hits[i]); got < low || got > high {
				t.Errorf("clumps of %v: P(p <= %v): %v of %v, expected %v", clump, x, got, n, want)
			}
		}
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := rate.Gamma{Shape: rapid.Float32Range(0.01, 1e5).Draw(t, "shape"), Exposure: rapid.Float32Range(0.01, 1e7).Draw(t, "exposure")}
		w, phi := rapid.Float64Range(1, 1e5).Draw(t, "window"), rapid.Float64Range(0.5, 50).Draw(t, "dispersion")
		before := 0.0
		for k := 0.0; k < 1e6; k = 1.5*k + 1 {
			p := g.LogSF(k, w, phi)
			if math.IsNaN(p) || p > before+1e-9 {
				t.Fatalf("ln P(X >= %v) = %v after %v", k, p, before)
			}
			before = p
		}
	})
}

func TestForgetsAtTheHalfLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := rapid.Float64Range(1, 1e6).Draw(t, "half-life")
		g := rate.Gamma{Shape: 1000, Exposure: 500}
		steps := rapid.IntRange(1, 20).Draw(t, "steps")
		for range steps {
			g.Learn(0, 0, rate.Keep(half/float64(steps), half))
		}
		if math.Abs(float64(g.Shape)-500) > 0.01 || math.Abs(g.Mean()-2) > 1e-5 {
			t.Fatalf("after one half-life: %+v", g)
		}
	})
}

func TestUnderMovesFromParentToSelf(t *testing.T) {
	parent := rate.Gamma{Shape: 1e6, Exposure: 1e5}
	var g rate.Gamma
	if m := g.Under(parent, 2).Mean(); math.Abs(m-10) > 1e-5 {
		t.Errorf("a newcomer expects %v, its cohort 10", m)
	}
	if s := g.Under(parent, 2).Shape; math.Abs(float64(s)-2) > 1e-5 {
		t.Errorf("prior worth %v events, asked for 2", s)
	}
	g.Learn(1000, 1000, 1)
	if m := g.Under(parent, 2).Mean(); m < 1 || m > 1.01 {
		t.Errorf("with a long past of its own it expects %v", m)
	}
}

func TestDispersionIsFound(t *testing.T) {
	src := rand.New(rand.NewPCG(3, 4))
	for _, clump := range []float64{1, 3, 8} {
		var d rate.Dispersion
		pois := distuv.Poisson{Lambda: 20 / clump, Src: src}
		for range 5000 {
			d.Learn(clump*pois.Rand(), 20, 20, 0, 1)
		}
		if f := d.Factor(1, 5); f < 0.9*clump || f > 1.1*clump {
			t.Errorf("clumps of %v: dispersion %v", clump, f)
		}
	}
	var d rate.Dispersion
	for range 100 {
		d.Learn(20, 20, 20, 9, 1)
	}
	d.Learn(1e6, 20, 20, 9, 1)
	if f := d.Factor(1, 5); f > 1.2 {
		t.Errorf("one burst made the dispersion %v", f)
	}
}

func TestSeasonFindsTheRhythmAndShrinksToFlat(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	truth := func(at float64) float64 {
		f := 1 + 0.8*math.Sin(2*math.Pi*(at/86400-0.4))
		if d := int(at/86400) % 7; d == 2 || d == 3 {
			f *= 0.5
		}
		return f
	}
	var s rate.Season
	if f := factor(&s, 12345, 10); f != 1 {
		t.Fatalf("no data, factor %v", f)
	}
	for at := 0.0; at < 8*7*86400; at += 600 {
		s.Learn(at, distuv.Poisson{Lambda: 10 * truth(at+300), Src: src}.Rand(), 10, 1)
	}
	for at := 1800.0; at < 7*86400; at += 3600 {
		if got, want := factor(&s, at, 10), truth(at); math.Abs(got-want) > 0.2 {
			t.Errorf("hour %v: factor %.3f, true %.3f", at/3600, got, want)
		}
	}
	if got := factor(&s, 12*3600, 1e9); math.Abs(got-1) > 1e-3 {
		t.Errorf("a strong prior leaves %v", got)
	}
	var back rate.Season
	rest, err := back.Decode(append(s.Append(nil), 7))
	if err != nil || len(rest) != 1 || back != s {
		t.Fatalf("round trip: %v, %d left, equal %v", err, len(rest), back == s)
	}
	if _, err := back.Decode(make([]byte, 100)); err == nil {
		t.Error("a short snapshot was read")
	}
}

func factor(s *rate.Season, at, concentration float64) float64 {
	r := s.Rhythm(concentration)
	return r.At(at)
}

func TestWeeksBeginOnMonday(t *testing.T) {
	for day, want := range map[string]int{"1970-01-01": 3, "2026-01-05": 0, "2026-01-11": 6, "1969-12-28": 6} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if got := rate.Weekday(float64(at.Unix() + 86399)); got != want {
			t.Errorf("%s: day %d of the week, not %d", day, got, want)
		}
	}
}

func TestSeasonNeverLeavesItsHours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s rate.Season
		at := rapid.Float64Range(-1e10, 1e10).Draw(t, "time")
		s.Learn(at, 30, 10, 1)
		middle := math.Floor(at/3600)*3600 + 1800
		// The hour of all days: (10+30)/(10+10); this one: (10·2+30)/(10+10).
		if f, other := factor(&s, middle, 10), factor(&s, middle+3*86400, 10); f != 2.5 || other != 2 {
			t.Fatalf("factor %v in the middle of the hour it was learned in, %v at that hour of another day", f, other)
		}
		if f := factor(&s, middle+2*3600, 10); f != 1 {
			t.Fatalf("factor %v two hours later", f)
		}
	})
}

func BenchmarkLearn(b *testing.B) {
	var g rate.Gamma
	for b.Loop() {
		g.Learn(1, 1, 0.999)
	}
}

func BenchmarkLogSF(b *testing.B) {
	g := rate.Gamma{Shape: 14, Exposure: 1200}
	for b.Loop() {
		g.LogSF(140, 1200, 1.5)
	}
}

func BenchmarkRhythm(b *testing.B) {
	var s rate.Season
	for b.Loop() {
		s.Rhythm(10)
	}
}

func BenchmarkRhythmAt(b *testing.B) {
	r := new(rate.Season).Rhythm(10)
	for b.Loop() {
		r.At(1.7e9)
	}
}
