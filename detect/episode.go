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
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

// episode is one alert while it may still change.
type episode struct {
	alert    alert.Alert
	detector int
	share    float64 // of the events, as in crossing
	key      uint64  // of the entity, 0 for an agent's
	mask     uint64  // detectors that contributed
	saved    uint64  // revision in the last checkpoint
	last     int64
	since    int64 // when it came back by the clock, 0 when it did not
	told     int64 // when it was last told
	behind   int64 // since when there is more to tell, 0 when there is not
	pending  bool  // in Engine.changed
}

// told reports whether a detector's alert about the entity is open: calibration hears of what is shared once, not from
// each agent that has a part in it.
func (e *Engine) told(x *feature.Entity, detector int) bool {
	o := e.about(x.Key, x.Last*micros)
	return o != nil && o.has(detector)
}

// crossing is a detector whose evidence is rarer than the budget allows, and what it is about.
type crossing struct {
	detector int
	p        float64
	entity   *feature.Entity // nil for the agent
	share    float64         // of the window's events, 0 when that is not known
}

// entity names what an alert is about in the contract's terms.
func entity(v *feature.View, e *feature.Entity) (kind, id string) {
	if e == nil {
		return alert.KindAgent, v.Agent.ID
	}
	switch e.Kind {
	case feature.Credential:
		return alert.KindCredential, e.Name
	case feature.Source:
		return alert.KindSource, e.Name
	}
	return alert.KindTemplate, e.Name
}

// current returns the episode that an event at now still belongs to, nil when there is none.
func (e *Engine) current(o *episode, now int64) *episode {
	if o == nil {
		return nil
	}
	gap := e.cfg.Gap.Microseconds()
	if o.key != 0 {
		gap *= sharedGap
	}
	if now-o.last > gap || now-o.alert.Time.UnixMicro() > 7*24*e.cfg.Gap.Microseconds() {
		return nil
	}
	return o
}

// about returns the open alert that tells of a shared entity, its own or another's, nil when there is none.
func (e *Engine) about(key uint64, now int64) *episode {
	if o := e.current(e.shared[key], now); o != nil {
		return o
	}
	if other, ok := e.aliases[key]; ok {
		return e.current(e.shared[other], now)
	}
	return nil
}

// maxShared is how many alerts about what agents share may go on at once, and how many more entities may be told with them.
// Beyond it those that were seen longest ago end, and what would be told with another is asked for anew each time.
const maxShared, maxAliases = 2048, 8192

// over reports whether the episode is of no more use to anybody: a day after nothing could go on in it. It depends on the
// time alone, not on when sweep came by.
func (e *Engine) over(o *episode, now int64) bool {
	return o == nil || now-o.last > sharedGap*e.cfg.Gap.Microseconds()+86400*micros
}

// partIn reports whether the agent has a part in an alert about what agents share that was seen since. It forgets a
// part that is past.
func (e *Engine) partIn(t *track, since, now int64) bool {
	if t.with == 0 {
		return false
	}
	o := e.shared[t.with]
	if other, ok := e.aliases[t.with]; ok {
		o = e.shared[other]
	}
	if e.over(o, now) {
		t.with = 0
		return true // the agent was away for as long: the day is the one of the alert
	}
	if o.last >= since {
		return true
	}
	if e.current(o, now) == nil {
		t.with = 0
	}
	return false
}

// sweep ends, once an hour, the alerts about what agents share that are over, with what is told with them.
func (e *Engine) sweep(now int64) {
	const hour = 3600 * micros
	if now/hour <= e.swept {
		return
	}
	e.swept = now / hour
	for k, o := range e.shared {
		if e.over(o, now) && o.behind == 0 {
			e.end(k)
		}
	}
	for k, other := range e.aliases {
		if e.shared[other] == nil {
			delete(e.aliases, k)
			e.ended[k] = true
		}
	}
}

// end forgets the alert about a shared entity, here and with the next checkpoint where it is stored.
func (e *Engine) end(key uint64) {
	delete(e.shared, key)
	e.ended[key] = true
}

// begun puts an alert about a shared entity among those that go on.
func (e *Engine) begun(key uint64, o *episode) {
	if len(e.shared) >= maxShared {
		oldest := uint64(0)
		for k, x := range e.shared {
			if x.behind == 0 && (oldest == 0 || cmp.Or(cmp.Compare(x.last, e.shared[oldest].last), cmp.Compare(k, oldest)) < 0) {
				oldest = k
			}
		}
		if oldest != 0 {
			e.end(oldest)
		}
	}
	o.key = key
	e.shared[key] = o
	delete(e.aliases, key)
	delete(e.ended, key)
}

// crowd is the names of the agents that have a part in what crossed. An operation that everybody uses is none of
// everybody's doing: of a target's agents only as many count as the finding does, those seen last.
func (e *Engine) crowd(c crossing) []string {
	names := c.entity.Names()
	if c.entity.Kind == feature.Target {
		n := 0.0
		for _, f := range e.findings {
			if f.Entity == c.entity {
				n = max(n, f.Observed)
			}
		}
		names = names[max(0, len(names)-int(n)):]
	}
	return names
}

// sameHand returns the open alert that is about mostly the same agents at the same time: a swarm that goes from object to
// object, or whose text has several templates, is one cause and one alert. Its entity is an alias from then on.
func (e *Engine) sameHand(c crossing, now int64) *episode {
	names := e.crowd(c)
	var best *episode
	most := 1 // two agents in common are the least
	for _, o := range e.shared {
		// Two detectors that see one crowd pass on one text, or the link in it, see one cause.
		text := (c.entity.Kind == feature.Template || c.entity.Kind == feature.Page) && o.alert.EntityKind == alert.KindTemplate
		if !o.has(c.detector) && !text || e.current(o, now) == nil || now-o.last > e.cfg.Gap.Microseconds() {
			continue
		}
		n := 0
		for _, name := range names {
			if slices.Contains(o.alert.AgentIDs, name) {
				n++
			}
		}
		if 3*n < 2*min(len(names), len(o.alert.AgentIDs)) {
			continue
		}
		if n > most || n == most && best != nil && o.alert.ID < best.alert.ID {
			best, most = o, n
		}
	}
	if best == nil {
		return nil
	}
	if len(e.aliases) < maxAliases {
		e.aliases[c.entity.Key] = best.key
		e.aliased = append(e.aliased, c.entity.Key)
		delete(e.shared, c.entity.Key)
		delete(e.ended, c.entity.Key)
	}
	for _, name := range names {
		if !slices.Contains(best.alert.AgentIDs, name) && len(best.alert.AgentIDs) < maxAgentIDs {
			best.alert.AgentIDs = append(best.alert.AgentIDs, name)
		}
	}
	return best
}

// byTheClock reports whether it is the hour at which the episode began or came back, whole days later and within a week,
// give or take half an hour.
func (o *episode) byTheClock(now int64) bool {
	const day, slack = 86400 * micros, 1800 * micros
	pause := now - max(o.alert.Time.UnixMicro(), o.since)
	return now-o.last < 7*day && pause > day/2 && (pause+slack)%day <= 2*slack
}

func (e *Engine) raise(v *feature.View, t *track, c crossing) {
	now := v.Event.Time
	info := e.infos[c.detector]
	var o *episode
	if c.entity != nil {
		if o = e.about(c.entity.Key, now); o == nil {
			o = e.sameHand(c, now)
		}
	} else {
		o = e.current(t.open, now)
		if o == nil && t.open != nil && t.open.has(c.detector) && now-t.open.last < sameGap*e.cfg.Gap.Microseconds() {
			o = t.open // the same again
		}
		if o == nil && (info.Daily || info.Slow) && t.open != nil && now-t.open.last < 86400*micros {
			o = t.open // what was told stands in the day's account: it is not told again
		}
		if o != nil && !o.has(c.detector) && !info.Daily && now-max(o.alert.Time.UnixMicro(), o.since) > e.cfg.Gap.Microseconds() {
			o = nil // something else, and long after: an alert of its own
		}
		if o == nil && t.open != nil && (info.General || t.open.has(c.detector)) && t.open.byTheClock(now) && -math.Log10(math.Max(c.p, 1e-300)) <= 1+1.25*t.open.alert.Score {
			o = t.open // what was told comes back at its hour: a routine, and no second alert whatever it is
			o.since = now
		}
		if with := e.about(t.with, now); o == nil && with != nil && (info.Daily || with.has(c.detector)) {
			// The agent's part in something shared.
			o = with
		}
	}
	kind, id := entity(v, c.entity)
	if o == nil {
		at := stamp(now)
		o = &episode{detector: c.detector, alert: alert.Alert{
			ID: alertID(info.Name, id, now), Time: at, FirstSeen: at, EntityKind: kind, EntityID: id, Cohort: strings.Clone(v.Agent.Cohort.Name),
			PValue: 1, BaselineVersion: "1", EventIDs: []string{},
		}}
		if c.entity != nil {
			e.begun(c.entity.Key, o)
			o.alert.AgentIDs = append(o.alert.AgentIDs, e.crowd(c)...)
		} else {
			t.open = o
		}
	}
	if c.entity != nil {
		t.with = c.entity.Key
	}
	o.mask |= 1 << c.detector
	a := &o.alert
	if !slices.Contains(a.AgentIDs, v.Agent.ID) && len(a.AgentIDs) < maxAgentIDs {
		a.AgentIDs = append(a.AgentIDs, v.Agent.ID)
	}
	o.last = now
	a.LastSeen = maxTime(a.LastSeen, stamp(now))
	a.EventCount++
	if len(a.EventIDs) < alert.MaxEventIDs {
		a.EventIDs = append(a.EventIDs, strings.Clone(v.Event.ID))
	}
	for _, f := range e.findings {
		if f.Entity == nil && (!f.Hint || f.little) && f.Scale <= feature.TenMinutes && -f.LogP > 0.8*e.rawNeeded() {
			v.Agent.Report()
		}
	}
	if info.Daily && c.entity == nil {
		v.Agent.ReportDay()
	}
	better := a.Detector == "" || c.detector == o.detector && c.p < a.PValue*muchBetter ||
		c.detector != o.detector && o.detector != e.cause && e.explains(c, crossing{detector: o.detector, p: a.PValue * muchBetter, share: o.share})
	if better {
		o.detector, o.share = c.detector, c.share
		a.Detector, a.DetectorVersion, a.Techniques = info.Name, info.Version, info.Techniques
		a.Title = fmt.Sprintf(info.Title, quoted(a.EntityID))
		a.PValue = math.Min(c.p, a.PValue)
		a.Score = math.Min(-math.Log10(math.Max(a.PValue, 1e-300)), alert.MaxScore)
		a.Confidence = confidence(a.PValue, e.threshold)
		var all []Finding
		for _, f := range e.findings {
			if !e.infos[f.by].Ranks && (f.Entity == c.entity || c.entity != nil && f.Entity == nil) {
				all = append(all, f)
			}
		}
		mine := own(c.detector, all)
		a.Evidence = evidence(mine, all)
		alert.Contribute(a.Score, a.Evidence)
		a.Severity = info.Severity
		a.Reason = reason(mine, info, v, c.entity)
		// Evidence of a window reaches back to where the window began.
		longest := a.Evidence[0].WindowSeconds
		from := time.Unix(now/1e6/longest*longest, 0).UTC()
		if from.Before(a.FirstSeen) {
			a.FirstSeen = from
		}
	}
	if a.EventCount > 1000 && a.Severity == alert.High {
		a.Severity = alert.Critical
	}
	a.Revision++
	switch {
	case better || now-o.told >= tellEvery:
		e.tell(o, now)
	case o.behind == 0:
		o.behind = now
		e.behind = append(e.behind, o)
	}
}

// tellEvery is how often, in microseconds of event time, an alert is told again only because it goes on.
const tellEvery = 10_000_000

// tell puts the alert among those that Alerts yields.
func (e *Engine) tell(o *episode, now int64) {
	o.told, o.behind = now, 0
	if !o.pending {
		o.pending = true
		e.changed = append(e.changed, o)
	}
}

// catchUp tells the alerts that went on since they were last told, all of them when now is the end of time.
func (e *Engine) catchUp(now int64) {
	n := 0
	for _, o := range e.behind {
		if o.behind == 0 {
			n++ // told meanwhile
			continue
		}
		if now-o.behind < tellEvery {
			break
		}
		e.tell(o, max(o.last, o.behind))
		n++
	}
	if n > 0 {
		e.behind = slices.Delete(e.behind, 0, n)
	}
}

// Finish is called when no more events come: Alerts then yields what is still to be told.
func (e *Engine) Finish() { e.catchUp(math.MaxInt64) }

const (
	// sharedGap is by how much longer the pause in what many do may be than in what one does.
	sharedGap = 24
	// sameGap is the same for an agent that does the same again.
	sameGap     = 6
	maxAgentIDs = 256
	// muchBetter is by which factor a p-value must fall for the alert to be explained anew.
	muchBetter = 0.1
)

// own is the findings of one detector: they come first in the evidence.
func own(detector int, all []Finding) []Finding {
	var mine []Finding
	for _, f := range all {
		if f.by == detector {
			mine = append(mine, f)
		}
	}
	if len(mine) == 0 {
		return all
	}
	return mine
}

func (o *episode) has(detector int) bool { return o.mask&(1<<detector) != 0 }

// silences raises an alert for every agent that has been silent for longer than its past allows.
func (e *Engine) silences(ev *event.Event) {
	if e.silence < 0 {
		return
	}
	e.store.Silents(func(s feature.Silent) {
		logP := s.LogP
		t := e.track(s.Agent, e.store.Now())
		if t == nil {
			t = e.begin(s.Agent)
		}
		name, what := "pause_seconds", "No event for"
		if s.Reads {
			name, what = "pause_between_changes_seconds", "It goes on reading and has changed nothing for"
		}
		f := Finding{Reading: feature.Reading{Name: name, Scale: feature.Day, Observed: math.Round(s.Pause), Mean: math.Round(s.Usual)}, LogP: logP}
		e.weigh(t, e.silence, &f)
		p := math.Exp(f.logP)
		if e.cfg.Watch != nil {
			held := ""
			if p > e.threshold {
				held = heldP
			}
			e.watch(e.silence, s.Agent.ID, e.store.Now(), f, held)
		}
		if p > e.threshold {
			return
		}
		s.Told()
		if e.silentWith(&s) {
			return
		}
		info := e.infos[e.silence]
		now, last := e.store.Now(), s.Agent.Last
		if s.Reads {
			last = now - int64(s.Pause*micros)
		}
		o := &episode{detector: e.silence, mask: 1 << e.silence, last: now, pending: true}
		o.alert = alert.Alert{
			ID: alertID(info.Name, s.Agent.ID, last), Time: stamp(now), FirstSeen: stamp(last), LastSeen: stamp(now),
			Detector: info.Name, DetectorVersion: info.Version, Techniques: info.Techniques, Severity: info.Severity,
			EntityKind: alert.KindAgent, EntityID: s.Agent.ID, AgentIDs: []string{s.Agent.ID}, Cohort: s.Agent.Cohort.Name,
			PValue: p, Score: -math.Log10(math.Max(p, 1e-300)), Confidence: confidence(p, e.threshold), BaselineVersion: "1",
			Title: fmt.Sprintf(info.Title, quoted(s.Agent.ID)), EventIDs: []string{}, Revision: 1,
			Reason: fmt.Sprintf("%s %s; in %s pauses before, the longest was %s. %s", what, span(s.Pause), Number(float64(s.Pauses)), span(s.Usual), info.Next),
			Evidence: []alert.Evidence{{Feature: name, Observed: math.Round(s.Pause), Expected: math.Round(s.Usual), Upper: math.Round(s.Usual),
				PValue: math.Exp(logP), WindowSeconds: int64(s.Pause)}},
		}
		alert.Contribute(o.alert.Score, o.alert.Evidence)
		t.open = o
		e.changed = append(e.changed, o)
	})
}

// silentWith puts an agent into the alert of those that fell silent when it did, if there is one: one cause, one alert.
func (e *Engine) silentWith(s *feature.Silent) bool {
	for _, a := range s.With {
		t := trackOf(a)
		if t == nil || t.open == nil || t.open.detector != e.silence || len(t.open.alert.AgentIDs) >= maxAgentIDs {
			continue
		}
		o := &t.open.alert
		next := e.infos[e.silence].Next
		o.Reason = strings.TrimSuffix(strings.TrimSuffix(o.Reason, next), others(len(o.AgentIDs)-1))
		o.AgentIDs = append(o.AgentIDs, s.Agent.ID)
		o.Reason += others(len(o.AgentIDs)-1) + next
		o.LastSeen = maxTime(o.LastSeen, stamp(e.store.Now()))
		o.Revision++
		a.SetDirty()
		e.tell(t.open, e.store.Now())
		return true
	}
	return false
}

// others tells how many more agents fell silent at the time.
func others(n int) string {
	if n == 1 {
		return "Another agent fell silent at the same time. "
	}
	return fmt.Sprintf("%d other agents fell silent at the same time. ", n)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Alerts yields the alerts opened or updated since the last call, in the order of their times and ids. The
// alert is a copy's worth of plain data that the engine does not change until the next Observe.
func (e *Engine) Alerts(yield func(*alert.Alert)) {
	slices.SortFunc(e.changed, func(a, b *episode) int {
		return cmp.Or(a.alert.Time.Compare(b.alert.Time), cmp.Compare(a.alert.ID, b.alert.ID))
	})
	for _, o := range e.changed {
		o.pending = false
		o.alert.Query = query(&o.alert, e.infos[o.detector].Where)
		yield(&o.alert)
	}
	e.changed = e.changed[:0]
}

func stamp(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func alertID(detector, entity string, start int64) string {
	h := xxhash.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d", detector, entity, start)
	a := h.Sum64()
	h.Write([]byte{1})
	return fmt.Sprintf("%016x%016x", a, h.Sum64())
}

// Silence is the name of the detector that is asked about agents that do nothing: the engine runs it by the clock.
const Silence = "silence"
