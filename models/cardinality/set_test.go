package cardinality_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/cardinality"
)

func ExampleSet() {
	var profiles cardinality.Set
	src := rand.New(rand.NewPCG(7, 7))
	hashes := make([]uint64, 2310)
	for i := range hashes {
		hashes[i] = src.Uint64()
	}
	for _, h := range hashes[:14] {
		profiles.Add(h)
		profiles.Add(h) // read twice, counted once
	}
	fmt.Println("exactly", profiles.Estimate())
	for _, h := range hashes {
		profiles.Add(h)
	}
	fmt.Printf("about %.0f, exact: %v\n", profiles.Estimate(), profiles.Exact())

	// 300 of the next 1,000 reads were of profiles never read before; in 20,000 reads there were 40.
	fmt.Printf("p = 1e%.0f\n", cardinality.LogSF(300, 1000, 40, 20_000, 0.3)/math.Ln10)
	// Output:
	// exactly 14
	// about 2347, exact: false
	// p = 1e-497
}

type set interface {
	Add(uint64) bool
	Estimate() float64
	Exact() bool
	Append([]byte) []byte
	Decode([]byte) ([]byte, error)
}

var sizes = []struct {
	name      string
	fresh     func() set
	exact     int
	deviation float64
}{
	{"large", func() set { return new(cardinality.Set) }, 128, 0.037},
}

func TestExactThenUnbiased(t *testing.T) {
	for _, s := range sizes {
		src := rand.New(rand.NewPCG(1, 2))
		const rounds = 400
		points := []int{s.exact, s.exact + 1, 2 * s.exact, 1000, 10_000, 100_000}
		sum, square := make([]float64, len(points)), make([]float64, len(points))
		for range rounds {
			c := s.fresh()
			for n, at := 0, 0; at < len(points); n++ {
				if n == points[at] {
					e := c.Estimate()/float64(n) - 1
					sum[at] += e
					square[at] += e * e
					at++
				}
				c.Add(src.Uint64())
			}
		}
		for i, n := range points {
			bias, dev := sum[i]/rounds, math.Sqrt(square[i]/rounds)
			if n <= s.exact+1 && dev > 0.005 {
				t.Errorf("%s: %d values, off by %.4f where it should be exact", s.name, n, dev)
			}
			if math.Abs(bias) > 4*s.deviation/math.Sqrt(rounds)+0.003 || dev > 1.2*s.deviation {
				t.Errorf("%s: %d values, bias %.4f, deviation %.4f", s.name, n, bias, dev)
			}
		}
	}
}

func TestRepeatsDoNotCount(t *testing.T) {
	for _, s := range sizes {
		src := rand.New(rand.NewPCG(3, 4))
		values := make([]uint64, 5000)
		for i := range values {
			values[i] = src.Uint64()
		}
		c := s.fresh()
		for i, v := range values {
			if isNew := c.Add(v); i < s.exact/2 && !isNew {
				t.Errorf("%s: value %d is not new", s.name, i)
			}
		}
		before := c.Estimate()
		for _, v := range values {
			if c.Add(v) {
				t.Fatalf("%s: an old value is new", s.name)
			}
		}
		if c.Estimate() != before {
			t.Errorf("%s: repeats moved the estimate", s.name)
		}
	}
}

func TestASetGoesOnAsIfNothingHappened(t *testing.T) {
	for _, s := range sizes {
		rapid.Check(t, func(t *rapid.T) {
			src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			a, b := s.fresh(), s.fresh()
			for range rapid.IntRange(0, 4*s.exact).Draw(t, "before") {
				a.Add(src.Uint64())
			}
			bytes := a.Append(nil)
			rest, err := b.Decode(append(bytes, 1, 2))
			if err != nil || len(rest) != 2 {
				t.Fatalf("%s: %v, %d bytes left", s.name, err, len(rest))
			}
			for range rapid.IntRange(0, 200).Draw(t, "after") {
				v := src.Uint64()
				if a.Add(v) != b.Add(v) || a.Estimate() != b.Estimate() {
					t.Fatalf("%s: %v and %v after a snapshot", s.name, a.Estimate(), b.Estimate())
				}
			}
		})
	}
}

func FuzzSetDecode(f *testing.F) {
	var s cardinality.Set
	for i := range uint64(100) {
		s.Add(i * 0x9e3779b97f4a7c15)
	}
	f.Add(s.Append(nil))
	f.Add([]byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s cardinality.Set
		if _, err := s.Decode(b); err != nil {
			return
		}
		for i := range uint64(300) {
			s.Add(i * 0x9e3779b97f4a7c15)
		}
		if !(s.Estimate() >= 0) {
			t.Fatalf("estimate %v", s.Estimate())
		}
	})
}

// The null: values are drawn from a Pitman–Yor process.
func TestGrowthIsCalibrated(t *testing.T) {
	src := rand.New(rand.NewPCG(5, 6))
	for _, d := range []float64{0.2, 0.6} {
		const n = 40_000
		levels := []float64{1e-1, 1e-2, 1e-3}
		hits := make([]float64, len(levels))
		var sum, expected float64
		for range n {
			distinct, total := 0.0, 0.0
			draw := func() {
				if src.Float64()*(total+1) < 1+d*distinct {
					distinct++
				}
				total++
			}
			for range 200 {
				draw()
			}
			was, of := distinct, total
			for range 100 {
				draw()
			}
			k := distinct - was
			sum += k
			expected += cardinality.Expect(100, was, of, d)
			lo, hi := math.Exp(cardinality.LogSF(k+1, 100, was, of, d)), math.Exp(cardinality.LogSF(k, 100, was, of, d))
			p := lo + src.Float64()*(hi-lo)
			for i, x := range levels {
				if p <= x {
					hits[i]++
				}
			}
		}
		if math.Abs(sum-expected) > 0.03*expected {
			t.Errorf("discount %v: %v new values, %v expected", d, sum, expected)
		}
		for i, x := range levels {
			if want := x * n; hits[i] > 1.3*want+4*math.Sqrt(want) || hits[i] < want/5 {
				t.Errorf("discount %v: P(p <= %v): %v of %v", d, x, hits[i], n)
			}
		}
	}
}

func TestGrowthTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Float64Range(1, 1e6).Draw(t, "total")
		distinct := rapid.Float64Range(1, total).Draw(t, "distinct")
		d := cardinality.Discount(distinct, total, 0.5, 10)
		if !(d >= 0 && d <= 1) {
			t.Fatalf("discount %v", d)
		}
		before := 0.0
		for k := 0.0; k < 1e5; k = math.Floor(1.5*k) + 1 {
			p := cardinality.LogSF(k, 500, distinct, total, d)
			if math.IsNaN(p) || p > before+1e-7 {
				t.Fatalf("ln P(K >= %v) = %v after %v", k, p, before)
			}
			before = p
		}
	})
}

func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(cardinality.Set{}); n != 264 {
		t.Errorf("%d bytes", n)
	}
}

func BenchmarkSetAdd(b *testing.B) {
	src := rand.New(rand.NewPCG(8, 9))
	for _, n := range []uint64{8, 32, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hashes := make([]uint64, n)
			for i := range hashes {
				hashes[i] = src.Uint64()
			}
			var s cardinality.Set
			for i := 0; b.Loop(); i++ {
				s.Add(hashes[i%len(hashes)])
			}
		})
	}
}

func BenchmarkLogSF(b *testing.B) {
	for b.Loop() {
		cardinality.LogSF(300, 1000, 40, 20_000, 0.3)
	}
}
