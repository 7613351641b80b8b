package detect

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/tail"
)

// A remembered band is that of the moments to two percent and the rounding to whole numbers.
func TestRememberedBandsAreBands(t *testing.T) {
	var b bands
	rapid.Check(t, func(t *rapid.T) {
		mean := rapid.Float64Range(0.001, 1e6).Draw(t, "mean")
		variance := mean * rapid.Float64Range(1, 1e3).Draw(t, "scatter")
		lo, hi := b.of(mean, variance)
		wantLo, wantHi := tail.CountBand(0.95, mean, variance)
		if hi < 0.98*wantHi-1 || hi > 1.02*wantHi+1 || lo < 0.98*wantLo-1 || lo > 1.02*wantLo+1 {
			t.Fatalf("mean %g, variance %g: %g–%g, not %g–%g", mean, variance, lo, hi, wantLo, wantHi)
		}
		if len(b) > 1<<16 {
			t.Fatalf("%d bands are remembered", len(b))
		}
	})
}
