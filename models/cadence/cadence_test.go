package cadence_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/cadence"
)

func Example() {
	src := rand.New(rand.NewPCG(1, 2))
	var person, beacon cadence.Gaps
	var pauses cadence.Longest
	for range 20 {
		x := float32(300 * src.ExpFloat64())
		person.Learn(x)
		pauses.Learn(x)
		beacon.Learn(float32(300 + 15*src.NormFloat64())) // every five minutes, give or take 5 %
	}
	fmt.Printf("person: every %.0f s, variation %.2f, p = %.1g\n", person.Mean, person.Variation(), math.Pow(10, -person.Evenness()))
	fmt.Printf("beacon: every %.0f s, variation %.2f, p = 1e-%.0f\n", beacon.Mean, beacon.Variation(), beacon.Evenness())
	fmt.Printf("the person paused for %.0f s at most in a day; for three hours with p = %.1g\n", pauses.Top[0], math.Exp(pauses.LogSF(10800, 1)))
	// Output:
	// person: every 214 s, variation 0.81, p = 1
	// beacon: every 300 s, variation 0.06, p = 1e-12
	// the person paused for 605 s at most in a day; for three hours with p = 0.001
}

var levels = []float64{1e-1, 1e-2, 1e-3, 1e-4}

// Of a Poisson process pauses are so even about as seldom as is said when there are few, and of many up to 1.2 times as
// often for each.
func TestCalibratedOnAPoissonProcess(t *testing.T) {
	for _, gaps := range []int{5, 8, 20} {
		src := rand.New(rand.NewPCG(3, uint64(gaps)))
		const n = 100_000
		hits := make([]float64, len(levels))
		for range n {
			var g cadence.Gaps
			for range gaps {
				g.Learn(float32(1e5 * src.ExpFloat64()))
			}
			e := g.Evenness()
			for i, x := range levels {
				if e >= -math.Log10(x) {
					hits[i]++
				}
			}
		}
		most := math.Pow(1.2, float64(gaps-1))
		for i, x := range levels {
			if want := x * n; hits[i] > most*want+4*math.Sqrt(want) || hits[i] < want/8-4*math.Sqrt(want) {
				t.Errorf("%d gaps: P(p <= %v): %v of %v", gaps, x, hits[i], n)
			}
		}
	}
}

func TestMoreRegularIsLessLikely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := 2 * rapid.IntRange(2, 150).Draw(t, "pairs")
		before := math.Inf(1)
		for jitter := 0.0; jitter < 0.99; jitter += 0.05 {
			var g cadence.Gaps
			for i := range n {
				g.Learn(float32(600 * (1 + jitter*float64(2*(i%2)-1))))
			}
			e := g.Evenness()
			if math.IsNaN(e) || e < 0 || e > 12 || e > before+1e-6 {
				t.Fatalf("jitter %v: evenness %v after %v", jitter, e, before)
			}
			if v := g.Variation(); math.Abs(v-jitter) > 0.05+0.1*jitter {
				t.Fatalf("jitter %v: variation %v", jitter, v)
			}
			before = e
		}
	})
}

func TestGapsForget(t *testing.T) {
	var g cadence.Gaps
	for range 3000 {
		g.Learn(10)
	}
	for range 138 { // ln 2 of the memory
		g.Learn(20)
	}
	if g.Mean < 14.9 || g.Mean > 15.1 {
		t.Errorf("after ln 2 of the memory the mean is %v, half the way is 15", g.Mean)
	}
}

// Days of pauses with a Pareto tail see what is said to be rare about as seldom, as far as an index from three pauses can tell.
func TestLongPausesAreCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	for _, index := range []float64{2, 5} {
		for _, days := range []int{3, 30} {
			const n = 10_000
			day := func(each func(float32)) {
				for range 40 {
					each(float32(10 * math.Pow(src.Float64(), -1/index)))
				}
			}
			hits := make([]float64, 3)
			for range n {
				var g cadence.Longest
				for range days {
					day(g.Learn)
				}
				most := float32(0)
				day(func(x float32) { most = max(most, x) })
				l := g.LogSF(float64(most), float64(days))
				for i := range hits {
					if l <= math.Log(levels[i]) {
						hits[i]++
					}
				}
			}
			for i, c := range hits {
				if want := levels[i] * n; c > []float64{2, 5, 15}[i]*want {
					t.Errorf("index %v, %d days: P(p <= %v): %v of %v", index, days, levels[i], c, n)
				}
			}
			if hits[0] < n/100 {
				t.Errorf("index %v, %d days: %v of %v surprise by a tenth", index, days, hits[0], n)
			}
		}
	}
}

func TestLongPausesFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g cadence.Longest
		for _, x := range rapid.SliceOf(rapid.Float32Range(0, 1e5)).Draw(t, "pauses") {
			g.Learn(x)
		}
		for i := range g.Top[1:] {
			if g.Top[i] < g.Top[i+1] {
				t.Fatalf("not the longest first: %v", g.Top)
			}
		}
		days := rapid.Float64Range(0, 1000).Draw(t, "days")
		before := 0.0
		for x := 0.5; x < 1e7; x *= 1.5 {
			l := g.LogSF(x, days)
			if math.IsNaN(l) || l > before+1e-9 {
				t.Fatalf("ln P(a pause of %v) = %v after %v", x, l, before)
			}
			before = l
		}
	})
}

func TestLongPausesFadeAtTheHalfLife(t *testing.T) {
	var g cadence.Longest
	g.Learn(1000)
	for range 69 { // ln 2 of a hundred days
		g.Age()
	}
	if math.Abs(float64(g.Top[0])-500) > 1 {
		t.Errorf("a pause of 1000 s counts as %v", g.Top[0])
	}
}

// Both states are of fixed size and are stored as they stand.
func TestSnapshotGoesRound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type state struct {
			Gaps    cadence.Gaps
			Longest cadence.Longest
		}
		var a, b state
		for _, x := range rapid.SliceOf(rapid.Float32Range(0, 1e5)).Draw(t, "pauses") {
			a.Gaps.Learn(x)
			a.Longest.Learn(x)
		}
		bytes, err := binary.Append(nil, binary.LittleEndian, a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := binary.Decode(bytes, binary.LittleEndian, &b); err != nil || a != b {
			t.Fatalf("%v: %+v and %+v", err, a, b)
		}
	})
}

func BenchmarkLearn(b *testing.B) {
	var g cadence.Gaps
	for b.Loop() {
		g.Learn(300)
	}
}

func BenchmarkEvenness(b *testing.B) {
	var g cadence.Gaps
	for i := range 40 {
		g.Learn(300 + float32(i))
	}
	for b.Loop() {
		g.Evenness()
	}
}

func BenchmarkLogSF(b *testing.B) {
	var g cadence.Longest
	for i := range 40 {
		g.Learn(300 + float32(i))
	}
	for b.Loop() {
		g.LogSF(4000, 20)
	}
}
