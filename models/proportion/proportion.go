// Package proportion predicts how many of the next n events are of a kind: denied, sent to a new destination, of an
// unusual class.
//
// Null: each event is of the kind with an unknown probability that changes slowly. Prior: a Beta distribution,
// usually the parent's posterior at a fixed weight. Predictive: the Beta-Binomial (Gelman et al., Bayesian Data
// Analysis, §2.4), its tail in logarithms. Forgetting: both counts fade together, which keeps the mean and widens
// the doubt; it also makes events that come in streaks less surprising, as they should be.
// Units: events. Cost: 8 bytes, 5 ns to learn, 230 ns for a tail of tens of events (see tail.BetaBinomialLogSF).
package proportion

import (
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/astray-dev/astray/models/tail"
)

// Beta is what is known of a proportion: Yes events of the kind and No others. The zero value knows nothing.
type Beta struct {
	Yes, No float32
}

// Learn forgets all but keep (0 to 1, see rate.Keep) of the past and adds what was seen.
func (b *Beta) Learn(yes, no, keep float64) {
	b.Yes = float32(float64(b.Yes)*keep + yes)
	b.No = float32(float64(b.No)*keep + no)
}

// Under is b with its parent as the prior, which may count for at most weight events.
func (b Beta) Under(parent Beta, weight float64) Beta {
	share := 1.0
	if n := float64(parent.Yes) + float64(parent.No); n > weight {
		share = weight / n
	}
	return Beta{
		Yes: float32(float64(b.Yes) + share*float64(parent.Yes)),
		No:  float32(float64(b.No) + share*float64(parent.No)),
	}
}

// Mean is the expected proportion; 0 when nothing is known.
func (b Beta) Mean() float64 {
	if n := float64(b.Yes) + float64(b.No); n > 0 {
		return float64(b.Yes) / n
	}
	return 0
}

// LogSF is ln P(K ≥ k) for the number K of the kind among the next n events; 0 where there is no basis. Put it
// under a parent that has seen both sides: where one count is 0 there is no basis.
func (b Beta) LogSF(k, n float64) float64 {
	if b.Yes <= 0 || b.No <= 0 {
		return 0
	}
	return tail.BetaBinomialLogSF(k, n, float64(b.Yes), float64(b.No))
}

// Band holds the middle share (say 0.95) of the proportion.
func (b Beta) Band(share float64) (lower, upper float64) {
	if b.Yes <= 0 || b.No <= 0 {
		return 0, 1
	}
	d := distuv.Beta{Alpha: float64(b.Yes), Beta: float64(b.No)}
	return d.Quantile((1 - share) / 2), d.Quantile((1 + share) / 2)
}
