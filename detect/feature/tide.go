package feature

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/astray-dev/astray/models/tail"
)

// What many of a group do at once has a cause outside of them: an outage that all retry through, a weekly batch, a
// release. A group therefore remembers which of its agents lately showed how much more of a feature than was expected of
// them (a hit), and an agent's own excess is weighed as a mixture: either it acts alone, as its baseline says, or what
// moves the others moves it as well,
//
//	P(count) = P(count | alone) + share · P(excess | excesses of the others)
//
// where share is the part of the group's active agents that is moved, beyond what is wont to be. So a surge of all is
// no surprise, a lone one is, and so is one that far exceeds the others'. The group sees it as it goes: the first
// agents of a surge are judged by themselves. Only who has a past of its own moves others or is moved: a flood from
// sources that nobody has seen before is nobody's habit.

const (
	// hitLogP is from what surprise on an agent's count is a hit: a thousandth, as a natural logarithm.
	hitLogP = -3 * math.Ln10
	// turnLogP is the same for an operation that takes over: of one kind, and few agents turn at all.
	turnLogP = -2 * math.Ln10
	// maxHits is how many hits a group remembers for a feature at a window length.
	maxHits = 32
	// hitMemory is for how many seconds a hit moves others, at least: the length of the window otherwise.
	hitMemory = 3600
	// hitDays is over how many seconds the usual number of hits is averaged.
	hitDays = 86400
	// lone is how many hits beside the usual ones are nothing yet.
	lone = 1
	// The excesses of a group have a deviation of hitDeviation, as natural logarithms, worth hitPrior observations.
	hitDeviation, hitPrior = 0.7, 3
)

// Places of what is not counted in the agent's cells: the flood of a target, and each kind of operation in the day's mix.
const (
	floodCell = numCells + iota
	mixCell
	creepCell  = mixCell + mixBins
	growthCell = creepCell + len(creeping)
	numTides   = growthCell + 1
)

// hit is an agent that showed much more than was expected of it.
type hit struct {
	Agent  uint32
	At     uint32  // seconds since the epoch
	Excess float32 // natural logarithm of observed over expected
}

// tide is the hits of a group at one feature and window length.
type tide struct {
	Hits  []hit
	Usual float32 // hits of the last days, decayed
	Last  uint32
}

// tides is what a group remembers of its agents' hits, and how many of them are active.
type tides struct {
	cells map[uint8]*tide
	// Agents active in the open hour and in the one before.
	hour      int64
	cur, prev float32
}

// attend counts an agent that is active in hour w.
func (t *tides) attend(w int64) {
	if w > t.hour {
		t.prev = 0
		if w == t.hour+1 {
			t.prev = t.cur
		}
		t.hour, t.cur = w, 0
	}
	t.cur++
}

// active is how many agents are about at work.
func (t *tides) active() float64 { return float64(max(t.cur, t.prev)) }

// add remembers a hit, a new one when the agent's last is longer ago than the window is long.
func (t *tides) add(cell int, h hit, within int64) {
	c := t.cells[uint8(cell)]
	if c == nil {
		if t.cells == nil {
			t.cells = map[uint8]*tide{}
		}
		c = &tide{Last: h.At}
		t.cells[uint8(cell)] = c
	}
	oldest := 0
	for i := range c.Hits {
		o := &c.Hits[i]
		if o.Agent == h.Agent {
			if h.At > o.At && int64(h.At-o.At) > within {
				o.Excess = h.Excess
				c.count(h.At)
			}
			o.At, o.Excess = max(o.At, h.At), max(o.Excess, h.Excess)
			return
		}
		if o.At < c.Hits[oldest].At {
			oldest = i
		}
	}
	c.count(h.At)
	if len(c.Hits) < maxHits {
		c.Hits = append(c.Hits, h)
		return
	}
	c.Hits[oldest] = h
}

// count brings the usual number of hits up to date with one more.
func (c *tide) count(at uint32) {
	if at > c.Last {
		c.Usual *= float32(math.Exp(-float64(at-c.Last) / hitDays))
		c.Last = at
	}
	c.Usual++
}

// moved returns the share of the group that is moved, and the logarithm of the probability that one of those shows so
// much. ok is false when there is no tide.
func (t *tides) moved(cell int, agent, at uint32, within int64, excess float64) (share, logP float64, ok bool) {
	c := t.cells[uint8(cell)]
	if c == nil || len(c.Hits) <= lone {
		return 0, 0, false
	}
	n, sum, square := 0.0, 0.0, 0.0
	for _, h := range c.Hits {
		if h.Agent == agent || int64(at)-int64(h.At) > within {
			continue
		}
		n++
		sum += float64(h.Excess)
		square += float64(h.Excess) * float64(h.Excess)
	}
	// Those of the moment are not what is usual.
	usual := math.Max(float64(c.Usual)*math.Exp(-math.Max(float64(at)-float64(c.Last), 0)/hitDays)-n, 0) * float64(within) / hitDays
	k := n - lone - usual - 2*math.Sqrt(usual)
	if k <= 0 {
		return 0, 0, false
	}
	mean := sum / n
	variance := (math.Max(square-sum*mean, 0) + hitPrior*hitDeviation*hitDeviation) / (n + hitPrior)
	z := (excess - mean) / math.Sqrt(variance*(1+1/n))
	share = math.Min(k/(math.Max(t.active(), n)+1), 1)
	return share * share, tail.NormalLogSF(z), true
}

// Weigh returns how probable a count is for an agent of its groups, as a natural logarithm, when logP is how probable
// it is for the agent by itself, and remembers it for the others.
func (s *Store) Weigh(v *View, r *Reading, logP float64) float64 {
	return s.tell(v, r.cell, r, logP, hitLogP)
}

// WeighTurn is Weigh for how many of an agent's operations are of one kind. What moved the agent's counts
// within the day has changed its mix as well.
func (s *Store) WeighTurn(v *View, t *Turn, logP float64) float64 {
	if m := &v.Agent.Moved; m.Share > 0 && v.Event.Time/micros-int64(m.At) <= scaleSeconds[Day] {
		logP = math.Max(logP, math.Log(float64(m.Share)))
	}
	return s.tell(v, mixCell+t.Kind, &Reading{Scale: Day, Observed: t.Count, Mean: t.Events * t.Share}, logP, turnLogP)
}

func (s *Store) tell(v *View, cell int, r *Reading, logP, hits float64) float64 {
	a := v.Agent
	if logP > hits || r.Mean <= 0 || a.N[Hour] < minWindows {
		return logP
	}
	h := hit{uint32(a.Key>>32) | 1, uint32(v.Event.Time / micros), float32(math.Log(r.Observed / r.Mean))}
	within := max(hitMemory, r.Scale.Seconds())
	best, moved := math.Inf(-1), 0.0
	for c := a.Cohort; c != nil; c = c.parent {
		if share, p, ok := c.tides.moved(cell, h.Agent, h.At, within, float64(h.Excess)); ok {
			if x := math.Log(share) + p; x > best {
				best, moved = x, share
			}
		}
		c.tides.add(cell, h, within)
		c.dirty = true
	}
	if math.IsInf(best, -1) {
		return logP
	}
	if best > logP {
		if uint32(h.At-a.Moved.At) > uint32(scaleSeconds[Day]) {
			a.Moved.Share = 0
		}
		a.Moved.At, a.Moved.Share = h.At, max(a.Moved.Share, float32(moved))
	}
	hi, lo := math.Max(best, logP), math.Min(best, logP)
	return math.Min(hi+math.Log1p(math.Exp(lo-hi)), 0)
}

func (t *tides) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, t.hour)
	dst = fixed(dst, [2]float32{t.cur, t.prev})
	dst = binary.AppendUvarint(dst, uint64(len(t.cells)))
	keys := make([]uint8, 0, len(t.cells))
	for k := range t.cells {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		c := t.cells[k]
		dst = append(dst, k)
		dst = fixed(dst, c.Usual)
		dst = binary.LittleEndian.AppendUint32(dst, c.Last)
		dst = binary.AppendUvarint(dst, uint64(len(c.Hits)))
		dst = fixed(dst, c.Hits)
	}
	return dst
}

func (t *tides) decode(d *decoder) {
	t.hour = d.varint()
	var n [2]float32
	d.fixed(&n)
	t.cur, t.prev = n[0], n[1]
	t.cells = nil
	for range d.uvarint() {
		if d.err != nil {
			return
		}
		k := d.byte()
		c := &tide{}
		d.fixed(&c.Usual)
		c.Last = d.uint32()
		m := d.uvarint()
		if m > maxHits {
			d.fail("number of hits")
			return
		}
		c.Hits = make([]hit, m)
		d.fixed(c.Hits)
		if t.cells == nil {
			t.cells = map[uint8]*tide{}
		}
		t.cells[k] = c
	}
}
