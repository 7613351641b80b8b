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
	prior := novelty.Prior{Concentration: 1, Discount: 0.1}
	// An agent calls "payments". It never did in 4,000 calls to 6 services; its cohort did twice in 90,000 calls to
	// 14 services.
	fleet := prior.LogSF(novelty.Seen{Value: 3_000, Total: 2_000_000, Distinct: 180}, 0)
	cohort := prior.LogSF(novelty.Seen{Value: 2, Total: 90_000, Distinct: 14}, fleet)
	agent := prior.LogSF(novelty.Seen{Value: 0, Total: 4_000, Distinct: 6}, cohort)
	fmt.Printf("p = %.0e\n", math.Exp(agent))

	// Now 30 of its cohort's 100 members took it up today.
	fmt.Printf("p = %.1f\n", math.Exp(novelty.Shared(agent, 30, 100)))

	// Three new services in its next ten calls.
	fmt.Printf("p = %.0e\n", math.Exp(prior.LogNew(novelty.Seen{Total: 4_000, Distinct: 6}, 3, 10)))
	// Output:
	// p = 1e-07
	// p = 0.3
	// p = 3e-08
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

// An agent draws under a cohort. The p-values of its draws must never be too small, down to 1e-4, and the
// probabilities of a new value must add up to no less than the number of new values (what comes from above may be
// nothing new).
func TestHonestUnderItsOwnProcess(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
	hits := make([]float64, len(levels))
	var n, fresh, expected float64
	for range 200 {
		top := 0
		cohort := urn(novelty.Prior{Concentration: 3, Discount: 0.3}, func() int { top++; return top })
		for range 300 {
			cohort.draw(src)
		}
		agent := urn(novelty.Prior{Concentration: 2, Discount: 0.2}, func() int { return cohort.draw(src) })
		for range 2000 {
			before, above := agent.total, cohort.total
			p := agent.prior.New(agent.seen(0))
			agentNew := novelty.Seen{Total: before, Distinct: float64(len(agent.counts))}
			cohortNew := novelty.Seen{Total: above, Distinct: float64(len(cohort.counts))}
			v := agent.draw(src)
			agentNew.Value = agent.counts[v] - 1
			cohortNew.Value = cohort.counts[v]
			if cohort.total > above {
				cohortNew.Value--
			}
			if before < 20 {
				continue
			}
			n++
			expected += p
			if agentNew.Value == 0 {
				fresh++
			}
			log := agent.prior.LogSF(agentNew, cohort.prior.LogSF(cohortNew, 0))
			for i, x := range levels {
				if log <= math.Log(x) {
					hits[i]++
				}
			}
		}
	}
	if fresh > expected {
		t.Errorf("%v new values, at most %v predicted", fresh, expected)
	}
	for i, x := range levels {
		if want := x * n; hits[i] > want+4*math.Sqrt(want) {
			t.Errorf("P(p <= %v): %v of %v", x, hits[i], n)
		}
	}
	if hits[1] == 0 || hits[2] == 0 {
		t.Errorf("never surprised: %v", hits)
	}
}

func TestNewInManyDraws(t *testing.T) {
	src := rand.New(rand.NewPCG(3, 4))
	for _, prior := range []novelty.Prior{{Concentration: 2}, {Concentration: 1, Discount: 0.5}} {
		levels := []float64{1e-1, 1e-2, 1e-3, 1e-4}
		hits := make([]float64, len(levels))
		var sum, expected float64
		const n = 20_000
		for range n {
			top := 0
			u := urn(prior, func() int { top++; return top })
			for range 60 {
				u.draw(src)
			}
			before := u.seen(0)
			for range 40 {
				u.draw(src)
			}
			k := float64(len(u.counts)) - before.Distinct
			sum += k
			expected += prior.ExpectNew(before, 40)
			for i, x := range levels {
				if prior.LogNew(before, k, 40) <= math.Log(x) {
					hits[i]++
				}
			}
		}
		if math.Abs(sum-expected) > 0.05*expected {
			t.Errorf("%+v: %v new values, %v predicted", prior, sum, expected)
		}
		for i, x := range levels {
			if want := x * n; hits[i] > want+4*math.Sqrt(want) {
				t.Errorf("%+v: P(p <= %v): %v of %v", prior, x, hits[i], n)
			}
		}
		if hits[0] < 0.01*n {
			t.Errorf("%+v: only %v of %v p-values under 0.1", prior, hits[0], n)
		}
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
		// The rarer, the more surprising; and never seen is the most.
		above := rapid.Float64Range(-50, 0).Draw(t, "above")
		before := p.LogSF(s, above)
		for c := 1.0; c < s.Total; c *= 2 {
			v := s
			v.Value = c
			now := p.LogSF(v, above)
			if now < before-1e-12 || now > 0 {
				t.Fatalf("seen %v times: ln p = %v after %v", c, now, before)
			}
			before = now
		}
		was := 0.0
		for k := 0.0; k <= 50; k++ {
			l := p.LogNew(s, k, 50)
			if math.IsNaN(l) || l > was+1e-7 {
				t.Fatalf("ln P(K >= %v) = %v after %v", k, l, was)
			}
			was = l
		}
		if e := novelty.Shared(above, rapid.Float64Range(0, 50).Draw(t, "adopters"), 100); e < above || e > 0 {
			t.Fatalf("shared: %v of %v", e, above)
		}
	})
}

func TestNothingSeenIsNoSurprise(t *testing.T) {
	p := novelty.Prior{Concentration: 1}
	if l := p.LogSF(novelty.Seen{}, 0); l != 0 {
		t.Errorf("the first value of all has ln p = %v", l)
	}
	if l := p.LogNew(novelty.Seen{}, 10, 10); l != 0 {
		t.Errorf("ten new values of a newcomer have ln p = %v", l)
	}
}

func BenchmarkLogSF(b *testing.B) {
	p := novelty.Prior{Concentration: 1, Discount: 0.1}
	for b.Loop() {
		p.LogSF(novelty.Seen{Total: 4000, Distinct: 6}, p.LogSF(novelty.Seen{Value: 2, Total: 90_000, Distinct: 14}, 0))
	}
}

func BenchmarkLogNew(b *testing.B) {
	p := novelty.Prior{Concentration: 1, Discount: 0.1}
	for b.Loop() {
		p.LogNew(novelty.Seen{Total: 4000, Distinct: 6}, 3, 10)
	}
}
