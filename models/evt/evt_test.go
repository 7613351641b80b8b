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
	var t evt.Tail
	fmt.Printf("by the model's word a score of 9 is reached in a share of %.0e\n", t.SF(9))
	for range 10_000 { // of agent-days, whose largest scores are larger than the model thinks: real traffic clumps
		t.Learn(1.8 * src.ExpFloat64())
	}
	fmt.Printf("by %.0f periods in %.0e, 18 in %.0e\n", t.Weight(), t.SF(9), t.SF(18))
	fmt.Printf("of who reached 8 in ten periods in %.2f\n", t.Again(9, evt.Bin(8), 10))
	// Output:
	// by the model's word a score of 9 is reached in a share of 2e-07
	// by 10000 periods in 6e-03, 18 in 3e-05
	// of who reached 8 in ten periods in 0.06
}

// shapes are raw scores of benign periods as detectors give them: most days say nothing, and the tail is heavier
// or lighter than the models think.
var shapes = map[string]func(*rand.Rand) float64{
	"as the models say":  func(r *rand.Rand) float64 { return r.ExpFloat64()/math.Ln10 + 1.5 },
	"heavier":            func(r *rand.Rand) float64 { return 1.4 * r.ExpFloat64() },
	"mostly silent":      func(r *rand.Rand) float64 { return max(0, 2*r.ExpFloat64()-3) },
	"a sum of few looks": func(r *rand.Rand) float64 { return 0.6 * (r.ExpFloat64() + r.ExpFloat64() + r.ExpFloat64()) },
}

func learned(draw func(*rand.Rand) float64, days int, seed uint64) (*evt.Tail, *rand.Rand) {
	r := rand.New(rand.NewPCG(seed, 7))
	var t evt.Tail
	for range days {
		t.Learn(draw(r))
	}
	return &t, r
}

// On periods that it has not seen, P(p ≤ x) is about x.
func TestPValuesAreHonest(t *testing.T) {
	for name, draw := range shapes {
		tail, r := learned(draw, 20_000, 1)
		const n = 200_000
		var below [4]int
		for range n {
			p := tail.SF(draw(r))
			for i := range below {
				if p <= math.Pow(10, -float64(i+1)) {
					below[i]++
				}
			}
		}
		for i, c := range below {
			x := math.Pow(10, -float64(i+1))
			ratio := float64(c) / n / x
			// A raw score of nothing has p = 1: where most days are silent there is nothing at the upper end.
			if ratio > 2.5 || ratio < 0.4 && !(name == "mostly silent" && i == 0) {
				t.Errorf("%s: P(p ≤ %g) is %.2f times that", name, x, ratio)
			}
		}
	}
}

// Attacks among the periods learned from do not raise what benign days are allowed.
func TestAttacksAreNoPartOfTheTail(t *testing.T) {
	for name, draw := range shapes {
		clean, _ := learned(draw, 10_000, 2)
		dirty, _ := learned(func(r *rand.Rand) float64 {
			if r.Float64() < 0.005 {
				return 10 + 90*r.Float64()
			}
			return draw(r)
		}, 10_000, 2)
		for raw := 4.0; raw < 12; raw++ {
			// The tail's scale may move a little, and a little of the scale is much far out.
			if a, b := math.Log10(clean.SF(raw)), math.Log10(dirty.SF(raw)); b-a > 0.2*-a+0.3 {
				t.Errorf("%s: attacks on one period in 200 raise P(%g) from 10^%.2f to 10^%.2f", name, raw, a, b)
			}
		}
	}
}

func TestHigherScoresAreRarer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tail evt.Tail
		for _, raw := range rapid.SliceOfN(rapid.Float64Range(0, 60), 0, 400).Draw(t, "days") {
			tail.Learn(raw)
		}
		before := 1.0
		for raw := 0.0; raw < 80; raw += 0.1 {
			p := tail.SF(raw)
			if !(p >= 0 && p <= before*(1+1e-9)) {
				t.Fatalf("P(%.1f) = %g after %g", raw, p, before)
			}
			before = p
		}
	})
}

func TestNothingLearnedIsTheModelsWord(t *testing.T) {
	var tail evt.Tail
	if p := tail.SF(3); p < 0.1 || p > 0.3 {
		t.Errorf("a probability of 1e-3 in some two hundred looks gives %g", p)
	}
	if p := tail.SF(12); p < 1e-10 || p > 1e-9 {
		t.Errorf("a probability of 1e-12 in some two hundred looks gives %g", p)
	}
}

// Early periods, of when everything was new, are forgotten once later ones outweigh them.
func TestWhatWasEarlyIsForgotten(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var with, without evt.Tail
	for range 300 {
		with.LearnEarly(20 * r.Float64())
	}
	for range 3000 {
		raw := r.ExpFloat64()
		with.Learn(raw)
		without.Learn(raw)
	}
	if a, b := with.SF(6), without.SF(6); math.Abs(math.Log10(a/b)) > 0.2 {
		t.Errorf("P(6) is %g with a wild beginning, %g without", a, b)
	}
	if with.Weight() != without.Weight() {
		t.Errorf("%g periods are known, %g with the early ones forgotten", without.Weight(), with.Weight())
	}
}

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.SliceOfN(rapid.Float64Range(0, 60), 0, 300).Draw(t, "days")
		early := rapid.IntRange(0, 100).Draw(t, "early")
		var a, b evt.Tail
		for i, raw := range days {
			if i < early {
				a.LearnEarly(raw)
			} else {
				a.Learn(raw)
			}
		}
		state := a.Append([]byte("x"))[1:]
		rest, err := b.Decode(append(state, 42))
		if err != nil || len(rest) != 1 || a != b {
			t.Fatalf("it is not what it was: %v, %d bytes are left", err, len(rest))
		}
		if n := rapid.IntRange(0, len(state)-1).Draw(t, "cut"); n < len(state) {
			if _, err := new(evt.Tail).Decode(state[:n]); err == nil {
				t.Fatalf("a state cut to %d of %d bytes was accepted", n, len(state))
			}
		}
	})
}

// Whoever is unlike the others exceeds what it showed before as seldom as that is said to happen.
func TestASourcesOwnRecordIsHonest(t *testing.T) {
	tail, r := learned(shapes["as the models say"], 20_000, 4)
	for _, days := range []int{1, 5, 20} {
		const n = 50_000
		levels := []float64{0.1, 0.03, 0.003}
		below := make([]int, len(levels))
		for range n {
			odd := 3 * r.Float64() // how much more this source shows every period
			peak := 0.0
			for range days {
				peak = math.Max(peak, odd+shapes["as the models say"](r))
			}
			p := tail.Again(odd+shapes["as the models say"](r), evt.Bin(peak), days)
			for i, x := range levels {
				if p <= x {
					below[i]++
				}
			}
		}
		for i, x := range levels {
			if x >= 1/float64(days+1) {
				continue // with so few days it never says more than that
			}
			if got := float64(below[i]) / n; got > 1.5*x || got < x/5 {
				t.Errorf("%d days: P(p ≤ %v) = %v", days, x, got)
			}
		}
	}
}

func TestFewAreOutstanding(t *testing.T) {
	tail, r := learned(shapes["heavier"], 5000, 5)
	n := 0
	for range 5000 {
		if tail.Outstanding(evt.Bin(shapes["heavier"](r))) {
			n++
		}
	}
	if n < 50 || n > 250 {
		t.Errorf("%d of 5000 days stand out", n)
	}
	var unknown evt.Tail
	if unknown.Outstanding(255) {
		t.Error("something stands out before anything is known")
	}
}

// A tail that has learned a day and is not fitted yet says what the model says, not that anything is impossible.
func TestATailThatIsNotFittedYetHasNoOpinion(t *testing.T) {
	var tail evt.Tail
	before := tail.SF(1.5)
	for day := range 3 {
		tail.Learn(0)
		if p := tail.SF(1.5); p < before/10 {
			t.Errorf("after %d days: P = %v, before any %v", day+1, p, before)
		}
	}
}

// Excesses that fall as those of a generalised Pareto distribution are honest when its shape is given.
func TestAHeavyTailIsHonestWithItsShape(t *testing.T) {
	draw := func(r *rand.Rand) float64 { return 0.5 / 0.2 * math.Expm1(0.2*r.ExpFloat64()) }
	ratio := func(shape float64) float64 {
		r := rand.New(rand.NewPCG(6, 7))
		tail := evt.Tail{Shape: shape, Heavy: 100}
		for range 20_000 {
			tail.Learn(draw(r))
		}
		const n, x = 400_000, 1e-4
		below := 0
		for range n {
			if tail.SF(draw(r)) <= x {
				below++
			}
		}
		return float64(below) / n / x
	}
	if with := ratio(0.2); with > 2.5 || with < 0.4 {
		t.Errorf("P(p ≤ 1e-4) is %.2f times that", with)
	}
	if without := ratio(0); without < 3 {
		t.Errorf("without the shape it is %.2f times that: this test shows nothing", without)
	}
}

// With half of the memory more, what was learned before weighs half.
func TestForgetsAtTheHalfLife(t *testing.T) {
	var tail evt.Tail
	for range evt.Memory {
		tail.Learn(0.1)
	}
	for range evt.Memory / 2 {
		tail.Learn(0.6)
	}
	if w := tail.Weight(); w != evt.Memory {
		t.Errorf("%v periods weigh, at most %v do", w, evt.Memory)
	}
	if p := tail.SF(0.5); math.Abs(p-0.5) > 0.01 {
		t.Errorf("the share of what is new is %v, want a half", p)
	}
}

func FuzzDecode(f *testing.F) {
	var tail evt.Tail
	tail.Learn(3)
	tail.LearnEarly(30)
	f.Add(tail.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tail evt.Tail
		if rest, err := tail.Decode(b); err == nil && len(rest) >= len(b) {
			t.Fatalf("%d bytes are left of %d", len(rest), len(b))
		}
	})
}

func filled() *evt.Tail {
	t, _ := learned(shapes["heavier"], 50_000, 9)
	return t
}

func BenchmarkLearn(b *testing.B) {
	t := filled()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t.Learn(float64(i % 4))
	}
}

func BenchmarkSF(b *testing.B) {
	t := filled()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t.SF(1 + float64(i%8))
	}
}
