package feature

// Cohort is what agents of one kind have in common, and the prior of each. The fleet is the cohort of all. A cohort
// whose name is a path ("payments/refunds") has the one before the last slash as its parent, else the fleet.
type Cohort struct {
	Name   string
	Agents int64
	pool   pool
	parent *Cohort // nil for the fleet

	services, destinations, actions Vocabulary

	steps   [stepBins]float32
	gapSum  float32
	tides   tides
	mixed   mixed
	seasons seasons
	origins struct{ Days, New [NumOrigins]float32 }
	dirty   bool

	known, quiet int // used by Store.Silents
}
