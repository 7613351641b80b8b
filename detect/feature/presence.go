package feature

import (
	"math"

	"github.com/astray-dev/astray/models/rate"
)

// A baseline of active windows does not know how seldom an agent is there: whoever comes once a month and calls a
// hundred times looks like whoever calls a hundred times all day. Presence is the other half, a hurdle (Mullahy 1986):
// the probability that the agent is active in a ten-minute window at all, over the time that has elapsed in the stream,
// times the probability that an active window of its has as many events, Pareto with index 1 beyond its mean. How
// often agents nobody has seen before turn up says how much having been away means: where somebody new comes in every
// window, nothing.

// presence is how often an agent is there.
type presence struct {
	Windows float32 // ten-minute windows with events before the open one, forgotten after presenceMemory
	Events  float32 // events in them, all of them: what was told in an alert as well
	Absence float32 // −ln of the probability of being active in the open window
}

// turnover is how often agents come that nobody has seen before.
type turnover struct {
	Window       int64 // ten-minute window of the stream
	Fresh        bool  // somebody new came in it
	Windows, New float64
}

// presenceMemory is after how many ten-minute windows of the stream an old one has lost its weight: as many days as
// the windows of a day are remembered.
const presenceMemory = 45 * 144

// seen notes the stream's window of an event, and whether its agent is new.
func (t *turnover) seen(w int64, fresh bool) {
	if w > t.Window {
		if t.Window > 0 {
			f := 1 - 1.0/presenceMemory
			t.Windows, t.New = t.Windows*f+1, t.New*f
			if t.Fresh {
				t.New++
			}
		}
		t.Window, t.Fresh = w, false
	}
	t.Fresh = t.Fresh || fresh
}

// share is the part of the stream's windows that brings somebody new.
func (t *turnover) share() float64 { return rate.Mean(t.New, t.Windows, 1, 1) }

// arrive is called when the agent's open ten-minute window, before, gives way to window w (before < 0: its first).
func (s *Store) arrive(a *Agent, before, w int64) {
	p := &a.Presence
	if before >= 0 {
		f := float32(math.Exp(-float64(w-before) / presenceMemory))
		p.Windows, p.Events = (p.Windows+1)*f, (p.Events+a.Cells[cellOf[Events][TenMinutes]].Cur)*f
	}
	elapsed := presenceMemory * -math.Expm1(-float64(w-s.start/micros/scaleSeconds[TenMinutes])/presenceMemory)
	p.Absence = float32(math.Max(0, math.Log((elapsed+2)/(float64(p.Windows)+0.5))) * math.Max(0, 1-2*s.turnover.share()))
}

// Presence is how many events the agent has in the open ten minutes, with the probability, as a natural logarithm, that
// it is there at all and does as much. ok is false when that is above least.
func (s *Store) Presence(v *View, least float64) (r Reading, logP float64, ok bool) {
	a := v.Agent
	i := cellOf[Events][TenMinutes]
	if v.bumped&(1<<i) == 0 {
		return r, 0, false
	}
	c := &a.Cells[i]
	peers := s.fleet.pool.moments(int(i))
	p := &a.Presence
	// One window of the fleet's for a start.
	mean := rate.Mean(float64(p.Events), float64(p.Windows), math.Max(float64(peers.Mean), 1), 1)
	ratio := float64(c.Cur) / mean
	if logP = -float64(p.Absence); logP-math.Max(ratio-1, 0) > least+1e-9 {
		return r, logP, false // for ln x ≤ x−1
	}
	if float64(c.Cur) > mean {
		logP -= math.Log(ratio)
	}
	if logP > least {
		return r, logP, false
	}
	r = Reading{Name: "events_of_the_rarely_active", Scale: TenMinutes, Observed: float64(c.Cur), Mean: mean, Peers: peers, Own: Moments{a.N[TenMinutes], c.Mean, c.Var}}
	return r, logP, true
}

// PresentShare is the part of the elapsed time in which the agent was active before, by ten-minute windows.
func (s *Store) PresentShare(a *Agent) float64 {
	w := a.Window[TenMinutes] - s.start/micros/scaleSeconds[TenMinutes]
	elapsed := presenceMemory * -math.Expm1(-float64(w)/presenceMemory)
	return float64(a.Presence.Windows) / math.Max(elapsed, 1)
}
