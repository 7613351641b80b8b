package detect

import (
	"math"
	"slices"
	"time"

	"github.com/astray-dev/astray/detect/calibrate"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/evt"
)

// track is what the engine remembers of an agent beside its features. It stands with the agent (feature.Agent.Beside)
// once a detector has had something to say of it; an exchange, whose agents have no features, keeps a table.
type track struct {
	day  int64    // an exchange's; the day of others is feature.Agent.Judged
	name string   // of the agent, an exchange's as well
	max  []shown  // in the order of lenses
	open *episode // about the agent
	with uint64   // entity of the open alert that the agent has a part in

	days  uint8  // benign days that the peaks rest on, to maxPeakDays
	peaks []peak // what the agent is known for, few
	heard []peak // the same of a day with an alert: known when it comes again, or when people say that it was benign
}

// peak is the largest raw score of an agent's benign days through a lens, where it stands out among agents: who is unlike
// its model every day is no surprise when it is again.
type peak struct{ lens, bin uint8 }

const (
	// maxPeakDays is how many days an agent's record counts for at most, and peakDays after how many of them a peak is
	// a bin lower.
	maxPeakDays = 28
	peakDays    = 4
)

// shown is the largest raw score of a day through a lens, as evt.Bin; there is none of those that are 0.
type shown struct {
	lens uint16
	bin  uint8
}

// most is the largest raw score of the day through a lens.
func (t *track) most(lens int) uint8 {
	for _, m := range t.max {
		if int(m.lens) == lens {
			return m.bin
		}
	}
	return 0
}

// note replaces the largest raw score through a lens by a larger one.
func (t *track) note(lens int, bin uint8) {
	at := 0
	for ; at < len(t.max) && int(t.max[at].lens) <= lens; at++ {
		if m := &t.max[at]; int(m.lens) == lens {
			m.bin = bin
			return
		}
	}
	if lens <= math.MaxUint16 {
		t.max = slices.Insert(t.max, at, shown{uint16(lens), bin})
	}
}

// spread is the day's largest raw scores by lens, as they are stored; gather is its inverse.
func (t *track) spread() (all []byte) {
	for _, m := range t.max {
		for len(all) <= int(m.lens) {
			all = append(all, 0)
		}
		all[m.lens] = m.bin
	}
	return all
}

func (t *track) gather(all []byte) {
	for i, bin := range all {
		if bin > 0 {
			t.note(i, bin)
		}
	}
}

const (
	micros = 1_000_000
	// warmDays is how many agent-days a detector must have seen before it alerts on a score below coldRaw.
	warmDays = 100
	coldRaw  = 20
	// youngLeast is of how much there must be then: each job that is done once a day comes up for the first time.
	youngLeast = 60
	// ownWindows is how many windows an agent must be known by to alert on a stream's first day.
	ownWindows = 12
)

// directLooks is about how many independent looks a direct detector takes at an agent in a day.
const directLooks = 2

// lens is one feature at one window length, as one detector sees it. Each is calibrated by itself.
type lens struct {
	detector int // -1 for one whose detector is no longer run
	name     string
	scale    feature.Scale
	kind     feature.EntityKind // of what is shared, NumEntityKinds for what is the agent's
	direct   bool               // as of the last finding
	tail     evt.Tail
}

// compares reports whether what is seen through the lens is whole days, which takes days to be compared with.
func (l *lens) compares(info Info) bool { return info.Daily && l.scale == feature.Day }

// shape is that of the lens's tail, and how far it is as heavy.
func (l *lens) shape(info Info) (shape, heavy float64) {
	switch {
	case l.compares(info):
		return calibrate.DayShape, calibrate.DayHeavy
	case info.General:
		return calibrate.GeneralShape, calibrate.GeneralHeavy
	case info.Amounts:
		return calibrate.AmountShape, calibrate.AmountHeavy
	}
	return 0, 0
}

// lens returns the index of the lens through which a detector sees a finding, made when it is new.
func (e *Engine) lens(detector int, f *Finding) int {
	kind := feature.NumEntityKinds
	if f.Entity != nil {
		kind = f.Entity.Kind
	}
	for _, i := range e.of[detector] {
		if l := &e.lenses[i]; l.scale == f.Scale && l.kind == kind && l.name == f.Name {
			return i
		}
	}
	l := lens{detector: detector, name: f.Name, scale: f.Scale, kind: kind}
	if !l.compares(e.infos[detector]) && (!e.infos[detector].Settles || e.store.Settled()) {
		l.tail = e.quiet
	}
	l.tail.Looks = calibrate.Looks[f.Scale]
	e.addLens(len(e.lenses), l)
	return len(e.lenses) - 1
}

// addLens puts a lens in its place; those before it that are not known yet are nobody's.
func (e *Engine) addLens(i int, l lens) {
	for len(e.lenses) <= i {
		e.lenses = append(e.lenses, lens{detector: -1})
	}
	l.tail.Shape, l.tail.Heavy = l.shape(e.infos[l.detector])
	e.lenses[i] = l
	e.of[l.detector] = append(e.of[l.detector], i)
	slices.Sort(e.of[l.detector])
}

// again is the probability that the agent shows as much once more, 0 for what it is not known for.
func (e *Engine) again(t *track, lens int, raw float64) float64 {
	if t == nil {
		return 0
	}
	for _, p := range t.peaks {
		if int(p.lens) == lens {
			return e.lenses[lens].tail.Again(raw, p.bin, int(t.days))
		}
	}
	return 0
}

// recall keeps what a day of the agent showed, that it is known for it when the day was benign. What an alert told of is
// kept aside: the third day of it is no news, whether anybody has said so or not, unless it is of high severity: then
// only people say so, or whoever attacks twice would attack unseen from then on.
func (e *Engine) recall(t *track, benign bool) {
	if !benign {
		for _, m := range t.max {
			switch {
			case !e.outstanding(m):
			case !keep(&t.heard, m, false):
				t.heard = append(t.heard, peak{uint8(m.lens), m.bin})
			case !e.infos[e.lenses[m.lens].detector].grave():
				keep(&t.peaks, m, true)
			}
		}
		return
	}
	t.days = min(t.days+1, maxPeakDays)
	if t.days%peakDays == 0 {
		t.peaks = slices.DeleteFunc(t.peaks, func(p peak) bool { return p.bin == 0 })
		for i := range t.peaks {
			t.peaks[i].bin--
		}
	}
	for _, m := range t.max {
		keep(&t.peaks, m, e.outstanding(m))
	}
}

// outstanding reports whether an agent is known for what a day has shown.
func (e *Engine) outstanding(m shown) bool {
	if int(m.lens) >= len(e.lenses) || m.lens > math.MaxUint8 {
		return false
	}
	l := &e.lenses[m.lens]
	// The longest pauses are a record of their own already.
	return l.detector >= 0 && l.detector != e.silence && l.kind == feature.NumEntityKinds && l.tail.Outstanding(m.bin)
}

// keep raises the peak of a lens, and reports whether there was one; with add it makes it.
func keep(peaks *[]peak, m shown, add bool) bool {
	for i := range *peaks {
		if p := &(*peaks)[i]; uint16(p.lens) == m.lens {
			p.bin = max(p.bin, m.bin)
			return true
		}
	}
	if add {
		*peaks = append(*peaks, peak{uint8(m.lens), m.bin})
	}
	return false
}

// Verdict takes what the agent did from one time to another, which an alert told of, for benign: it is known for it from
// now on, what of it is still counted is learned, and the same is not told again. Nothing is learned of an agent that is not
// known here.
func (e *Engine) Verdict(_, agentID string, _, to time.Time) {
	a := e.store.Agent(agentID)
	if a == nil {
		return
	}
	t := trackOf(a)
	if t == nil {
		return
	}
	for _, p := range t.heard {
		keep(&t.peaks, shown{uint16(p.lens), p.bin}, true)
	}
	t.heard = nil
	if to.Unix()/86400 >= int64(a.Judged) {
		for _, m := range t.max {
			if e.outstanding(m) {
				keep(&t.peaks, m, true)
			}
		}
	}
	t.days = max(t.days, 1)
	a.Pardon(to.UnixMicro())
}

// p is the share of benign agent-days in which any of the detector's lenses shows as much as a raw score does through
// one of them; for what is rare by itself it is as its probability says, for what is seen of it is mostly no benign
// traffic.
func (e *Engine) p(t *track, detector, lens int, raw float64) float64 {
	if e.infos[detector].Ranks {
		return math.Pow(10, -raw)
	}
	if e.infos[detector].Direct || e.lenses[lens].direct {
		return math.Min(1, directLooks*math.Pow(10, -raw))
	}
	return math.Min(1, float64(len(e.of[detector]))*math.Max(e.lenses[lens].tail.SF(raw), e.again(t, lens, raw)))
}

// weigh calibrates a finding of a detector and remembers it for the agent's day.
func (e *Engine) weigh(t *track, detector int, f *Finding) {
	if f.Known {
		f.by, f.logP, f.rank = detector, f.LogP, f.raw()
		return
	}
	i := e.lens(detector, f)
	e.lenses[i].direct = f.Direct
	if b := evt.Bin(f.raw()); b > t.most(i) && (f.Entity == nil || !e.told(f.Entity, detector)) {
		t.note(i, b)
	}
	f.by, f.logP = detector, math.Log(math.Max(e.p(t, detector, i, f.raw()), 1e-320))
	f.rank = e.rank(detector, i, f)
}

// warm reports whether the detector's calibration rests on enough agent-days.
func (e *Engine) warm(detector int) bool {
	for _, i := range e.of[detector] {
		// A lens through which days are compared begins later than the others.
		if l := &e.lenses[i]; l.compares(e.infos[detector]) && l.tail.Weight() < warmDays {
			return false
		}
	}
	return len(e.of[detector]) > 0 && e.lenses[e.of[detector][0]].tail.Weight() >= warmDays
}

// rank is the score by which findings of all detectors are compared at an event; alerts are decided without it. What n
// agent-days have shown ends at a probability of about 1/n; beyond that a calibrated tail is extrapolation, and two
// extrapolations do not compare: there the rank grows with the logarithm of the score only. What other behaviours show as
// well, and what is said of a whole day and so of each of its events, counts half.
func (e *Engine) rank(detector, lens int, f *Finding) float64 {
	score := -f.logP / math.Ln10
	info := &e.infos[detector]
	if info.Direct || f.Direct || info.Ranks {
		return score
	}
	if beyond := score - math.Log10(e.lenses[lens].tail.Weight()+evt.PriorWeight); beyond > 0 {
		score += math.Log1p(beyond*math.Ln10)/math.Ln10 - beyond
	}
	if info.General || info.Daily && !f.Hint {
		score /= 2
	}
	return score
}

// track ends the agent's day if the event is of a later one, and returns what is remembered of it, nil while that is nothing.
func (e *Engine) track(a *feature.Agent, now int64) *track {
	day := now / 86_400_000_000
	if e.linked {
		t := e.tracks[a.Key] // made by Exchange.join, which knows the name
		if day > t.day {
			e.learn(t, t.day, now, a.Compared())
			t.day = day
		}
		return t
	}
	switch day := int32(day); {
	case a.Judged < 0:
		a.Judged = day
	case day > a.Judged:
		t := trackOf(a)
		if t == nil {
			t = e.begin(a)
		}
		e.learn(t, int64(a.Judged), now, a.Compared())
		a.Judged = day
	}
	return trackOf(a)
}

func trackOf(a *feature.Agent) *track {
	t, _ := a.Beside.(*track)
	return t
}

// begin makes what is remembered of an agent of whom it was nothing.
func (e *Engine) begin(a *feature.Agent) *track {
	t := &track{}
	a.Beside = t
	return t
}

// mostAlerted is up to what share of the agent-days those with an alert are left out of the calibration: beyond that
// they are the new normal.
const mostAlerted = 0.1

// learn gives the day that has ended, as is known now, to the calibration. A day with an alert is not one of the benign ones.
func (e *Engine) learn(t *track, day, now int64, compared bool) {
	const memory = 1000
	had, since := 0.0, day*86400*micros
	if e.partIn(t, since, now) || t.open != nil && t.open.last >= since {
		had = 1
	}
	e.alerted += (had - e.alerted) / memory
	early := day <= e.store.FirstDay()
	benign := had == 0 || e.alerted > mostAlerted || e.cfg.Trusting
	switch {
	case early:
		e.quiet.LearnEarly(0)
	case benign:
		e.quiet.Learn(0)
	}
	if !early {
		e.recall(t, had == 0 || e.cfg.Trusting)
	}
	for len(e.day) < len(e.lenses) {
		e.day = append(e.day, 0)
	}
	for _, m := range t.max {
		if int(m.lens) < len(e.day) {
			e.day[m.lens] = m.bin
		}
	}
	for i := range e.lenses {
		l := &e.lenses[i]
		if l.detector < 0 || e.infos[l.detector].Settles && !e.store.Settled() {
			continue // it could not speak yet
		}
		if !compared && l.compares(e.infos[l.detector]) {
			continue // nor of this agent
		}
		raw := evt.Score(e.day[i])
		e.day[i] = 0
		switch {
		case early:
			l.tail.LearnEarly(raw)
		case benign:
			l.tail.Learn(raw)
		}
	}
	// What could not be learned waits for another day.
	t.max = slices.DeleteFunc(t.max, func(m shown) bool { return int(m.lens) < len(e.day) && e.day[m.lens] == 0 })
	for _, m := range t.max {
		if int(m.lens) < len(e.day) {
			e.day[m.lens] = 0
		}
	}
}
