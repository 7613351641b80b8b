// Package calibrate turns a detector's raw scores into honest ones.
//
// A raw score is −log10 of the smallest tail probability among a detector's features and windows. Traffic is
// never quite what the model says, and many windows are looked at in a day, so raw scores are too large. What
// people budget is alerts per agent-day; the unit here is therefore the largest raw score an agent reaches in a
// day. Its distribution over benign agent-days is learned, and the calibrated p-value of a score is the share of
// agent-days that reach it.
//
// The body is a histogram. The tail is that of the tenth of the agent-days with the largest scores (of those that have
// any, if they are fewer): exponential in the raw score — a Pareto tail of the p-value, the generalised Pareto
// distribution with shape 0 — with a scale from its quantiles (Pickands 1975; Siffer et al. 2017, "Anomaly
// Detection in Streams with Extreme Value Theory"). The uppermost part is left out of the fit. With little data
// the model's own word, corrected for the number of windows in a day, is a prior worth priorDays agent-days.
package calibrate

import (
	"encoding/binary"
	"errors"
	"math"
)

const (
	step      = 0.25
	bins      = 160 // raw scores to 40; larger ones are in the last bin
	priorDays = 100
	// tests is about how many nearly independent looks a detector takes at an agent in a day.
	tests = 200
	// fewScores is how many scores above nothing it takes to fit a tail.
	fewScores = 5
	// forget is after how many agent-days an old one has lost its weight.
	forget = 50_000
)

// Tail is the calibration of one detector.
type Tail struct {
	count [bins]float64
	total float64
	early int // agent-days of the first day of a stream among them, when everything was new
	first [bins]uint32
	// Derived from count at the last refit.
	knee       float64 // raw score where the exponential tail begins
	kneeP      float64
	scale      float64 // mean excess
	sinceRefit int
}

// Learn adds the largest raw score of one agent-day.
func (t *Tail) Learn(raw float64) {
	i := min(int(math.Max(raw, 0)/step), bins-1)
	if t.total >= forget {
		for j := range t.count {
			t.count[j] *= 0.5
		}
		t.total *= 0.5
	}
	t.count[i]++
	t.total++
	t.dropEarly()
	if t.sinceRefit++; float64(t.sinceRefit) >= 1+t.total/50 {
		t.refit()
	}
}

// LearnEarly adds an agent-day of a stream's first day. It serves until as many later ones are known.
func (t *Tail) LearnEarly(raw float64) {
	t.first[min(int(math.Max(raw, 0)/step), bins-1)]++
	t.early++
	t.Learn(raw)
}

// dropEarly forgets the first day once it is outweighed.
func (t *Tail) dropEarly() {
	if t.early == 0 || t.total < 2*float64(t.early) {
		return
	}
	for i, c := range t.first {
		t.count[i] = math.Max(t.count[i]-float64(c), 0)
		t.first[i] = 0
	}
	t.total -= float64(t.early)
	t.early = 0
}

// quantile is the raw score that a share q of agent-days stays below.
func (t *Tail) quantile(q float64) float64 {
	below := 0.0
	for i, c := range t.count {
		if below+c >= q*t.total && c > 0 {
			return step * (float64(i) + (q*t.total-below)/c)
		}
		below += c
	}
	return step * bins
}

func (t *Tail) refit() {
	t.sinceRefit = 0
	positive := t.total - t.count[0]
	share := math.Min(0.1, positive/t.total)
	if positive < fewScores {
		// Hardly anything was ever said: what is said is as rare as it says, no more.
		t.knee, t.kneeP, t.scale = 0, (positive+0.5)/(t.total+1), 1/math.Ln10
		return
	}
	// For an exponential the distance of two quantiles is scale·ln of the ratio of their tails. The uppermost part
	// of the tail is left out: that is where the attacks are.
	lo, mid, hi := t.quantile(1-share), t.quantile(1-share/4), t.quantile(1-share/10)
	t.scale = math.Max(((mid-lo)/math.Log(4)+(hi-lo)/math.Log(10))/2, 1/math.Ln10)
	t.knee, t.kneeP = mid, share/4
}

// P is the share of benign agent-days that reach the raw score.
func (t *Tail) P(raw float64) float64 {
	if raw <= 0 {
		return 1
	}
	prior := 1 - math.Exp(-tests*math.Pow(10, -raw))
	if raw > 10 {
		prior = tests * math.Pow(10, -raw)
	}
	if t.total < 1 || t.scale == 0 {
		return prior
	}
	var seen float64
	if raw > t.knee {
		seen = t.kneeP * math.Exp(-(raw-t.knee)/t.scale)
	} else {
		at := int(raw / step)
		for i := at; i < bins; i++ {
			seen += t.count[i]
		}
		if at < bins {
			seen -= t.count[at] * (raw/step - float64(at))
		}
		seen = math.Max(seen/t.total, t.kneeP)
	}
	w := t.total / (t.total + priorDays)
	// Geometric: in the far tail an arithmetic mean would be the larger of the two, whatever the weights.
	return math.Min(1, math.Exp(w*math.Log(math.Max(seen, 1e-320))+(1-w)*math.Log(math.Max(prior, 1e-320))))
}

// Days is the number of agent-days learned from, with forgetting.
func (t *Tail) Days() float64 { return t.total }

// Append writes the tail's state.
func (t *Tail) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.sinceRefit))
	dst = binary.AppendUvarint(dst, uint64(t.early))
	for _, v := range [...]float64{t.total, t.knee, t.kneeP, t.scale} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	for _, c := range t.first {
		dst = binary.LittleEndian.AppendUint32(dst, c)
	}
	for _, v := range t.count {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v)))
	}
	return dst
}

// Decode reads what Append wrote and returns the rest.
func (t *Tail) Decode(src []byte) ([]byte, error) {
	n, k := binary.Uvarint(src)
	if k <= 0 {
		return nil, errors.New("calibration state: too short")
	}
	early, l := binary.Uvarint(src[k:])
	if l <= 0 || len(src) < k+l+4*8+2*bins*4 {
		return nil, errors.New("calibration state: too short")
	}
	t.early = int(early)
	src = src[k+l:]
	t.sinceRefit = int(n)
	for _, v := range [...]*float64{&t.total, &t.knee, &t.kneeP, &t.scale} {
		*v = math.Float64frombits(binary.LittleEndian.Uint64(src))
		src = src[8:]
	}
	for i := range t.first {
		t.first[i] = binary.LittleEndian.Uint32(src)
		src = src[4:]
	}
	for i := range t.count {
		t.count[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src)))
		src = src[4:]
	}
	return src, nil
}
