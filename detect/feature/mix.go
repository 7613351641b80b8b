package feature

import (
	"math"

	"github.com/astray-dev/astray/models/proportion"
)

// What an agent does, by kind of operation, is a Dirichlet-multinomial (models/proportion): a day's shares scatter about the
// agent's own with a correlation that is learned, of the agent and of its peers. An operation that takes over is a Beta-Binomial count of one kind beyond its share, which is far sharper than the
// distance of the whole mix: an agent that turns to one thing moves one share by a lot and all others by a little.
// Recent days are set against those before them, so that a slow turn is not its own baseline.
const (
	mixBins = 16
	// leastMixEvents is how many operations make a day that can be compared or learned.
	leastMixEvents, leastLearned = 50, 10
	// leastTurn is from how many on an agent's turn tells its peers that they are not alone.
	leastTurn = 20
	// mixMemory is after how many days an old one has lost its weight.
	mixMemory = 14
	// A day is learned with each share at most mixCap deviations above what it was: who turns slowly is not followed.
	mixCap = 3
	// mixPeers is how many days of an agent's own what its cohort does is worth, mixBlank the share of all that is spread
	// evenly over the kinds.
	mixPeers, mixBlank = 0.25, 0.02
	// mixPrior is how many days of its own outweigh how much the days of its peers scatter, maxScatter the most a day counts
	// for in that, as a multiple of what is known.
	mixPrior, maxScatter = 4, 6
	// A turn is to do more of a kind, not less of all others: at least leastMore times as many as on the days before. And
	// it is to something that the agent did before, in leastShare of its operations, but not in mostShare of them: what is
	// new to it is another question, and it cannot turn to what it does anyway.
	leastMore, leastShare, mostShare = 2, 0.003, 0.5
	// usualScatter is the correlation within a day before any is known, leastScatter the least.
	usualScatter, leastScatter = 0.03, 0.005
)

// mix is what an agent does, by kind of operation: the open day, the one before it, and what is normal.
type mix struct {
	Day, Last        [mixBins]uint16
	Base             [mixBins]float32 // shares, of the days before the last
	Days             float32          // days in Base
	Scatter          float32          // mean of the days' correlations
	Compared         float32          // days in Scatter
	Count, LastCount uint32
	Size             float32 // mean logarithm of the days' operations
	Known            uint16  // kinds that the agent is known to have turned to, or has only begun with
	Told, LastTold   bool    // the day has had an alert
}

// mixed is what is normal for a group: its agents' shares and how much their days scatter.
type mixed struct {
	Share   [mixBins]float32
	Days    float32
	Scatter float32
	N       float32
}

// add counts an operation of the open day and returns its kind.
func (m *mix) add(h uint64) int {
	i := int(h>>33) % mixBins
	if m.Day[i] == math.MaxUint16 {
		m.Count = 0
		for j := range m.Day {
			m.Day[j] /= 2
			m.Count += uint32(m.Day[j])
		}
	}
	m.Day[i]++
	m.Count++
	return i
}

// minMixDays is how many days must be known before another is compared with them.
const minMixDays = 2

// known is how many days there are to compare the open one with.
func (m *mix) known() float32 {
	if m.LastCount >= leastLearned {
		return m.Days + 1
	}
	return m.Days
}

// Compared reports whether the agent's day before this one was compared with those before it.
func (a *Agent) Compared() bool { return a.Mix.known() > minMixDays }

// share is what part of the agent's operations is of a kind, and how many days that rests on; last says whether the day
// before the open one is part of it.
func (m *mix) share(i int, last bool, peers *mixed) (p, days float64) {
	days = float64(m.Days)
	p = float64(m.Base[i]) * days
	if last && m.LastCount >= leastLearned {
		p += float64(m.Last[i]) / float64(m.LastCount)
		days++
	}
	w := mixBlank
	p += mixBlank / mixBins
	if peers.Days > 0 {
		p += mixPeers * float64(peers.Share[i])
		w += mixPeers
	}
	return p / (days + w), days
}

// scatter is the correlation of operations within a day.
func (m *mix) scatter(peers *mixed) float64 {
	prior := usualScatter
	if peers.N > 0 {
		prior = proportion.Shrunk(float64(peers.Scatter), float64(peers.N), usualScatter, mixPrior)
	}
	return math.Max(proportion.Shrunk(float64(m.Scatter), float64(m.Compared), prior, mixPrior), leastScatter)
}

// own is the agent's own share of a kind, nobody else's.
func (m *mix) own(i int) float64 {
	if m.Days < 1 && m.LastCount > 0 {
		return float64(m.Last[i]) / float64(m.LastCount)
	}
	return float64(m.Base[i])
}

// Turn is how many of an agent's latest operations are of one kind, and what was to be expected.
type Turn struct {
	Count, Events float64 // of the kind, and of all
	Share         float64 // of the kind, by the days before
	Scatter       float64 // correlation of operations within a day, the doubt about the share included
	Days          int     // that Count and Events are of
	Kind          int
}

// Tells reports whether there are enough operations to judge the agent by; fewer still speak for its peers.
func (t *Turn) Tells() bool { return t.Events >= leastMixEvents }

// Deviations is by how many standard deviations the count is above what was to be expected.
func (t *Turn) Deviations() float64 {
	return proportion.Deviations(t.Count, t.Events, t.Share, t.Scatter)
}

// turns weighs one kind of operation: of the open day, and of it and the day before. What an alert has told is no evidence
// once more.
func (m *mix) turns(i int, peers *mixed) (t [2]Turn, n int) {
	if m.Told || m.Known&(1<<i) != 0 || m.known() < minMixDays || m.Count < leastTurn {
		return t, 0
	}
	own, size := m.own(i), math.Exp(float64(m.Size))
	if m.Days < 1 {
		size = float64(m.LastCount)
	}
	k := float64(m.Day[i])
	if own < leastShare || own > mostShare || k < leastMore*own*size {
		return t, 0
	}
	rho := m.scatter(peers)
	p, days := m.share(i, !m.LastTold, peers)
	t[0] = Turn{k, float64(m.Count), p, math.Min(rho*(1+1/days), 0.5), 1, i}
	n = 1
	if k += float64(m.Last[i]); m.Days >= 1 && m.LastCount >= leastMixEvents && !m.LastTold && k >= 2*leastMore*own*size {
		p, days = m.share(i, false, peers)
		// Two days scatter as one does, and half as much.
		t[1] = Turn{k, float64(m.Count) + float64(m.LastCount), p, math.Min(rho*(0.5+1/days), 0.5), 2, i}
		n = 2
	}
	return t, n
}

// usual is the share of a kind in a day of n operations that is so many deviations above the mean.
func (m *mix) usual(i int, n, scatter, deviations float64, peers *mixed) float64 {
	p, _ := m.share(i, m.Days < 1, peers)
	return proportion.Usual(n, p, scatter, deviations)
}

// close ends the open day: the one before it is learned, as it is when trusting.
func (m *mix) close(peers, fleet *mixed, trusting bool) {
	if n := float64(m.Count); n >= leastLearned && m.known() >= 1 {
		// What was told, and what is new, is known until it is no more than is usual.
		scatter := m.scatter(peers)
		for i, c := range m.Day {
			switch {
			case float64(c)/n <= m.usual(i, n, scatter, 1, peers):
				m.Known &^= 1 << i
			case m.Told || m.own(i) < leastShare && float64(c)/n > m.usual(i, n, scatter, mixCap, peers):
				m.Known |= 1 << i
			}
		}
	}
	if n := float64(m.LastCount); n >= leastLearned {
		scatter := 0.0
		if m.Days >= 1 {
			scatter = m.scatter(peers)
			// How far the day was from those before it.
			var far proportion.Pearson
			for i, c := range m.Last {
				if m.Base[i] > 0 || c > 0 {
					p, _ := m.share(i, false, peers)
					far.Add(float64(c), n, p)
				}
			}
			if day, ok := far.Scatter(n, float64(m.Days)); ok {
				most := maxScatter * scatter
				if trusting {
					most = 1
				}
				day = math.Min(day, most)
				m.Compared = min(m.Compared+1, mixMemory)
				m.Scatter += (float32(day) - m.Scatter) / m.Compared
				peers.scattered(day)
				if peers != fleet {
					fleet.scattered(day)
				}
			}
		}
		m.Days = min(m.Days+1, mixMemory)
		m.Size += (float32(math.Log1p(n)) - m.Size) / m.Days
		a, total := 1/m.Days, float32(0)
		for i, c := range m.Last {
			x := float64(c) / n
			if m.Days > 1 && !trusting {
				x = math.Min(x, m.usual(i, n, scatter, mixCap, peers))
			}
			m.Base[i] += a * (float32(x) - m.Base[i])
			total += m.Base[i]
		}
		for i := range m.Base {
			m.Base[i] /= max(total, 1e-6)
		}
		peers.learn(&m.Last, n)
		if peers != fleet {
			fleet.learn(&m.Last, n)
		}
	}
	if m.Count > 0 {
		m.Last, m.LastCount, m.LastTold = m.Day, m.Count, m.Told
	}
	m.Day, m.Count, m.Told = [mixBins]uint16{}, 0, false
}

// peerDays is how many days of agents a group remembers.
const peerDays = 2000

func (p *mixed) scattered(day float64) {
	p.N = min(p.N+1, peerDays)
	p.Scatter += (float32(day) - p.Scatter) / p.N
}

func (p *mixed) learn(day *[mixBins]uint16, n float64) {
	p.Days = min(p.Days+1, peerDays)
	for i, c := range day {
		p.Share[i] += (float32(float64(c)/n) - p.Share[i]) / p.Days
	}
}

// loosen makes the ways of a new version be learned anew; how much its days scatter stays.
func (m *mix) loosen() {
	*m = mix{Scatter: m.Scatter, Compared: m.Compared, Day: m.Day, Count: m.Count, Told: true}
}
