package novelty_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/novelty"
)

func Example() {
	prior := novelty.Prior{Concentration: 0.5, Discount: 0.5}
	// An agent takes up a service that none of its cohort's has, by 240 agents' uses of 14 services; two of the fleet's have.
	fleet := prior.Next(novelty.Seen{Value: 2, Total: 9_000, Distinct: 180}, 0.01)
	cohort := prior.Next(novelty.Seen{Value: 0, Total: 240, Distinct: 14}, fleet)
	fmt.Printf("p = %.0e\n", cohort)

	// One that 30 of its cohort's 100 members have, and one that nobody anywhere has.
	fmt.Printf("p = %.2f, by %.1f of the members\n", prior.Next(novelty.Seen{Value: 30, Total: 240, Distinct: 14}, fleet), novelty.Shared(30, 100))
	fmt.Printf("p = %.0e\n", prior.Next(novelty.Seen{Total: 240, Distinct: 14}, prior.Next(novelty.Seen{Total: 9_000, Distinct: 180}, 0.01)))
	// Output:
	// p = 8e-06
	// p = 0.12, by 0.3 of the members
	// p = 3e-06
}

// process draws from a Pitman–Yor process; a value that its own level has not had comes from next.
type process struct {
	prior  novelty.Prior
	counts map[int]float64
	order  []int
	total  float64
	next   func() int
}

func (c *process) seen(v int) novelty.Seen {
	return novelty.Seen{Value: c.counts[v], Total: c.total, Distinct: float64(len(c.counts))}
}

func (c *process) draw(src *rand.Rand) int {
	v, u := 0, src.Float64()*(c.total+c.prior.Concentration)
	for _, old := range c.order {
		if u -= c.counts[old] - c.prior.Discount; u < 0 {
			v = old
			break
		}
	}
	if u >= 0 {
		v = c.next()
	}
	if c.counts[v] == 0 {
		c.order = append(c.order, v)
	}
	c.counts[v]++
	c.total++
	return v
}

func urn(prior novelty.Prior, next func() int) *process {
	return &process{prior: prior, counts: map[int]float64{}, next: next}
}

// What a process is said to draw next it draws as often as is said, be it new or one of its values.
func TestCalibrated(t *testing.T) {
	for _, prior := range []novelty.Prior{{Concentration: 3}, {Concentration: 0.5, Discount: 0.5}, {Concentration: 2, Discount: 0.2}} {
		src := rand.New(rand.NewPCG(1, 2))
		levels := []float64{1e-1, 1e-2, 1e-3}
		hits := make([]float64, len(levels))
		var n, fresh, newExpected, first, firstExpected float64
		for range 400 {
			top := 0
			u := urn(prior, func() int { top++; return top })
			for range 1500 {
				isNew, isFirst := prior.New(u.seen(0)), prior.Next(u.seen(1), 0)
				before := len(u.counts)
				v := u.draw(src)
				n++
				newExpected += isNew
				if before == 0 {
					fresh++
					continue
				}
				firstExpected += isFirst
				if v == 1 {
					first++
				}
				if len(u.counts) == before {
					continue
				}
				fresh++
				for i, x := range levels {
					if isNew <= x {
						hits[i]++
					}
				}
			}
		}
		if math.Abs(fresh-newExpected) > 4*math.Sqrt(newExpected) {
			t.Errorf("%+v: %v new values, %.0f predicted", prior, fresh, newExpected)
		}
		if math.Abs(first-firstExpected) > 5*math.Sqrt(firstExpected) {
			t.Errorf("%+v: %v draws of the first value, %.0f predicted", prior, first, firstExpected)
		}
		for i, x := range levels {
			if want := x * n; hits[i] > want+4*math.Sqrt(want) {
				t.Errorf("%+v: P(p <= %v): %v of %v", prior, x, hits[i], n)
			}
		}
		if hits[0] == 0 {
			t.Errorf("%+v: never surprised", prior)
		}
	}
}

// A group draws under a wider one. What comes from above may be nothing new, so that new values are at most as many as is said.
func TestHonestUnderAParent(t *testing.T) {
	src := rand.New(rand.NewPCG(3, 4))
	var fresh, expected float64
	for range 200 {
		top := 0
		wide := urn(novelty.Prior{Concentration: 3, Discount: 0.3}, func() int { top++; return top })
		for range 300 {
			wide.draw(src)
		}
		group := urn(novelty.Prior{Concentration: 2, Discount: 0.2}, func() int { return wide.draw(src) })
		for range 2000 {
			expected += group.prior.New(group.seen(0))
			before := len(group.counts)
			if group.draw(src); len(group.counts) > before {
				fresh++
			}
		}
	}
	if fresh > expected || fresh < expected/4 {
		t.Errorf("%v new values, at most %v predicted", fresh, expected)
	}
}

func TestProbabilities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := novelty.Prior{Concentration: rapid.Float64Range(0.01, 100).Draw(t, "concentration"), Discount: rapid.Float64Range(0, 0.9).Draw(t, "discount")}
		counts := rapid.SliceOfN(rapid.IntRange(1, 1000), 1, 30).Draw(t, "counts")
		s := novelty.Seen{Distinct: float64(len(counts))}
		for _, c := range counts {
			s.Total += float64(c)
		}
		// The values seen and one that stands for all others add up to one.
		sum := p.Next(s, 1-float64(len(counts))*0.01)
		for _, c := range counts {
			v := s
			v.Value = float64(c)
			sum += p.Next(v, 0.01)
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("probabilities add up to %v", sum)
		}
		// The rarer, here and above, the more surprising; and never seen is the most.
		above := rapid.Float64Range(0, 1).Draw(t, "above")
		before := p.Next(s, above)
		if lower := p.Next(s, above/2); lower > before || before > p.New(s)*(1+1e-12) || p.New(s) > 1 {
			t.Fatalf("never seen: %v, %v with half of that above, new with %v", before, lower, p.New(s))
		}
		for c := 1.0; c+s.Distinct-1 <= s.Total; c *= 2 {
			v := s
			v.Value = c
			now := p.Next(v, above)
			if now < before*(1-1e-12) || now > 1+1e-12 {
				t.Fatalf("seen %v times: p = %v after %v", c, now, before)
			}
			before = now
		}
		members := rapid.Float64Range(1, 1000).Draw(t, "members")
		if all, none := novelty.Shared(members, members), novelty.Shared(0, members); all >= 1 || all < 0.5 || none != 0 {
			t.Fatalf("what all of %v have has %v, what none has %v", members, all, none)
		}
	})
}

func TestNothingSeenIsNoSurprise(t *testing.T) {
	p := novelty.Prior{Concentration: 1, Discount: 0.5}
	if got := p.New(novelty.Seen{}); got != 1 {
		t.Errorf("the first value of all is new with p = %v", got)
	}
	if got := p.Next(novelty.Seen{}, 0.25); got != 0.25 {
		t.Errorf("a group that has shown nothing gives p = %v, the wider one 0.25", got)
	}
}

func BenchmarkNext(b *testing.B) {
	p := novelty.Prior{Concentration: 0.5, Discount: 0.5}
	b.ReportAllocs()
	for b.Loop() {
		p.Next(novelty.Seen{Total: 240, Distinct: 14}, p.Next(novelty.Seen{Value: 2, Total: 9_000, Distinct: 180}, 0.01))
	}
}
