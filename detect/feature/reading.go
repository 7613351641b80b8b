package feature

import "math"

// Flood is the events that the target has got within the minute, when most of them are this agent's.
func (v *View) Flood(s *Store) (Reading, bool) {
	if v.Target == nil || v.Target.Last-v.Target.First < settling {
		return Reading{}, false
	}
	own := v.Agent.Cells[cellOf[Repeats][Minute]].Cur
	if 2*own < v.Target.cells[Minute][CrowdEvents].cur {
		return Reading{}, false
	}
	r, ok := s.shared.Read(v.Target, CrowdEvents, Minute)
	r.Name, r.Whose, r.cell = "events_at_the_target", "it", floodCell
	return r, ok
}

// Expect returns the mean and variance of what is expected of an agent and how many of its windows they rest on, ok false
// for what it has never shown.
func (s *Store) Expect(a *Agent, f Feature, sc Scale) (mean, variance, windows float64, ok bool) {
	i := cellOf[f][sc]
	if i < 0 || a.N[sc] < 1 || a.Cells[i].Mean == 0 {
		return 0, 0, 0, false
	}
	prior := s.prior(a, int(i))
	mean, variance = predict(int(i), Moments{a.N[sc], a.Cells[i].Mean, a.Cells[i].Var}, prior, 1)
	if f.size() {
		mean, variance = natural(mean, variance)
	}
	return mean, variance, float64(a.N[sc] + min(prior.N, priorWindows)), true
}

// Reading is one feature at one scale: how many there are in the open window, and what was to be expected.
type Reading struct {
	Name           string
	Scale          Scale
	Observed       float64
	Mean, Variance float64 // predictive, of the entity with its peers as prior
	Peers          Moments // the peers' own
	Own            Moments // the entity's own

	// LogMean and LogSD are those of the logarithm of an amount; LogSD is 0 for a count.
	LogMean, LogSD float64

	Whose string // what the entity is when it is not whom the alert is about, as it follows "usual for"

	cell int // place among the tides of its groups
}

// Share is the part of the agent's events in the open window that a count accounts for, 0 for an amount.
func (a *Agent) Share(r *Reading) float64 {
	i := cellOf[Events][r.Scale]
	if i < 0 || r.LogSD > 0 || a.Cells[i].Cur <= 0 {
		return 0
	}
	return r.Observed / float64(a.Cells[i].Cur)
}

// raise makes k times as much expected.
func (r *Reading) raise(k float64) {
	r.Mean *= k
	r.Variance *= k * k
	r.LogMean += math.Log(k)
}

// Read returns the reading of a feature at a scale, and false when the event did not raise it, when the count is
// unremarkable, or when too little is known to say so.
func (s *Store) Read(v *View, f Feature, sc Scale) (Reading, bool) {
	i := cellOf[f][sc]
	if i < 0 || v.raised&(1<<i) == 0 {
		return Reading{}, false
	}
	a := v.Agent
	c := &a.Cells[i]
	if f.discovery() && (v.Event.Time-a.First < firstDay*micros || v.SinceStart < 2*firstDay) {
		return Reading{}, false
	}
	prior := s.prior(a, int(i))
	if a.N[sc]+prior.N < minWindows {
		return Reading{}, false
	}
	r := Reading{Name: f.String(), Scale: sc, Observed: float64(c.Cur), cell: int(i), Peers: a.Cohort.pool.moments(int(i)), Own: Moments{a.N[sc], c.Mean, c.Var}}
	r.Mean, r.Variance = predict(int(i), r.Own, prior, s.worth(a, int(i)))
	if f.size() {
		r.LogMean, r.LogSD = r.Mean, math.Sqrt(r.Variance)
		r.Mean, r.Variance = natural(r.Mean, r.Variance)
		r.Peers.Mean = float32(math.Expm1(float64(r.Peers.Mean)))
	}
	return r, r.Observed > r.Mean
}

// Beyond is how much more of a feature the agent's open window holds than is usual, 0 when it is no more or nothing is known.
func (s *Store) Beyond(v *View, f Feature, sc Scale) float64 {
	i := int(cellOf[f][sc])
	prior := s.prior(v.Agent, i)
	if v.Agent.N[sc]+prior.N < minWindows {
		return 0
	}
	c := &v.Agent.Cells[i]
	mean, _ := predict(i, Moments{N: v.Agent.N[sc], Mean: c.Mean, Var: c.Var}, prior, s.worth(v.Agent, i))
	return math.Max(float64(c.Cur)-mean, 0)
}

// Usual is the mean and deviation of the logarithm of an amount in a window of the agent's, ok false without a basis.
func (s *Store) Usual(a *Agent, f Feature, sc Scale) (mean, sd float64, ok bool) {
	i := int(cellOf[f][sc])
	prior := s.prior(a, i)
	if a.N[sc]+prior.N < minWindows {
		return 0, 0, false
	}
	m, v := predict(i, Moments{N: a.N[sc], Mean: a.Cells[i].Mean, Var: a.Cells[i].Var}, prior, s.worth(a, i))
	return m, math.Sqrt(v), true
}

// PerEvent is the reading of a quantity that grows with the number of events, with as much allowed for as the open
// window's events explain: who calls ten times as often sends ten times as much.
func (s *Store) PerEvent(v *View, f Feature, sc Scale) (Reading, bool) {
	r, ok := s.Read(v, f, sc)
	if !ok {
		return r, false
	}
	if i := cellOf[Events][sc]; i >= 0 {
		a := v.Agent
		mean, _ := predict(int(i), Moments{a.N[sc], a.Cells[i].Mean, a.Cells[i].Var}, s.prior(a, int(i)), s.worth(a, int(i)))
		if k := float64(a.Cells[i].Cur) / mean; k > 1 {
			r.raise(k)
		}
	}
	return r, r.Observed > r.Mean
}
