package detect

import (
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
				m, ok := e.store.Expect(a, f, sc)
				if !ok {
					continue
				}
				mean, variance := m.Predictive()
				lo, hi := tail.CountBand(0.95, mean, variance)
				yield(&baseline.Summary{EntityKind: alert.KindAgent, EntityID: a.ID, Feature: f.String(), WindowSeconds: sc.Seconds(),
					Expected: mean, Lower: lo, Upper: hi, Shape: mean * mean / variance, Rate: mean / variance, Windows: float64(m.N), Time: a.Last})
			}
		}
	})
}
