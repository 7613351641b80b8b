package detect

import (
	"math"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/tail"
)

// Baselines yields what the agents whose hour has closed since the last call are expected to do, for the
// features they have shown. The summary is valid inside yield.
func (e *Engine) Baselines(yield func(*baseline.Summary)) {
	e.store.Closed(func(a *feature.Agent) {
		for f := range feature.NumFeatures {
			for sc := range feature.NumScales {
				mean, variance, windows, ok := e.store.Expect(a, f, sc)
				if !ok {
					continue
				}
				lo, hi := e.bands.of(mean, variance)
				yield(&baseline.Summary{EntityKind: alert.KindAgent, EntityID: a.ID, Feature: f.String(), WindowSeconds: sc.Seconds(),
					Expected: mean, Lower: lo, Upper: hi, Shape: mean * mean / variance, Rate: mean / variance, Windows: windows, Time: a.Last})
			}
		}
	})
}

// bands remembers bands: an inverse of the incomplete gamma function takes as long as ten events, and the agents of a fleet
// have some forty baselines each. The ends of a band are multiples of the mean that depend on the shape, mean²/variance,
// alone, so that there are few of them to half a percent of the shape. What a band is depends on the moments alone, not
// on what was asked before.
type bands map[int16][2]float64

const bandSteps = 200 // of the shape, to a factor of e

func (b *bands) of(mean, variance float64) (lower, upper float64) {
	shape := mean * mean / variance
	step := math.Round(bandSteps * math.Log(shape))
	if !(mean > 0 && variance > 0 && math.Abs(step) < math.MaxInt16) {
		return tail.CountBand(0.95, mean, variance)
	}
	ends, ok := (*b)[int16(step)]
	if !ok {
		if *b == nil {
			*b = bands{}
		}
		ends[0], ends[1] = tail.GammaBand(0.95, math.Exp(step/bandSteps))
		(*b)[int16(step)] = ends
	}
	return math.Floor(mean * ends[0]), math.Ceil(mean * ends[1])
}
