package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/calibrate"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/tail"
)

// Config is what people may set. The zero value means the defaults.
type Config struct {
	// Budget is the alert budget: false alerts per 1,000 agent-days, over all detectors. Default 1.
	Budget float64
	// Gap is how long an episode may pause and still be the same alert. Default one hour.
	Gap time.Duration
}

// Score is the highest score any detector gave at an event.
type Score struct {
	Score                float64 // −log10 of the calibrated p-value; 0 when no detector spoke
	Detector             string
	EntityKind, EntityID string
}

// Engine runs detectors over the events of one partition, in order. It is used by one goroutine; two runs over
// the same events give the same alerts.
type Engine struct {
	cfg       Config
	detectors []Detector
	infos     []Info
	tails     []calibrate.Tail
	threshold float64 // calibrated p-value at and below which a detector alerts
	store     *feature.Store
	tracks    map[uint64]*track
	top       Score
	findings  []Finding
	changed   []*episode
}

// track is what the engine remembers of an agent beside its features.
type track struct {
	day  int64
	max  []float32 // largest raw score of the day, per detector
	open *episode
}

// episode is one alert while it may still change.
type episode struct {
	alert    alert.Alert
	detector int
	last     int64
	pending  bool // in Engine.changed
	closed   bool
}

// New returns an engine that has seen nothing yet.
func New(cfg Config, detectors ...Detector) *Engine {
	if cfg.Budget <= 0 {
		cfg.Budget = 1
	}
	if cfg.Gap <= 0 {
		cfg.Gap = time.Hour
	}
	e := &Engine{cfg: cfg, detectors: detectors, tails: make([]calibrate.Tail, len(detectors)),
		store: feature.NewStore(), tracks: map[uint64]*track{}}
	for _, d := range detectors {
		e.infos = append(e.infos, d.Info())
	}
	e.threshold = cfg.Budget / 1000 / float64(max(len(detectors), 1))
	return e
}

// Observe counts one event, scores it and opens or updates the alerts it gives reason for.
func (e *Engine) Observe(ev *event.Event) {
	v := e.store.Update(ev)
	t := e.track(v.Agent, ev.Time)
	e.top = Score{}
	best, bestP := -1, 1.0
	var findings []Finding
	for i, d := range e.detectors {
		n := len(findings)
		findings = d.Examine(e.store, v, e.buffer(findings))
		mine := findings[n:]
		if len(mine) == 0 {
			continue
		}
		raw := rawScore(mine)
		if float32(raw) > t.max[i] {
			t.max[i] = float32(raw)
		}
		p := e.tails[i].P(raw)
		score := math.Min(-math.Log10(math.Max(p, 1e-320)), alert.MaxScore)
		if score > e.top.Score {
			e.top = Score{score, e.infos[i].Name, alert.KindAgent, v.Agent.ID}
		}
		// Of the detectors that cross, the one of the highest rank explains the episode.
		if p <= e.threshold && (best < 0 || e.infos[i].Rank > e.infos[best].Rank) {
			best, bestP = i, p
		}
	}
	if best < 0 {
		return
	}
	e.raise(v, t, best, bestP, findings)
}

func (e *Engine) buffer(f []Finding) []Finding {
	if f == nil {
		return e.findings[:0]
	}
	return f
}

// rawScore is −log10 of the smallest p-value.
func rawScore(fs []Finding) float64 {
	low := 0.0
	for _, f := range fs {
		low = math.Min(low, f.LogP)
	}
	return -low / math.Ln10
}

func (e *Engine) track(a *feature.Agent, now int64) *track {
	t := e.tracks[a.Key]
	day := now / 86_400_000_000
	if t == nil {
		t = &track{day: day, max: make([]float32, len(e.detectors))}
		e.tracks[a.Key] = t
	}
	if day > t.day {
		for i := range t.max {
			e.tails[i].Learn(float64(t.max[i]))
			t.max[i] = 0
		}
		t.day = day
	}
	if o := t.open; o != nil && now-o.last > e.cfg.Gap.Microseconds() {
		o.closed = true
		t.open = nil
	}
	return t
}

func (e *Engine) raise(v *feature.View, t *track, i int, p float64, all []Finding) {
	ev := v.Event
	info := e.infos[i]
	o := t.open
	if o == nil {
		o = &episode{detector: i}
		at := stamp(ev.Time)
		o.alert = alert.Alert{
			ID: id(info.Name, v.Agent.ID, ev.Time), Time: at, FirstSeen: at,
			EntityKind: alert.KindAgent, EntityID: v.Agent.ID, AgentIDs: []string{v.Agent.ID}, Cohort: v.Agent.Cohort.Name,
			PValue: 1, BaselineVersion: "1", EventIDs: []string{},
		}
		t.open = o
	}
	for _, f := range all {
		if f.Scale <= feature.TenMinutes && -f.LogP > 0.8*e.rawNeeded() {
			v.Agent.Report()
			break
		}
	}
	a := &o.alert
	o.last = ev.Time
	a.LastSeen = stamp(ev.Time)
	a.EventCount++
	if len(a.EventIDs) < alert.MaxEventIDs {
		a.EventIDs = append(a.EventIDs, strings.Clone(ev.ID))
	}
	better := a.Detector == "" || info.Rank > e.infos[o.detector].Rank || i == o.detector && p < a.PValue
	if better {
		o.detector = i
		a.Detector, a.DetectorVersion, a.Techniques = info.Name, info.Version, info.Techniques
		a.Title = fmt.Sprintf(info.Title, v.Agent.ID)
		a.PValue = math.Min(p, a.PValue)
		a.Score = math.Min(-math.Log10(math.Max(a.PValue, 1e-300)), alert.MaxScore)
		a.Confidence = confidence(a.PValue, e.threshold)
		a.Evidence = evidence(all)
		a.Severity = info.Severity
		if a.EventCount > 1000 && info.Severity == alert.High {
			a.Severity = alert.Critical
		}
		a.Reason = reason(all, info)
		// Evidence of a window reaches back to where the window began.
		longest := int64(60)
		for _, f := range a.Evidence[:min(1, len(a.Evidence))] {
			longest = f.WindowSeconds
		}
		from := time.Unix(ev.Time/1e6/longest*longest, 0).UTC()
		if from.Before(a.FirstSeen) {
			a.FirstSeen = from
		}
	}
	a.Query = query(v.Agent.ID, a.FirstSeen, a.LastSeen, e.infos[o.detector].Where)
	a.Revision++
	if !o.pending {
		o.pending = true
		e.changed = append(e.changed, o)
	}
}

// rawNeeded is about what a finding needs to cross by itself, as a natural logarithm.
func (e *Engine) rawNeeded() float64 { return -math.Log(e.threshold) }

// confidence is how far below the threshold the p-value lies, on a scale on which the threshold itself is 0.5
// and a millionth of it 0.95.
func confidence(p, threshold float64) float64 {
	d := math.Log10(threshold / math.Max(p, 1e-300))
	return math.Round((1-0.5/(1+1.5*math.Max(d, 0)))*1000) / 1000
}

// Top is the highest score any detector gave at the event observed last.
func (e *Engine) Top() Score { return e.top }

// Alerts yields the alerts opened or updated since the last call, in the order of their times and ids. The
// alert is a copy's worth of plain data that the engine does not change until the next Observe.
func (e *Engine) Alerts(yield func(*alert.Alert)) {
	slices.SortFunc(e.changed, func(a, b *episode) int {
		return cmp.Or(a.alert.Time.Compare(b.alert.Time), cmp.Compare(a.alert.ID, b.alert.ID))
	})
	for _, o := range e.changed {
		o.pending = false
		yield(&o.alert)
	}
	e.changed = e.changed[:0]
}

// Agents is the number of agents known.
func (e *Engine) Agents() int { return e.store.Len() }

func stamp(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func id(detector, entity string, start int64) string {
	h := xxhash.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d", detector, entity, start)
	a := h.Sum64()
	h.Write([]byte{1})
	return fmt.Sprintf("%016x%016x", a, h.Sum64())
}

// Counts appends the findings of one feature, over all window lengths.
func Counts(s *feature.Store, v *feature.View, f feature.Feature, dst []Finding) []Finding {
	if !v.Bumped[f] {
		return dst
	}
	for sc := range feature.NumScales {
		if r, ok := s.Read(v.Agent, f, sc); ok {
			dst = append(dst, Finding{r, tail.CountLogSF(math.Floor(r.Observed), r.Mean, r.Variance)})
		}
	}
	return dst
}

// evidence is the strongest window of each feature, strongest feature first.
func evidence(fs []Finding) []alert.Evidence {
	best := strongest(fs)
	out := make([]alert.Evidence, 0, len(best))
	for _, f := range best {
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		out = append(out, alert.Evidence{
			Feature: f.Feature.String(), Observed: f.Observed, Expected: round(f.Mean), Lower: lo, Upper: hi,
			PValue: math.Exp(math.Max(f.LogP, -690)), WindowSeconds: f.Scale.Seconds(),
		})
	}
	return out
}

func strongest(fs []Finding) []Finding {
	var best []Finding
	for _, f := range fs {
		i := slices.IndexFunc(best, func(b Finding) bool { return b.Feature == f.Feature })
		switch {
		case i < 0:
			best = append(best, f)
		case f.LogP < best[i].LogP:
			best[i] = f
		}
	}
	slices.SortStableFunc(best, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.LogP, b.LogP), cmp.Compare(a.Feature, b.Feature))
	})
	return best
}

func round(x float64) float64 { return math.Round(x*100) / 100 }

// reason says in at most three sentences what happened, what would have been normal, and what to do.
func reason(fs []Finding, info Info) string {
	best := strongest(fs)
	if len(best) == 0 {
		return info.Next
	}
	f := best[0]
	lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s in %s; ", number(f.Observed), strings.ReplaceAll(f.Feature.String(), "_", " "), window(f.Scale))
	if f.Own.N >= 6 {
		fmt.Fprintf(&b, "this agent's own past says %s (95 %%: %s–%s)", number(f.Mean), number(lo), number(hi))
	} else {
		fmt.Fprintf(&b, "agents of its kind show %s (95 %%: %s–%s), and it has hardly a past of its own", number(f.Mean), number(lo), number(hi))
	}
	if f.Peers.N >= 20 && f.Own.N >= 6 {
		fmt.Fprintf(&b, ", its cohort %s", number(float64(f.Peers.Mean)))
	}
	b.WriteString(". ")
	if len(best) > 1 {
		g := best[1]
		fmt.Fprintf(&b, "Also %s %s in %s where %s were expected. ", number(g.Observed),
			strings.ReplaceAll(g.Feature.String(), "_", " "), window(g.Scale), number(g.Mean))
	}
	b.WriteString(info.Next)
	return b.String()
}

func window(s feature.Scale) string {
	return [...]string{"a minute", "10 minutes", "an hour", "a day"}[s]
}

// number is how a person writes it: grouped thousands, two digits that matter below ten.
func number(x float64) string {
	if x < 10 && x != math.Trunc(x) {
		return fmt.Sprintf("%.2g", x)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// query returns the events behind an alert. The agent's id comes from outside and is quoted as ClickHouse
// quotes strings: everything but plain characters is escaped, so that it cannot leave the literal.
func query(agent string, from, to time.Time, where string) string {
	const layout = "2006-01-02 15:04:05.000000"
	return fmt.Sprintf("SELECT * FROM events WHERE agent_id = %s AND time >= toDateTime64('%s', 6, 'UTC') AND time <= toDateTime64('%s', 6, 'UTC') AND %s ORDER BY time",
		quote(agent), from.Format(layout), to.Format(layout), where)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		if c < ' ' || c == '\'' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
