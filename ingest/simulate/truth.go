package simulate

import (
	"cmp"
	"slices"
)

// Truth is what a detector should have found in a world, and what it should not have. Times are seconds since
// the epoch; an attack's start is rounded down and its end up.
type Truth struct {
	Seed       uint64   `json:"seed"`
	Days       float64  `json:"days"`
	Agents     int      `json:"agents"`
	Start      int64    `json:"start"`
	End        int64    `json:"end"`
	Attacks    []Attack `json:"attacks"`
	Lookalikes []Attack `json:"lookalikes"` // benign, each of its kind; none accepts an alert
}

// Attack is one incident.
type Attack struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	Accept []string `json:"accept,omitempty"` // the detectors that are right to alert
	Agents []string `json:"agents"`
	Start  int64    `json:"start"`
	End    int64    `json:"end"`
	Note   string   `json:"note"` // the variety and its strength
}

// Truth is known for the whole span from the beginning; what has been streamed already says when the incidents in
// it really began and ended.
func (w *World) Truth() Truth {
	t := Truth{Seed: w.cfg.Seed, Days: w.cfg.Days, Agents: w.cfg.Agents, Start: w.start / second, End: (w.end + second - 1) / second,
		Attacks: []Attack{}, Lookalikes: []Attack{}}
	for _, in := range w.incidents {
		a := Attack{ID: in.id, Kind: in.kind, Accept: in.accept, Note: in.note}
		for _, i := range in.agents {
			a.Agents = append(a.Agents, w.agents[i].id)
		}
		from, to := in.start, min(in.end, w.end)
		if in.told > 0 {
			from = in.firstTold
			if in.over {
				to = in.lastTold
			}
		}
		a.Start, a.End = from/second, (to+second-1)/second
		if len(in.accept) > 0 {
			t.Attacks = append(t.Attacks, a)
		} else {
			t.Lookalikes = append(t.Lookalikes, a)
		}
	}
	order := func(a, b Attack) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(t.Attacks, order)
	slices.SortFunc(t.Lookalikes, order)
	return t
}
