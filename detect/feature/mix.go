package feature

import "math"

const (
	mixBins  = 12
	mixWorth = 40
)

// mix is what an agent does, by kind of operation: the open day, and what is normal.
type mix struct {
	Day   [mixBins]uint16
	Base  [mixBins]float32 // shares
	Disp  float32          // dispersion of a day's G statistic about its degrees of freedom
	Days  float32
	Count uint32 // events of the open day
}

// gStatistic is twice the log-likelihood ratio of the counts against expected shares.
func gStatistic(count []uint16, n float64, share func(i int) float64) float64 {
	g := 0.0
	for i, c := range count {
		if c > 0 {
			g += float64(c) * math.Log(float64(c)/(n*share(i)))
		}
	}
	return 2 * g
}

func (m *mix) add(i int) {
	m.Count++
	if m.Day[i] == math.MaxUint16 {
		return
	}
	m.Day[i]++
}

// close learns the day that has ended.
func (m *mix) close() {
	total := 0.0
	for _, c := range m.Day {
		total += float64(c)
	}
	if total >= 10 {
		g, df := m.statistic(total)
		g /= 1 + total/mixWorth
		if m.Days >= 2 {
			m.Disp += (float32(g/df) - m.Disp) / min(m.Days, 10)
		}
		m.Days++
		a := 1 / min(m.Days, 14)
		for i, c := range m.Day {
			m.Base[i] += a * (float32(float64(c)/total) - m.Base[i])
		}
	}
	m.Day = [mixBins]uint16{}
	m.Count = 0
}

// minMixDays is how many days must be known before another is compared with them.
const minMixDays = 3

// Compared reports whether the agent's day before this one was compared with those before it.
func (a *Agent) Compared() bool { return a.Mix.Days > minMixDays }

func (m *mix) statistic(total float64) (g, df float64) {
	live := 0
	for i := range m.Base {
		if m.Base[i] > 0 || m.Day[i] > 0 {
			live++
		}
	}
	g = gStatistic(m.Day[:], total, func(i int) float64 { return (float64(m.Base[i]) + 0.5/mixBins/50) / (1 + 0.5/50) })
	return g, float64(max(live-1, 1))
}
