// Package evt turns raw scores into honest ones: it learns how large the scores of one kind get on ordinary traffic,
// which is never quite what the model behind them supposes.
//
// A raw score is −log10 of the tail probability that a model gives. Many are looked at in a period (of an agent, a day),
// and what is learned is the largest of each period; the p-value of a score is the share of periods that reach it.
//
// Null: the periods are independent. The body is a histogram. The tail is that of the tenth of the periods with the
// largest scores (of those that have any, if they are fewer): generalised Pareto beyond a knee (Balkema & de Haan 1974,
// Pickands 1975), exponential in the score, which is a Pareto tail of the p-value, unless Shape says otherwise; its
// scale comes from quantiles (Pickands 1975). As in SPOT (Siffer et al., "Anomaly detection in streams with extreme
// value theory", KDD 2017) the tail is fitted as the stream goes; other than there the scores are counted in bins, so
// that learning is O(1) and the state fades by scaling, and the fit is trimmed: the uppermost hundredth of the periods is
// left out, for that is where the attacks are.
//
// Prior: the model's own word, corrected for the looks of a period, 1−exp(−Looks·10^−score). It is worth PriorWeight
// periods. Both are joined geometrically: in the far tail an arithmetic mean would be the larger of the two, whatever
// the weights.
//
// Units: decades, −log10 p, from 0 to 40; larger ones are told apart by the fit alone. Cost: 1.4 KB; 20 ns to learn, a
// refit now and then included; 50 ns for a p-value in the tail, up to ten times as much in the body.
package evt

import (
	"encoding/binary"
	"errors"
	"math"
)

const (
	step = 0.25
	bins = 160 // scores to 40; larger ones are in the last bin
	// PriorWeight is how many periods the model's own word is worth.
	PriorWeight = 100
	// usualLooks is what Looks is when nothing is said.
	usualLooks = 200
	// fewScores is how many scores above nothing it takes to fit a tail.
	fewScores = 5
	// Memory is how many periods weigh at most: then, and with every half as many more, all before weigh half.
	Memory = 50_000
)

// Bin is the place of a score in the histogram, all that need be remembered of a period.
func Bin(score float64) uint8 { return uint8(min(int(math.Max(score, 0)/step), bins-1)) }

// Score is the least score of a bin.
func Score(bin uint8) float64 { return step * float64(bin) }

// Tail is what is known of the scores of one kind. The zero value knows nothing and takes the model's word.
type Tail struct {
	// Looks is about how many nearly independent looks are taken in a period, usualLooks when it is 0.
	Looks float64
	// Shape is that of the generalised Pareto distribution beyond the knee: 0 is exponential, above it heavier. It cannot be
	// estimated where the attacks are; what benign periods show is given. It is no part of the state.
	Shape float64
	// Heavy is how many scales beyond the knee the tail is as heavy as that; it is exponential further out.
	Heavy float64

	count [bins]float32
	total float64
	early int // periods among them of when everything was new
	first [bins]uint32
	// Derived from count at the last refit.
	knee       float64 // score where the tail begins
	kneeP      float64
	scale      float64 // mean excess
	sinceRefit int
}

// Learn adds the largest score of one period.
func (t *Tail) Learn(score float64) {
	if t.total >= Memory {
		for j := range t.count {
			t.count[j] *= 0.5
		}
		t.total *= 0.5
	}
	t.count[Bin(score)]++
	t.total++
	t.dropEarly()
	if t.sinceRefit++; float64(t.sinceRefit) >= 1+t.total/50 {
		t.refit()
	}
}

// LearnEarly adds a period of when everything was new. It serves until as many later ones are known.
func (t *Tail) LearnEarly(score float64) {
	t.first[Bin(score)]++
	t.early++
	t.Learn(score)
}

// dropEarly forgets the early periods once they are outweighed.
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

// quantile is the score that a share q of the periods stays below.
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

// SF is the share of ordinary periods that reach the score: its calibrated p-value.
func (t *Tail) SF(score float64) float64 {
	if score <= 0 {
		return 1
	}
	looks := t.Looks
	if looks == 0 {
		looks = usualLooks
	}
	itself := math.Exp(-score * math.Ln10) // what the score says, as a probability
	prior := -math.Expm1(-looks * itself)
	if t.total < 1 || t.kneeP <= 0 { // not fitted yet
		return prior
	}
	if t.scale == 0 {
		// Never rarer than the model says of one look: what comes to many at once for the first time is no rarity.
		return math.Max(math.Min(t.kneeP, prior), itself)
	}
	var seen float64
	if score > t.knee {
		seen = t.kneeP * math.Exp(-t.fall(score-t.knee))
	} else {
		at := int(score / step)
		for i := at; i < bins; i++ {
			seen += float64(t.count[i])
		}
		if at < bins {
			seen -= float64(t.count[at]) * (score/step - float64(at))
		}
		seen = math.Max(seen/t.total, t.kneeP)
	}
	w := t.total / (t.total + PriorWeight)
	return math.Min(1, math.Exp(w*math.Log(math.Max(seen, 1e-320))+(1-w)*math.Log(math.Max(prior, 1e-320))))
}

// Outstanding reports whether few periods have a score as large.
func (t *Tail) Outstanding(bin uint8) bool { return t.total >= 1 && bin > 0 && Score(bin) >= t.knee }

// Again is the probability that the next period of one source reaches the score when the largest of its n periods before
// was peak. The next of so many exchangeable periods exceeds all those before with probability 1/(n+1), however unlike
// others their source is (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"), and exceeds them by
// more as the tail falls.
func (t *Tail) Again(score float64, peak uint8, n int) float64 {
	known := Score(peak) + step
	if peak == bins-1 {
		known *= 10 // how large it was is not known
	}
	beyond := math.Max(score-known, 0)
	return math.Exp(-beyond/math.Max(t.scale, 1/math.Ln10)) / float64(n+1)
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

// Weight is the number of periods learned from, with forgetting.
func (t *Tail) Weight() float64 { return t.total }

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
	short := errors.New("evt: a state too short")
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
