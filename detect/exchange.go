package detect

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/event/link"
)

// Exchange judges what crosses the agents of several partitions: one owns a partition of links as an Engine owns one of
// events, and it is the same code that counts and judges. It takes frames (package link) in the order of their log and
//
//   - leaves out what it has had: of each source it knows how far it has come, so that a stretch that a source repeats
//     after a crash has an effect once;
//   - works in the order of event time, source and position, whatever the order of arrival: a link waits until every
//     source has come as far. So the same events give the same alerts, however many instances share them and whichever
//     is ahead. A source that has sent nothing for two minutes of the others' clocks is not waited for, nor is anybody
//     once maxWaiting links wait; what then comes late counts in the windows that are still open.
//
// It depends on the frames alone, so working through the log again after a crash ends in the same state. It is used by
// one goroutine.
type Exchange struct {
	e       *Engine
	sources map[int32]*source
	want    int32 // sources 0 to want-1 are waited for even before they have spoken
	oldest  int64 // senders' clocks: of the first frame
	newest  int64 // … and of the latest
	waiting waiting
	changed bool // sources or waiting, since the last checkpoint
	day     int64
	touched map[uint64]struct{} // of those, the ones to save
	gone    []string            // the ones to forget
	extra   track               // of agents beyond maxTracks
	frame   link.Frame
	link    feature.Link
	stats   ExchangeStats
}

// ExchangeStats counts what an Exchange has done.
type ExchangeStats struct {
	Joined   uint64 // links counted
	Repeated uint64 // links left out because they had been there
	Early    uint64 // links counted before every source had come as far
	Damaged  uint64 // links that could not be read
	Waiting  int    // links that wait now
}

const (
	// maxWaiting bounds the links that wait for slower sources.
	maxWaiting = 1 << 18
	// maxTracks bounds the agents whose days the calibration learns from.
	maxTracks = 1 << 18
	// stalled is by how much, in microseconds of senders' clocks, a source may be behind the others before it is not waited for.
	stalled = 120_000_000

	exchangeKey     = "exchange/"
	exchangeVersion = 1
)

// source is what is known of one partition of events.
type source struct {
	epoch     uint64
	offset    int64 // position of the last link
	index     uint32
	watermark int64
	sent      int64
}

// NewExchange returns an exchange that has seen nothing yet, for that many partitions of events. detectors are all that
// run on events, so that the budget is shared in the same way; those that look within agents are not asked.
func NewExchange(cfg Config, sources int, detectors ...Detector) *Exchange {
	cfg.Links, cfg.Memory = 0, 0
	e := New(cfg, detectors...)
	for i, info := range e.infos {
		e.idle[i] = info.Across == Within
	}
	e.silence, e.linked = -1, true
	return &Exchange{e: e, want: int32(sources), sources: map[int32]*source{}, touched: map[uint64]struct{}{}}
}

// Observe takes a frame, in the event's content.
func (x *Exchange) Observe(ev *event.Event) {
	// A frame is only read. What waits of it keeps it alive.
	if err := x.frame.Decode(unsafe.Slice(unsafe.StringData(ev.Content), len(ev.Content))); err != nil {
		x.stats.Damaged++
		return
	}
	x.take(&x.frame)
	x.release()
}

// take adds the links of a frame that are new to those that wait.
func (x *Exchange) take(f *link.Frame) {
	s := x.sources[f.Source]
	if s == nil {
		s = &source{offset: math.MinInt64}
		x.sources[f.Source] = s
	}
	if f.Epoch < s.epoch {
		// Its owner has been replaced, and the new one says all this itself.
		x.stats.Repeated += uint64(len(f.Records))
		return
	}
	x.changed = true
	s.epoch, s.watermark, s.sent = f.Epoch, f.Watermark, max(s.sent, f.Sent)
	x.newest = max(x.newest, f.Sent)
	if x.oldest == 0 {
		x.oldest = f.Sent
	}
	for i := range f.Records {
		r := &f.Records[i]
		if !r.After(s.offset, s.index) {
			x.stats.Repeated++
			continue
		}
		s.offset, s.index = r.Offset, r.Index
		at, n := binary.Varint(r.Data)
		if n <= 0 {
			x.stats.Damaged++
			continue
		}
		x.waiting.push(waitingLink{at, f.Sent, f.Source, r.Index, r.Offset, r.Data})
	}
}

// come is the time that every source has come to.
func (x *Exchange) come() int64 {
	least := int64(math.MaxInt64)
	seen := int32(0)
	for id, s := range x.sources {
		if id < x.want {
			seen++
		}
		if x.newest-s.sent <= stalled {
			least = min(least, s.watermark)
		}
	}
	if seen < x.want && x.newest-x.oldest <= stalled {
		return math.MinInt64
	}
	return least
}

// release counts the links that need wait no longer.
func (x *Exchange) release() {
	come := x.come()
	for x.waiting.n > 0 {
		// An event ahead of its sender's clock waits for the clock, not for its own time.
		if w := x.waiting.first(); min(w.time, w.sent) >= come {
			if x.waiting.n <= maxWaiting {
				break
			}
			x.stats.Early++
		}
		w := x.waiting.pop()
		if err := x.link.Decode(w.data); err != nil {
			x.stats.Damaged++
			continue
		}
		x.join(&x.link)
	}
	x.stats.Waiting = x.waiting.n
}

func (x *Exchange) join(l *feature.Link) {
	e := x.e
	x.stats.Joined++
	if day := l.Time / 86_400_000_000; day > x.day {
		x.forget(day)
		x.day = day
	}
	e.catchUp(l.Time)
	// The name outlives the link's frame: it is the one that is kept already, or a copy.
	k := xxhash.Sum64String(l.AgentID)
	t := e.tracks[k]
	if t != nil && t.name == l.AgentID {
		l.AgentID = t.name
	} else {
		l.AgentID = strings.Clone(l.AgentID)
	}
	v := e.store.Join(l)
	if t == nil {
		if len(e.tracks) >= maxTracks {
			// Its days are not learned from: of so many they teach nothing more.
			x.extra = track{day: l.Time / 86_400_000_000, max: x.extra.max[:0]}
			e.tracks[k] = &x.extra
			e.judge(v)
			delete(e.tracks, k)
			return
		}
		t = &track{day: l.Time / 86_400_000_000, name: l.AgentID}
		e.tracks[k] = t
	}
	x.touched[k] = struct{}{}
	e.judge(v)
}

// forget ends the day of agents that have not been seen since before yesterday. Those with an open alert stay.
func (x *Exchange) forget(day int64) {
	e := x.e
	for _, k := range slices.Sorted(maps.Keys(e.tracks)) {
		t := e.tracks[k]
		if t.day >= day-1 {
			continue
		}
		e.learn(t, t.day, day*86400*micros, false)
		t.day = day
		if t.open != nil {
			x.touched[k] = struct{}{}
			continue
		}
		x.gone = append(x.gone, t.name)
		delete(e.tracks, k)
		delete(x.touched, k)
	}
}

// Alerts is Engine.Alerts.
func (x *Exchange) Alerts(yield func(*alert.Alert)) { x.e.Alerts(yield) }

// Finish counts what still waits and tells what is still to be told; for streams that end.
func (x *Exchange) Finish() {
	for x.waiting.n > 0 {
		if w := x.waiting.pop(); x.link.Decode(w.data) == nil {
			x.join(&x.link)
		}
	}
	x.e.Finish()
}

// Stats counts what was done since the exchange was made.
func (x *Exchange) Stats() ExchangeStats { return x.stats }

// Baselines yields nothing: an exchange has no agents.
func (x *Exchange) Baselines(func(*baseline.Summary)) {}

// Agents is 0: an exchange has no agents of its own.
func (x *Exchange) Agents() int { return 0 }

// StateBytes is about how much memory the entities and what waits take.
func (x *Exchange) StateBytes() int64 {
	n := x.e.StateBytes() + int64(len(x.e.tracks))*(160+int64(len(x.e.lenses)))
	for w := range x.waiting.all {
		n += int64(len(w.data)) + 64
	}
	return n
}

// Checkpoint yields the states that changed since the last call, empty ones for what is to be forgotten.
func (x *Exchange) Checkpoint(yield func(key string, state []byte) error) error {
	if err := x.e.store.Checkpoint(yield); err != nil {
		return err
	}
	var changed []*track
	for k := range x.touched {
		changed = append(changed, x.e.tracks[k])
	}
	slices.SortFunc(changed, func(a, b *track) int { return cmp.Compare(a.name, b.name) })
	for _, t := range changed {
		b, err := x.e.marshalTrack(t, t.day)
		if err != nil {
			return fmt.Errorf("track: %w", err)
		}
		if err := yield(trackKey+t.name, b); err != nil {
			return err
		}
	}
	if err := x.e.saveOwn(len(changed) > 0, yield); err != nil {
		return err
	}
	for _, id := range x.gone {
		if x.e.tracks[xxhash.Sum64String(id)] != nil {
			continue // it is back
		}
		if err := yield(trackKey+id, nil); err != nil {
			return err
		}
	}
	clear(x.touched)
	x.gone = x.gone[:0]
	if !x.changed {
		return nil
	}
	x.changed = false
	return yield(exchangeKey, x.append(nil))
}

func (x *Exchange) append(dst []byte) []byte {
	dst = append(dst, exchangeVersion)
	for _, v := range [...]int64{x.oldest, x.newest, x.day} {
		dst = binary.AppendVarint(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.sources)))
	for _, id := range slices.Sorted(maps.Keys(x.sources)) {
		s := x.sources[id]
		dst = binary.AppendUvarint(dst, uint64(uint32(id)))
		dst = binary.AppendUvarint(dst, s.epoch)
		dst = binary.AppendUvarint(dst, uint64(s.index))
		for _, v := range [...]int64{s.offset, s.watermark, s.sent} {
			dst = binary.AppendVarint(dst, v)
		}
	}
	all := make([]*waitingLink, 0, x.waiting.n)
	for w := range x.waiting.all {
		all = append(all, w)
	}
	slices.SortFunc(all, (*waitingLink).compare)
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for _, w := range all {
		dst = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, w.time), w.sent), w.offset)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(uint32(w.source))), uint64(w.index))
		dst = append(binary.AppendUvarint(dst, uint64(len(w.data))), w.data...)
	}
	return dst
}

// Restore takes one state that Checkpoint yielded, in any order, before the first Observe.
func (x *Exchange) Restore(key string, state []byte) error {
	if key != exchangeKey {
		return x.e.Restore(key, state)
	}
	if len(state) == 0 || state[0] != exchangeVersion {
		return fmt.Errorf("exchange: %w", feature.ErrVersion)
	}
	src := slices.Clone(state[1:])
	bad := false
	signed := func() int64 {
		v, n := binary.Varint(src)
		if n <= 0 {
			bad = true
			return 0
		}
		src = src[n:]
		return v
	}
	unsigned := func() uint64 {
		v, n := binary.Uvarint(src)
		if n <= 0 {
			bad = true
			return 0
		}
		src = src[n:]
		return v
	}
	x.oldest, x.newest, x.day = signed(), signed(), signed()
	for n := unsigned(); n > 0 && !bad; n-- {
		id := int32(uint32(unsigned()))
		x.sources[id] = &source{epoch: unsigned(), index: uint32(unsigned()), offset: signed(), watermark: signed(), sent: signed()}
	}
	for n := unsigned(); n > 0 && !bad; n-- {
		w := waitingLink{time: signed(), sent: signed(), offset: signed(), source: int32(uint32(unsigned())), index: uint32(unsigned())}
		size := unsigned()
		if bad || size > uint64(len(src)) {
			bad = true
			break
		}
		w.data, src = src[:size:size], src[size:]
		x.waiting.push(w)
	}
	if bad || len(src) > 0 {
		return errors.New("exchange: cut short or damaged")
	}
	return nil
}
