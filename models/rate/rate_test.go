package rate_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/rate"
	"github.com/astray-dev/astray/models/tail"
)

func Example() {
	// The agent's cohort reads 20 profiles in a window, give or take; the agent has three windows of its own.
	cohort := rate.Moments{N: 2000, Mean: 20, Var: 400}
	var agent rate.Moments
	for _, reads := range []float32{9, 14, 11} {
		agent.N++
		rate.Learn(&agent.Mean, &agent.Var, reads, 1/agent.N)
	}
	for _, m := range []rate.Moments{agent, cohort, agent.Under(cohort, 6)} {
		mean, variance := m.Predict()
		fmt.Printf("%.1f ± %.1f, P(310 or more) = 1e%.0f\n", mean, math.Sqrt(variance), tail.CountLogSF(310, mean, variance)/math.Ln10)
	}
	// A key turns up in a new network on 2 of 40 days, in its cohort on one in a hundred.
	fmt.Printf("%.3f a day\n", rate.Mean(2, 40, 0.01, 5))
	// Output:
	// 11.5 ± 3.9, P(310 or more) = 1e-144
	// 20.0 ± 20.0, P(310 or more) = 1e-7
	// 17.2 ± 17.8, P(310 or more) = 1e-8
	// 0.046 a day
}

// learned is the moments of n windows that are drawn.
func learned(n int, draw func() float64) (m rate.Moments) {
	for range n {
		m.N++
		rate.Learn(&m.Mean, &m.Var, float32(draw()), 1/m.N)
	}
	return m
}

// An agent's rate is drawn from its cohort's, which makes the counts of a window negative binomial; a few windows of it are
// seen, the next is predicted. The p-value is smoothed over the atoms of the count (a share u of the last). Two moments of a few
// windows are not the truth: far out the p-value may be too small by as much as is allowed here.
func TestCalibrated(t *testing.T) {
	levels := []float64{1e-1, 1e-2, 1e-3}
	for _, c := range []struct {
		windows int
		most    [3]float64
	}{{0, [3]float64{1.3, 1.5, 2.5}}, {5, [3]float64{1.3, 2, 4}}, {60, [3]float64{1.2, 1.5, 2.5}}} {
		src := rand.New(rand.NewPCG(1, 2))
		const n = 30_000
		hits := make([]int, len(levels))
		window := func(lambda float64) func() float64 {
			return func() float64 { return distuv.Poisson{Lambda: lambda, Src: src}.Rand() }
		}
		member := distuv.Gamma{Alpha: 4, Beta: 0.5, Src: src}
		cohort := learned(50_000, func() float64 { return window(member.Rand())() })
		for range n {
			draw := window(member.Rand())
			mean, variance := learned(c.windows, draw).Under(cohort, 6).Predict()
			k := draw()
			lo, hi := math.Exp(tail.CountLogSF(k+1, mean, variance)), math.Exp(tail.CountLogSF(k, mean, variance))
			p := lo + src.Float64()*(hi-lo)
			for i, x := range levels {
				if p <= x {
					hits[i]++
				}
			}
		}
		for i, x := range levels {
			want := x * n
			if got := float64(hits[i]); got < want/20-4*math.Sqrt(want) || got > c.most[i]*want+4*math.Sqrt(want) {
				t.Errorf("%d windows: P(p <= %v): %v of %v, expected %v", c.windows, x, got, n, want)
			}
		}
	}
}

func TestTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rate.Moments{N: rapid.Float32Range(0, 1e4).Draw(t, "n"), Mean: rapid.Float32Range(0, 1e5).Draw(t, "mean")}
		m.Var = m.Mean * rapid.Float32Range(0, 100).Draw(t, "dispersion")
		mean, variance := m.Predict()
		before := 0.0
		for k := 0.0; k < 1e6; k = math.Floor(1.5*k) + 1 {
			p := tail.CountLogSF(k, mean, variance)
			if math.IsNaN(p) || p > before+1e-9 {
				t.Fatalf("ln P(X >= %v) = %v after %v", k, p, before)
			}
			before = p
		}
	})
}

// A memory of so many windows fades at that rate, and settles on what it is shown.
func TestForgetsAtTheHalfLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory := float32(rapid.IntRange(10, 2000).Draw(t, "memory"))
		m := rate.Moments{Mean: 50, Var: 4}
		half := int(math.Round(math.Ln2 / -math.Log1p(-1/float64(memory))))
		for range half {
			rate.Learn(&m.Mean, &m.Var, 150, 1/memory)
		}
		if m.Mean < 95 || m.Mean > 105 {
			t.Fatalf("after the half-life the mean is %v, half the way is 100", m.Mean)
		}
	})
}

// Windows learned by the dozen are the same as those windows one by one.
func TestMergeIsLearning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOfN(rapid.Float32Range(0, 1000), 2, 100).Draw(t, "counts")
		cut := rapid.IntRange(1, len(counts)-1).Draw(t, "cut")
		of := func(counts []float32) rate.Moments {
			i := -1
			return learned(len(counts), func() float64 { i++; return float64(counts[i]) })
		}
		all, a, b := of(counts), of(counts[:cut]), of(counts[cut:])
		rate.Merge(&a.Mean, &a.Var, b.Mean, b.Var, b.N/(a.N+b.N))
		if math.Abs(float64(a.Mean-all.Mean)) > 1e-3*(1+float64(all.Mean)) || math.Abs(float64(a.Var-all.Var)) > 1e-2*(1+float64(all.Var)) {
			t.Fatalf("%v and %v", a, all)
		}
	})
}

// Whoever has a past is judged by it, whoever has none by its peers, and in between the uncertainty is the greater
// for their difference.
func TestUnderGoesFromPeersToOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := rate.Moments{rapid.Float32Range(0, 500).Draw(t, "n"), rapid.Float32Range(0, 1000).Draw(t, "mean"), rapid.Float32Range(0, 1000).Draw(t, "variance")}
		peers := rate.Moments{rapid.Float32Range(1, 500).Draw(t, "peers"), rapid.Float32Range(0, 1000).Draw(t, "their mean"), rapid.Float32Range(0, 1000).Draw(t, "their variance")}
		m := own.Under(peers, 6)
		lo, hi := min(own.Mean, peers.Mean), max(own.Mean, peers.Mean)
		if m.Mean < lo*0.999-1e-3 || m.Mean > hi*1.001+1e-3 || m.Var < min(own.Var, peers.Var)*0.999-1e-3 {
			t.Fatalf("%v and %v give %v", own, peers, m)
		}
		if none := (rate.Moments{}).Under(peers, 6); math.Abs(float64(none.Mean-peers.Mean)) > 1e-3 {
			t.Fatalf("without a past it is %v, not %v", none, peers)
		}
		mean, variance := m.Predict()
		if mean < float64(m.Mean) || variance < mean || math.IsNaN(variance) {
			t.Fatalf("%v predicts %g ± %g: less certain than Poisson is a law", m, mean, variance)
		}
	})
}

// The posterior mean of a Poisson rate under its Gamma prior is as large as the rate in the mean, whatever was seen.
func TestMeanIsThePosteriors(t *testing.T) {
	src := rand.New(rand.NewPCG(7, 8))
	const n = 200_000
	sum, truth := map[float64]float64{}, map[float64]float64{}
	for range n {
		lambda := distuv.Gamma{Alpha: 2, Beta: 4, Src: src}.Rand() // mean 0.5, worth 4 days
		k := math.Min(distuv.Poisson{Lambda: 10 * lambda, Src: src}.Rand(), 20)
		sum[k] += rate.Mean(k, 10, 0.5, 4)
		truth[k] += lambda
	}
	for k, s := range sum {
		if k < 20 && s > 500 && math.Abs(s/truth[k]-1) > 0.05 {
			t.Errorf("after %v in ten days: the mean rate is %.3f times what it is said to be", k, truth[k]/s)
		}
	}
}

func TestSnapshotGoesRound(t *testing.T) {
	a := rate.Moments{N: 3.5, Mean: 7, Var: 2}
	bytes, err := binary.Append(nil, binary.LittleEndian, a)
	if err != nil || len(bytes) != 12 {
		t.Fatalf("%v, %d bytes", err, len(bytes))
	}
	var b rate.Moments
	if _, err := binary.Decode(bytes, binary.LittleEndian, &b); err != nil || a != b {
		t.Fatalf("%v, %+v", err, b)
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
	var m rate.Moments
	for b.Loop() {
		rate.Learn(&m.Mean, &m.Var, 3, 0.01)
	}
}

func BenchmarkPredict(b *testing.B) {
	own, prior := rate.Moments{N: 12, Mean: 3, Var: 9}, rate.Moments{N: 900, Mean: 5, Var: 60}
	b.ReportAllocs()
	for b.Loop() {
		own.Under(prior, 6).Predict()
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
