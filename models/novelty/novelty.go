// Package novelty says how surprising the next value is: a service, a destination, an action, a credential.
//
// Null: values are drawn from a Pitman–Yor process whose base is the parent's distribution (agent under cohort
// under fleet), so what the agent never did but its cohort does is half expected. With n values seen, c of them v,
// T distinct, concentration θ and discount d, and one table per distinct value,
//
//	P(next is v)   = (c−d·[c>0])/(n+θ) + (θ+d·T)/(n+θ) · P_parent(v)
//	P(next is new) = (θ+d·T)/(n+θ)
//
// (Pitman & Yor 1997; Teh 2006, "A hierarchical Bayesian language model based on Pitman–Yor processes", whose
// interpolated Kneser–Ney form this is). A discount of 0 is the Dirichlet process: new values dry up with ln n;
// with d > 0 they go on coming with n^d, as names and paths do.
//
// The package keeps no state; the caller passes counts, decayed or not. Units: none. Cost: 5 ns for a probability,
// 25 ns for a tail, 200 to 300 ns for LogNew.
package novelty

import (
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// Prior is the Pitman–Yor prior of one level: Concentration (θ > 0) in draws, how many draws it takes before the
// level trusts its own counts; Discount (0 ≤ d < 1).
type Prior struct {
	Concentration, Discount float64
}

// Seen is what one level knows: how often the Value in question was drawn, how many draws there were in all, and
// how many Distinct values. The level's own members' draws count, the present one does not.
type Seen struct {
	Value, Total, Distinct float64
}

// New is the probability that the next draw comes from the level above, which is the most that the probability of a
// value this level never had can be, and is it where the level above gives ever new values; 1 when nothing was seen.
func (p Prior) New(s Seen) float64 {
	return math.Min(1, (p.Concentration+p.Discount*s.Distinct)/(p.Concentration+math.Max(s.Total, 0)))
}

// Next is the probability that the next draw is the value, given its probability one level up. Nest the calls from
// the fleet down; at the top give 1 over the number of values that there may be.
func (p Prior) Next(s Seen, parent float64) float64 {
	own := 0.0
	if s.Value > 0 {
		own = math.Max(0, s.Value-p.Discount) / (p.Concentration + s.Total)
	}
	return math.Min(1, own+p.New(s)*parent)
}

// LogSF is the natural logarithm of the probability that a draw is at most as likely as this one: the p-value of
// having drawn the value, given the same one level up (0 at the top). A value this level never had costs the
// probability of a new one, times what it costs above; a value seen c times is in the mass of all values seen at
// most c times, which is at most c·T/n of the draws. It errs towards 1, never towards 0.
func (p Prior) LogSF(s Seen, parent float64) float64 {
	if s.Value <= 0 {
		return math.Log(p.New(s)) + parent
	}
	rare := s.Value * math.Max(s.Distinct, 1) / (p.Concentration + s.Total)
	return math.Log(math.Min(1, p.New(s)+rare))
}

// Shared lifts a LogSF where the value is news for everybody: of the other members of the cohort, adopters took it
// up lately (in the last day, say). One more member then takes it up with probability (adopters)/(members+1) or
// more, and its doing so can be no more surprising than that. A release or a new integration that reaches the
// whole cohort thus costs its first few members only.
func Shared(log, adopters, members float64) float64 {
	if adopters <= 0 || members <= 0 {
		return log
	}
	return math.Max(log, math.Log(math.Min(1, adopters/(members+1))))
}

// LogNew is ln P(K ≥ k) for the number K of new values in the next n draws, in the sequence of which every new
// value makes the next likelier: the predictive Beta-Binomial with the process' probability of a new value as its
// mean and n+θ as its weight. For the Pitman–Yor process itself it is an upper bound (there a new value adds only
// d to the urn, here 1); agents explore in streaks, for which it is about right. Seen.Value is not used.
func (p Prior) LogNew(s Seen, k, n float64) float64 {
	a := p.Concentration + p.Discount*s.Distinct
	b := math.Max(s.Total, 0) - p.Discount*s.Distinct
	if b <= 0 {
		return 0 // everything so far was new, or nothing was seen: no basis
	}
	return tail.BetaBinomialLogSF(k, n, a, b)
}

// ExpectNew is the mean number of new values in the next n draws (Favaro, Lijoi, Mena & Prünster 2009, eq. 6).
func (p Prior) ExpectNew(s Seen, n float64) float64 {
	theta, total := p.Concentration, math.Max(s.Total, 0)
	if p.Discount <= 0 {
		// θ·(ψ(θ+total+n) − ψ(θ+total)), by its integral.
		return theta * math.Log1p(n/(theta+math.Max(total-0.5, 0)))
	}
	d := p.Discount
	return (s.Distinct + theta/d) * math.Expm1(d*math.Log1p(n/(theta+total)))
}
