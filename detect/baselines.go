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

// bands remembers bands, by mean and variance to a few percent: an inverse of the incomplete gamma function takes as long as
// ten events, the agents of a fleet have some forty baselines each, and their moments are much alike. What a band is
// depends on the moments alone, not on what was asked before.
type bands map[[2]int16][2]float64

const (
	maxBands  = 1 << 15
	bandSteps = 60 // to a factor of e
)

func (b *bands) of(mean, variance float64) (lower, upper float64) {
	if mean <= 0 || variance <= 0 {
		return tail.CountBand(0.95, mean, variance)
	}
	key := [2]int16{int16(math.Round(bandSteps * math.Log(mean))), int16(math.Round(bandSteps * math.Log(variance)))}
	got, ok := (*b)[key]
	if !ok {
		if *b == nil || len(*b) >= maxBands {
			*b = bands{}
		}
		got[0], got[1] = tail.CountBand(0.95, math.Exp(float64(key[0])/bandSteps), math.Exp(float64(key[1])/bandSteps))
		(*b)[key] = got
	}
	return got[0], got[1]
}
