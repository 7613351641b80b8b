// Package evt turns raw scores into honest p-values: it learns how large a detector's scores get on ordinary
// traffic, which is never quite what the detector's model supposes.
//
// Null: scores are independent and, above a high threshold, their excess is generalised Pareto (Balkema & de Haan
// 1974, Pickands 1975), as in SPOT (Siffer et al., "Anomaly detection in streams with extreme value theory", KDD
// 2017). Different from SPOT: scores go into a histogram with geometric bins instead of a list of peaks, so that
// learning is O(1), states merge by adding and fade by scaling; the fit is a penalised likelihood of the binned
// counts, which shrinks to the prior while there is little data; and it is trimmed: up to a share of Contamination of
// the scores may be attacks, so the fit looks only below the score that the top share exceeds, by the likelihood
// truncated there. Scores above have no influence at all, however large and many within that share.
// The price: on attack-free scores p-values of 1e-4 are right within a factor of three instead of two.
//
// Prior: the detector's model is right, which makes a score of −ln p exponential with mean 1 (shape 0, scale 1).
// Units: natural logarithms, −ln p of the raw p-value (a score in decades times ln 10); from 0 to about 1,000.
// Cost: 648 bytes; 12 ns to learn, about 2.5 ms to fit (do it every few thousand scores), 10 to 40 ns for a
// p-value.
package evt

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/astray-dev/astray/models/tail"
)

// Bins is how many bins a histogram has: bin i is for scores from 2^(i/16)−1 to 2^((i+1)/16)−1, the last for all above.
const (
	Bins      = 161
	perOctave = 16
)

// Histogram counts scores. The zero value is empty.
type Histogram struct {
	Count [Bins]float32
	Total float32
}

// Learn adds a score with a weight, 1 as a rule. Scores that depend on each other, of one agent in neighbouring
// windows, are better given once, by their largest, than each.
func (h *Histogram) Learn(score, weight float64) {
	h.Count[bin(score)] += float32(weight)
	h.Total += float32(weight)
}

// Forget keeps a share of the past (see rate.Keep).
func (h *Histogram) Forget(keep float64) {
	h.Total = 0
	for i := range h.Count {
		h.Count[i] = float32(float64(h.Count[i]) * keep)
		h.Total += h.Count[i]
	}
}

// Merge adds the scores of another histogram.
func (h *Histogram) Merge(o *Histogram) {
	for i := range h.Count {
		h.Count[i] += o.Count[i]
	}
	h.Total += o.Total
}

func bin(score float64) int {
	if !(score > 0) {
		return 0
	}
	if score > 2000 { // whatever it is, infinity included
		return Bins - 1
	}
	return min(int(perOctave*math.Log2(1+score)), Bins-1)
}

func edge(i int) float64 { return math.Exp2(float64(i)/perOctave) - 1 }

// Prior says what to believe without data, and what data to distrust.
type Prior struct {
	// Weight is how many scores the prior counts for; the data speak once there are several times as many. 200
	// suits: a scale known to some ten percent.
	Weight float64
	// Scale is the mean excess, 1 where the raw p-values are believed.
	Scale float64
	// Contamination is the largest share of scores that may be attacks. 0 believes all scores, 0.02 suits live traffic.
	Contamination float64
}

// Tail is a fit: the survival function of ordinary scores.
type Tail struct {
	Threshold    float64 // where the Pareto tail begins
	LogAbove     float64 // ln P(score ≥ Threshold)
	Shape, Scale float64
	logBody      [Bins]float32 // ln P(score ≥ edge(i)), up to the threshold
	last         int           // the bin that the threshold is the lower edge of
}

// Fit is the tail under that prior.
func (h *Histogram) Fit(prior Prior) Tail {
	weight, scale := math.Max(prior.Weight, 1), prior.Scale
	if scale <= 0 {
		scale = 1
	}
	total := float64(h.Total)

	// The trim: at most the share of contamination lies from edge(top) on.
	top, over := Bins, 0.0
	for top > 1 && prior.Contamination > 0 && over+float64(h.Count[top-1]) <= prior.Contamination*total {
		top--
		over += float64(h.Count[top])
	}

	// The threshold: the largest edge with enough above it, a tenth of the scores that are left, 30 to 2,000 of them;
	// the more there are, the further out the tail begins. A trimmed tail shows its slope only over a longer stretch:
	// there it is a quarter, and twelve times what was trimmed if there is so much.
	// The first bin, where the abstentions are, is never part of it.
	left := total - over
	some := math.Max(0, left-float64(h.Count[0]))
	aim := math.Min(0.1*some, 2000)
	if top < Bins {
		aim = math.Min(math.Max(0.25*some, 12*over), 0.8*some)
	}
	aim = math.Max(aim, math.Min(30, 0.5*some))
	low, above := min(top, Bins-1), 0.0
	for low > 1 && above < aim {
		low--
		above += float64(h.Count[low])
	}
	if some == 0 {
		low = 1
	}

	t := Tail{Threshold: edge(low), last: low}
	// The prior's share of the scores beyond the threshold, exponential like all of it.
	priorAbove := weight * math.Exp(-t.Threshold/scale)
	t.Shape, t.Scale = h.pareto(low, top, scale, above, weight)
	// What was trimmed is replaced by what the fit says lies there.
	inside := 1.0
	if top < Bins {
		inside = -math.Expm1(tail.ParetoLogSF(edge(top)-t.Threshold, t.Shape, t.Scale))
	}
	clean := above / math.Max(inside, 1e-3)
	n := left - above + clean
	t.LogAbove = math.Log((clean + priorAbove) / (n + weight))
	sum := clean
	for i := low - 1; i >= 0; i-- {
		t.logBody[i+1] = float32(math.Log((sum + weight*math.Exp(-edge(i+1)/scale)) / (n + weight)))
		sum += float64(h.Count[i])
	}
	t.logBody[0] = 0
	t.logBody[low] = float32(t.LogAbove)
	return t
}

// pareto is the penalised likelihood's maximum over shape and scale for the counts of the bins from low to top,
// truncated at top. The penalties are those of a normal prior on the shape (mean 0, deviation 0.15, and never under
// −0.1: no score is impossible) and on the logarithm of the scale (deviation 1/√(a tenth of the weight)).
func (h *Histogram) pareto(low, top int, scale, above, weight float64) (shape, sigma float64) {
	u := edge(low)
	precision := weight / 10
	objective := func(shape, sigma float64) float64 {
		d := math.Log(sigma / scale)
		sum := -shape*shape/(2*0.15*0.15) - precision*d*d/2
		if above == 0 {
			return sum
		}
		before := 1.0
		for i := low; i < top; i++ {
			after := 0.0
			if i < Bins-1 {
				after = math.Exp(tail.ParetoLogSF(edge(i+1)-u, shape, sigma))
			}
			if c := float64(h.Count[i]); c > 0 {
				sum += c * math.Log(math.Max(before-after, 1e-300))
			}
			before = after
		}
		if top < Bins {
			sum -= above * math.Log(math.Max(-math.Expm1(tail.ParetoLogSF(edge(top)-u, shape, sigma)), 1e-300))
		}
		return sum
	}
	best := math.Inf(-1)
	for x := -0.1; x < 0.81; x += 0.05 {
		a, b := math.Log(scale/50), math.Log(scale*50)
		for range 24 { // golden section
			c, d := b-(b-a)/math.Phi, a+(b-a)/math.Phi
			if objective(x, math.Exp(c)) > objective(x, math.Exp(d)) {
				b = d
			} else {
				a = c
			}
		}
		s := math.Exp((a + b) / 2)
		if v := objective(x, s); v > best {
			best, shape, sigma = v, x, s
		}
	}
	if math.Abs(shape) < 1e-9 {
		shape = 0
	}
	return shape, sigma
}

// LogSF is ln P(an ordinary score is at least this): the calibrated p-value. Where the shape is negative it goes on
// beyond the end of the Pareto tail as an exponential, so that it is finite and keeps falling.
func (t *Tail) LogSF(score float64) float64 {
	if !(score > 0) {
		return 0
	}
	if x := score - t.Threshold; x >= 0 {
		if t.Shape < 0 {
			if end := -0.9 * t.Scale / t.Shape; x > end {
				return t.LogAbove + tail.ParetoLogSF(end, t.Shape, t.Scale) - (x-end)/(0.1*t.Scale)
			}
		}
		return t.LogAbove + tail.ParetoLogSF(x, t.Shape, t.Scale)
	}
	i := min(bin(score), t.last-1)
	from, to := edge(i), edge(i+1)
	w := math.Min(math.Max((score-from)/(to-from), 0), 1)
	return float64(t.logBody[i])*(1-w) + float64(t.logBody[i+1])*w
}

// Quantile is the score that an ordinary one exceeds with probability p: the threshold of a detector.
func (t *Tail) Quantile(p float64) float64 {
	low, high := 0.0, 1.0
	for high < 1e9 && t.LogSF(high) > math.Log(p) {
		high *= 2
	}
	for range 60 {
		if mid := (low + high) / 2; t.LogSF(mid) > math.Log(p) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// Append adds a snapshot to b: the bins up to the last one in use.
func (h *Histogram) Append(b []byte) []byte {
	n := Bins
	for n > 0 && h.Count[n-1] == 0 {
		n--
	}
	b = append(b, byte(n))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(h.Total))
	for _, c := range h.Count[:n] {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(c))
	}
	return b
}

// Decode reads what Append wrote and returns the rest of b.
func (h *Histogram) Decode(b []byte) ([]byte, error) {
	if len(b) < 5 || int(b[0]) > Bins || len(b) < 5+4*int(b[0]) {
		return b, fmt.Errorf("evt: a histogram in %d bytes", len(b))
	}
	var d Histogram
	n := int(b[0])
	d.Total = math.Float32frombits(binary.LittleEndian.Uint32(b[1:]))
	for i := range n {
		d.Count[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[5+4*i:]))
		if !(d.Count[i] >= 0 && d.Count[i] <= math.MaxFloat32) {
			return b, fmt.Errorf("evt: bin %d holds %v scores", i, d.Count[i])
		}
	}
	if !(d.Total >= 0 && d.Total <= math.MaxFloat32) {
		return b, fmt.Errorf("evt: %v scores", d.Total)
	}
	*h = d
	return b[5+4*n:], nil
}
