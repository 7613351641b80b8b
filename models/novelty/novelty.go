// Package novelty says how likely the next value is, and that it is new: a service, a destination, an action, a network.
//
// Null: values are drawn from a Pitman–Yor process whose base is the parent's distribution (agent under cohort under
// fleet), so what a group never showed but the wider group does is half expected. With n values seen, c of them v, T
// distinct, concentration θ and discount d, and one table per distinct value,
//
//	P(next is v)   = (max(c−d, 0) + (θ+d·T) · P_parent(v)) / (n+θ)
//	P(next is new) = (θ+d·T) / (n+θ)
//
// (Pitman & Yor 1997; Teh 2006, "A hierarchical Bayesian language model based on Pitman–Yor processes", whose
// interpolated Kneser–Ney form this is). A discount of 0 is the Dirichlet process: new values dry up with ln n;
// with d > 0 they go on coming with n^d, as names and paths do.
//
// Prior: Concentration, in draws, and Discount; at the top, the probability of a value that nobody has ever shown.
// The package keeps no state; the caller passes counts, decayed or not. Units: draws; what one draw is, an event or a member
// that takes the value up, is the caller's. Cost: 5 ns a level.
package novelty

import "math"

// Prior is the Pitman–Yor prior of one level: Concentration (θ > 0) in draws, how many draws it takes before the
// level trusts its own counts; Discount (0 ≤ d < 1).
type Prior struct {
	Concentration, Discount float64
}

// Seen is what one level knows: how often the Value in question was drawn, how many draws there were in all, and
// how many Distinct values. The present draw does not count.
type Seen struct {
	Value, Total, Distinct float64
}

// New is the probability that the next draw comes from the level above, which is the most that the probability of a
// value this level never had can be, and is it where the level above gives ever new values; 1 when nothing was seen.
func (p Prior) New(s Seen) float64 {
	return (p.Concentration + p.Discount*s.Distinct) / (s.Total + p.Concentration)
}

// Next is the probability that the next draw is the value, given its probability one level up. Nest the calls from
// the widest group down; at the top give the probability of a value nobody has shown.
func (p Prior) Next(s Seen, parent float64) float64 {
	return (math.Max(s.Value-p.Discount, 0) + (p.Concentration+p.Discount*s.Distinct)*parent) / (s.Total + p.Concentration)
}

// Shared is the probability that one more of the members takes up what adopters of them have: with few members even what
// they all have is not yet common. A release or a new integration that reaches a whole group is thus news of its
// first few members only.
func Shared(adopters, members float64) float64 { return adopters / (members + 1) }
