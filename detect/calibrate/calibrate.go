// Package calibrate turns raw scores into honest ones.
//
// A raw score is −log10 of the tail probability that a model gives to one feature over one window length. Traffic is
// never quite what the model says, and many windows are looked at in a day, so raw scores are too large, by as much as
// the feature is unlike its model: what a rate of events does every day, a count of new services never does. Each
// feature at each window length is therefore calibrated by itself. What people budget is alerts per agent-day; the
// unit is the largest raw score an agent reaches in a day. Its distribution over benign agent-days is learned, and
// the calibrated p-value of a score is the share of agent-days that reach it.
//
// The body is a histogram. The tail is that of the tenth of the agent-days with the largest scores (of those that have
// any, if they are fewer): exponential in the raw score — a Pareto tail of the p-value, the generalised Pareto
// distribution with shape 0, unless Shape says otherwise — with a scale from its quantiles (Pickands 1975; Siffer et al. 2017, "Anomaly
// Detection in Streams with Extreme Value Theory"). The uppermost part is left out of the fit. With little data
// the model's own word, corrected for the number of windows in a day, is a prior worth PriorDays agent-days.
package calibrate

import (
	"encoding/binary"
	"errors"
	"math"
)

const (
	step = 0.25
	bins = 160 // raw scores to 40; larger ones are in the last bin
	// PriorDays is how many agent-days the model's own word is worth.
	PriorDays = 100
	// usualLooks is what Looks is when nothing is said.
	usualLooks = 200
	// fewScores is how many scores above nothing it takes to fit a tail.
	fewScores = 5
	// forget is after how many agent-days an old one has lost its weight.
	forget = 50_000
)

// Bin is the place of a raw score in a histogram: what is remembered of an agent's day.
func Bin(raw float64) uint8 { return uint8(min(int(math.Max(raw, 0)/step), bins-1)) }

// Raw is the least raw score of a bin.
func Raw(bin uint8) float64 { return step * float64(bin) }

// Tail is the calibration of one feature at one window length.
type Tail struct {
	// Looks is about how many nearly independent looks are taken at an agent in a day, usualLooks when it is 0.
	Looks float64
	// Shape is that of the generalised Pareto distribution beyond the knee: 0 is exponential, above it heavier. It cannot be
	// estimated where the attacks are; what benign worlds show is given. It is no part of the state.
	Shape float64
	// Heavy is how many scales beyond the knee the tail is as heavy as that; it is exponential further out.
	Heavy float64

	count [bins]float32
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
	if t.total >= forget {
		for j := range t.count {
			t.count[j] *= 0.5
		}
		t.total *= 0.5
	}
	t.count[Bin(raw)]++
	t.total++
	t.dropEarly()
	if t.sinceRefit++; float64(t.sinceRefit) >= 1+t.total/50 {
		t.refit()
	}
}

// LearnEarly adds an agent-day of a stream's first day. It serves until as many later ones are known.
func (t *Tail) LearnEarly(raw float64) {
	t.first[Bin(raw)]++
	t.early++
	t.Learn(raw)
}

// dropEarly forgets the first day once it is outweighed.
func (t *Tail) dropEarly() {
	if t.early == 0 || t.total < 2*float64(t.early) {
		return
	}
	for i, c := range t.first {
		t.count[i] = max(t.count[i]-float32(c), 0)
		t.first[i] = 0
	}
	t.total -= float64(t.early)
	t.early = 0
}

// quantile is the raw score that a share q of agent-days stays below.
func (t *Tail) quantile(q float64) float64 {
	below := 0.0
	for i, c := range t.count {
		if c := float64(c); below+c >= q*t.total && c > 0 {
			return step * (float64(i) + (q*t.total-below)/c)
		}
		below += float64(c)
	}
	return step * bins
}

func (t *Tail) refit() {
	t.sinceRefit = 0
	positive := t.total - float64(t.count[0])
	share := math.Min(0.1, positive/t.total)
	if positive < fewScores {
		// Hardly anything was ever said: what is said is as rare as it says, or as that is, no more.
		t.knee, t.kneeP, t.scale = 0, (positive+0.5)/(t.total+1), 0
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
	looks := t.Looks
	if looks == 0 {
		looks = usualLooks
	}
	prior := -math.Expm1(-looks * math.Pow(10, -raw))
	if t.total < 1 || t.kneeP <= 0 { // not fitted yet
		return prior
	}
	if t.scale == 0 {
		// Never rarer than the model says of one look: what comes to many at once for the first time is no rarity.
		return math.Max(math.Min(t.kneeP, prior), math.Pow(10, -raw))
	}
	var seen float64
	if raw > t.knee {
		seen = t.kneeP * math.Exp(-t.fall(raw-t.knee))
	} else {
		at := int(raw / step)
		for i := at; i < bins; i++ {
			seen += float64(t.count[i])
		}
		if at < bins {
			seen -= float64(t.count[at]) * (raw/step - float64(at))
		}
		seen = math.Max(seen/t.total, t.kneeP)
	}
	w := t.total / (t.total + PriorDays)
	// Geometric: in the far tail an arithmetic mean would be the larger of the two, whatever the weights.
	return math.Min(1, math.Exp(w*math.Log(math.Max(seen, 1e-320))+(1-w)*math.Log(math.Max(prior, 1e-320))))
}

// Outstanding reports whether few agents have a day with a score as large: what an agent is known for.
func (t *Tail) Outstanding(bin uint8) bool { return t.total >= 1 && bin > 0 && Raw(bin) >= t.knee }

// Again is the probability that a day of one agent reaches the raw score when the largest of its days before was peak.
// The next of so many exchangeable days exceeds all those before with probability 1/(days+1), however unlike others the
// agent is (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"), and exceeds them by more as the
// tail falls.
func (t *Tail) Again(raw float64, peak uint8, days int) float64 {
	known := Raw(peak) + step
	if peak == bins-1 {
		known *= 10 // how large it was is not known
	}
	beyond := math.Max(raw-known, 0)
	return math.Exp(-beyond/math.Max(t.scale, 1/math.Ln10)) / float64(days+1)
}

// fall is minus the logarithm of the share of what exceeds the knee that exceeds it by as much as beyond.
func (t *Tail) fall(beyond float64) float64 {
	z := beyond / t.scale
	if t.Shape <= 0 {
		return z
	}
	heavy := math.Min(z, t.Heavy)
	return math.Log1p(t.Shape*heavy)/t.Shape + z - heavy
}

// Days is the number of agent-days learned from, with forgetting.
func (t *Tail) Days() float64 { return t.total }

// Append writes the tail's state.
func (t *Tail) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.sinceRefit))
	dst = binary.AppendUvarint(dst, uint64(t.early))
	for _, v := range [...]float64{t.Looks, t.total, t.knee, t.kneeP, t.scale} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	// Most bins are empty: those that are not, by their place.
	for i := range t.count {
		if t.count[i] != 0 || t.first[i] != 0 {
			dst = append(dst, byte(i))
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(t.count[i]))
			dst = binary.AppendUvarint(dst, uint64(t.first[i]))
		}
	}
	return append(dst, bins)
}

// Decode reads what Append wrote and returns the rest.
func (t *Tail) Decode(src []byte) ([]byte, error) {
	short := errors.New("calibration state: too short")
	uvarint := func() (x uint64, ok bool) {
		x, n := binary.Uvarint(src)
		if n <= 0 {
			return 0, false
		}
		src = src[n:]
		return x, true
	}
	since, ok := uvarint()
	early, ok2 := uvarint()
	if !ok || !ok2 || len(src) < 5*8 {
		return nil, short
	}
	*t = Tail{sinceRefit: int(since), early: int(early), Shape: t.Shape, Heavy: t.Heavy}
	for _, v := range [...]*float64{&t.Looks, &t.total, &t.knee, &t.kneeP, &t.scale} {
		*v = math.Float64frombits(binary.LittleEndian.Uint64(src))
		src = src[8:]
	}
	for {
		if len(src) == 0 {
			return nil, short
		}
		i := src[0]
		src = src[1:]
		if i == bins {
			return src, nil
		}
		if i > bins || len(src) < 4 {
			return nil, short
		}
		t.count[i] = math.Float32frombits(binary.LittleEndian.Uint32(src))
		src = src[4:]
		n, ok := uvarint()
		if !ok {
			return nil, short
		}
		t.first[i] = uint32(n)
	}
}
