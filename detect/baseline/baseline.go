// Package baseline defines the summary of a learned baseline that people see: what one entity normally does,
// feature by feature. The engine derives it from its models; readers draw it as a band. Plain data.
package baseline

// Summary is what an entity's baseline predicts for one feature over one window length.
type Summary struct {
	EntityKind    string  // "agent", "cohort" or "fleet"
	EntityID      string  //
	Feature       string  // e.g. "events", "distinct_resources"
	WindowSeconds int64   // length of the window the prediction is for
	Expected      float64 // predictive mean
	Lower, Upper  float64 // 95 % predictive band
	// Shape and Rate are the parameters of the Gamma posterior behind the band, per window, so that a reader
	// can recompute any quantile. Zero where the model has none.
	Shape, Rate float64
	Windows     float64 // effective number of windows learned from
	Time        int64   // event time the summary is valid at, microseconds since the epoch
}
