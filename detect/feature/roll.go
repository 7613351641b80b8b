package feature

import (
	"math"

	"github.com/astray-dev/astray/models/rate"
)

// Report marks the agent's open ten-minute window as told in an alert. What has been told is neither learned as
// normal nor evidence a second time: when the window closes, its excess is taken off the longer ones.
func (a *Agent) Report() { a.Reported |= 1; a.Mix.Told = true }

// ReportDay notes that an alert tells of the agent's day: what it turned to or took up is known from now on.
func (a *Agent) ReportDay() {
	a.Mix.Told, a.TakeUp, a.Creeps = true, takeUp{}, [len(creeping)]creep{}
}

// Pardon takes back Report for a window that was open at the time: it is learned as it is.
func (a *Agent) Pardon(until int64) {
	if until/micros/scaleSeconds[TenMinutes] >= a.Window[TenMinutes] {
		a.Reported &^= 1
	}
	a.dirty = true
}

// Trust makes the store learn whatever it sees as it is: no window and no share is capped, what was told in an alert is not
// taken off, and a surprising value is its group's own at once. It is for measuring what these are worth against who
// poisons what is learned.
func (s *Store) Trust() { s.trusting = true }

// partOfDay is how many seconds of a stream's first day may be missing for it to count as one.
const partOfDay = 2 * 3600

// roll closes the open window of one scale and opens window w.
func (s *Store) roll(a *Agent, sc Scale, w int64) {
	first, closed := a.Window[sc] < 0, a.Window[sc]
	a.Window[sc] = w
	if sc == Hour {
		for c := a.Cohort; c != nil; c = c.parent {
			c.tides.attend(w)
			c.seasons.turn(w)
		}
	}
	if sc < Day {
		a.Favourite[sc].N = 0
	}
	for i, of := range carriedScales {
		if sc == of {
			a.Carried[i] = carried{}
		}
	}
	if first {
		return
	}
	if first := s.start / micros; sc == Day && closed == first/scaleSeconds[Day] && first%scaleSeconds[Day] > partOfDay {
		// A stream that began in the middle of a day: to learn that part would make every full day look busy.
		for i := span[sc][0]; i < span[sc][1]; i++ {
			a.Cells[i].Cur = 0
		}
		return
	}
	c := a.Cohort
	n := min(a.N[sc], memory[sc]-1) + 1
	share := 1 / n
	// A cohort listens to each of its agents, the busy ones and the long known a little more.
	weight := float32(1 / math.Sqrt(1+float64(a.N[sc])))
	reported := a.Reported&1 != 0 && sc <= TenMinutes && !s.trusting
	was, is := c.seasons.worth(sc, closed), c.seasons.worth(sc, w)
	busy := cellOf[Events][sc]
	for i := span[sc][0]; i < span[sc][1]; i++ {
		if a.Live&(1<<i) == 0 {
			continue
		}
		cl := &a.Cells[i]
		if plan[i].Feature.discovery() && (closed+1)*scaleSeconds[sc] <= a.First/micros+firstDay {
			cl.Cur = 0
			continue
		}
		was, is := was, is
		if !plan[i].Feature.rhythmic() {
			was, is = 1, 1
		}
		m, variance := predict(i, Moments{a.N[sc], cl.Mean, cl.Var}, s.prior(a, i), was)
		x := cl.Cur
		size := plan[i].Feature.size()
		usual := float32(m)
		if size {
			x = float32(math.Log1p(float64(x)))
			usual = float32(math.Expm1(m))
		}
		if sc == Hour && a.N[Hour] >= creepHours {
			for k, f := range creeping {
				if plan[i].Feature == f {
					a.Creeps[k].learn(float64(x), m, variance)
				}
			}
		}
		if reported {
			if excess := cl.Cur - usual; excess > 0 && sc == TenMinutes {
				for _, longer := range [...]Scale{Hour, Day} {
					if j := cellOf[plan[i].Feature][longer]; j >= 0 {
						a.Cells[j].Cur = max(a.Cells[j].Cur-excess, 0)
					}
				}
			}
			x = min(x, float32(m))
		}
		if limit := float32(m + capSigmas*math.Sqrt(variance) + capFloor); x > limit && a.N[sc] >= 1 && !s.trusting {
			x = limit
		}
		if i == int(busy) && a.N[sc] >= 1 && !s.Young() {
			c.seasons.learn(sc, closed, float64(x), m/was, float64(c.tides.cur))
		}
		share, weight := share, weight
		if size {
			x -= float32(math.Log(was))
		} else if was != 1 {
			// By exposure: what a window of a quiet hour says is worth less.
			x /= float32(was)
			share = float32(was) / (n - 1 + float32(was))
			weight *= float32(was)
		}
		rate.Learn(&cl.Mean, &cl.Var, x, share)
		cl.Cur = 0
		c.pool.Sum[i] += weight * x
		c.pool.Square[i] += weight * x * x
		s.fleet.pool.Sum[i] += weight * x
		s.fleet.pool.Square[i] += weight * x * x
		m, variance = predict(i, Moments{n, cl.Mean, cl.Var}, s.prior(a, i), is)
		cl.Gate = float32(m + gateSigmas*math.Sqrt(variance))
		if size {
			cl.Gate = float32(math.Expm1(math.Min(float64(cl.Gate), 80)))
		}
	}
	a.N[sc] = n
	c.pool.close(sc, weight)
	s.fleet.pool.close(sc, weight)
	c.dirty, s.fleet.dirty = true, true
	switch sc {
	case TenMinutes:
		a.Reported &^= 1
	case Hour:
		if !a.closed {
			a.closed = true
			s.closed = append(s.closed, a)
		}
	case Day:
		for p := range NumOrigins {
			c.origins.Days[p]++
			s.fleet.origins.Days[p]++
		}
	}
}

// prior is what the agent's cohort says, itself shrunk to the fleet.
func (s *Store) prior(a *Agent, i int) Moments {
	return Mix(a.Cohort.pool.moments(i), s.fleet.pool.moments(i))
}

// Closed yields the agents whose hour has closed since the last call.
func (s *Store) Closed(yield func(*Agent)) {
	for _, a := range s.closed {
		a.closed = false
		yield(a)
	}
	clear(s.closed)
	s.closed = s.closed[:0]
}

// loosen makes what was learned count for a quarter.
func (a *Agent) loosen() {
	for sc := range a.N {
		a.N[sc] /= 4
	}
	a.Mix.loosen()
	a.Creeps = [len(creeping)]creep{}
}
