package detect

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Keys of the engine's own states, beside the feature store's.
const (
	agentKey   = "agent/" // the feature store's, with the engine's own behind it
	trackKey   = "track/" // of an exchange: its agents have nothing else
	episodeKey = "episode/"
	tailsKey   = "tails/"
)

// trackState is a track on disk: the day's largest scores and the alert that is still open. It is small and few
// have an alert, so JSON serves.
type trackState struct {
	Version int           `json:"version"`
	Day     int64         `json:"day"`
	Max     []byte        `json:"max,omitempty"`
	Open    *episodeState `json:"open,omitempty"`
	With    uint64        `json:"with,omitempty"`
	Days    uint8         `json:"days,omitempty"`
	Peaks   []byte        `json:"peaks,omitempty"` // lens and bin, in turn
	Heard   []byte        `json:"heard,omitempty"` // the same
}

// episodeState is an open alert on disk. Detectors go by name: their places in the catalogue may change.
type episodeState struct {
	Version   int          `json:"version"`
	Same      uint64       `json:"same,omitempty"` // the entity whose alert tells of this one too; nothing else then
	Alert     *alert.Alert `json:"alert,omitempty"`
	Detector  string       `json:"detector,omitempty"`
	Detectors []string     `json:"detectors,omitempty"`
	Share     float64      `json:"share,omitempty"`
	Last      int64        `json:"last,omitempty"`
	Since     int64        `json:"since,omitempty"`
	Told      int64        `json:"told,omitempty"`
	Behind    int64        `json:"behind,omitempty"`
	Revision  uint64       `json:"revision,omitempty"`
	Cohort    string       `json:"cohort,omitempty"`
}

const trackVersion = 3

func (e *Engine) save(o *episode) *episodeState {
	if o == nil {
		return nil
	}
	st := &episodeState{Version: trackVersion, Alert: &o.alert, Detector: e.infos[o.detector].Name, Share: o.share, Last: o.last, Since: o.since, Told: o.told, Behind: o.behind, Revision: o.alert.Revision, Cohort: o.alert.Cohort}
	for i, info := range e.infos {
		if o.has(i) {
			st.Detectors = append(st.Detectors, info.Name)
		}
	}
	return st
}

func (e *Engine) load(st *episodeState) *episode {
	if st == nil || st.Alert == nil {
		return nil
	}
	o := &episode{alert: *st.Alert, detector: -1, share: st.Share, last: st.Last, since: st.Since, told: st.Told, behind: st.Behind}
	o.alert.Revision, o.alert.Cohort = st.Revision, st.Cohort
	for i, info := range e.infos {
		if info.Name == st.Detector {
			o.detector = i
		}
		if slices.Contains(st.Detectors, info.Name) {
			o.mask |= 1 << i
		}
	}
	if o.detector < 0 {
		return nil // named by a detector that is no longer run: nothing more is added to it
	}
	if o.behind != 0 {
		at, _ := slices.BinarySearchFunc(e.behind, o, func(a, b *episode) int {
			return cmp.Or(cmp.Compare(a.behind, b.behind), cmp.Compare(a.alert.ID, b.alert.ID))
		})
		e.behind = slices.Insert(e.behind, at, o)
	}
	return o
}

// Checkpoint yields the states that changed since the last call: what the features hold of agents and cohorts,
// the open alerts, and the calibration. The bytes are valid only inside yield.
func (e *Engine) Checkpoint(yield func(key string, state []byte) error) error {
	agents := 0
	err := e.store.Checkpoint(func(key string, state []byte) error {
		if id, ok := strings.CutPrefix(key, agentKey); ok {
			agents++
			var err error
			if state, err = e.appendTrack(state, e.store.Agent(id)); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		return yield(key, state)
	})
	if err != nil {
		return err
	}
	n, err := e.saveFolded(yield)
	if err != nil {
		return err
	}
	return e.saveOwn(agents+n > 0, yield)
}

// appendTrack puts what the engine remembers of an agent behind the state of its features: a length ends it.
func (e *Engine) appendTrack(state []byte, a *feature.Agent) ([]byte, error) {
	before := len(state)
	var b []byte
	if a.Judged >= 0 {
		var err error
		if b, err = e.marshalTrack(trackOf(a), int64(a.Judged)); err != nil {
			return nil, err
		}
	}
	state = append(state, b...)
	return binary.LittleEndian.AppendUint32(state, uint32(len(state)-before)), nil
}

func (e *Engine) marshalTrack(t *track, day int64) ([]byte, error) {
	if t == nil {
		t = &track{}
	}
	st := trackState{Version: trackVersion, Day: day, Max: t.spread(), Open: e.save(t.open), With: t.with, Days: t.days}
	for _, p := range t.peaks {
		st.Peaks = append(st.Peaks, p.lens, p.bin)
	}
	for _, p := range t.heard {
		st.Heard = append(st.Heard, p.lens, p.bin)
	}
	return json.Marshal(st)
}

// restoreAgent takes what appendTrack made.
func (e *Engine) restoreAgent(id string, state []byte) error {
	if len(state) == 0 || state[0] != feature.Version {
		return fmt.Errorf("agent: %w", feature.ErrVersion)
	}
	n := len(state) - 4
	if n < 1 {
		return errors.New("agent: cut short")
	}
	size := int(binary.LittleEndian.Uint32(state[n:]))
	if size > n-1 {
		return errors.New("agent: cut short or damaged")
	}
	if _, err := e.store.Restore(agentKey+id, state[:n-size]); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	return e.restoreTrack(id, state[n-size:n])
}

// saveOwn yields the engine's own states: the open alerts about what agents share, and the calibration if any agent
// has acted.
func (e *Engine) saveOwn(acted bool, yield func(key string, state []byte) error) error {
	put := func(key string, st any) error {
		b, err := json.Marshal(st)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return yield(key, b)
	}
	for _, k := range slices.Sorted(maps.Keys(e.shared)) {
		o := e.shared[k]
		if o.saved == o.alert.Revision {
			continue
		}
		if err := put(episodeKey+strconv.FormatUint(k, 16), e.save(o)); err != nil {
			return err
		}
		o.saved = o.alert.Revision
	}
	for _, k := range e.aliased {
		same, ok := e.aliases[k]
		if !ok {
			continue // it has an alert of its own again
		}
		if err := put(episodeKey+strconv.FormatUint(k, 16), episodeState{Version: trackVersion, Same: same}); err != nil {
			return err
		}
	}
	e.aliased = e.aliased[:0]
	for _, k := range slices.Sorted(maps.Keys(e.ended)) {
		if err := yield(episodeKey+strconv.FormatUint(k, 16), nil); err != nil {
			return err
		}
	}
	clear(e.ended)
	if !acted {
		return nil
	}
	for i, info := range e.infos {
		if err := yield(tailsKey+info.Name, e.appendLenses([]byte{feature.Version}, i)); err != nil {
			return err
		}
	}
	return nil
}

// appendLenses writes the lenses of a detector, each with its place: the agents' days refer to it.
func (e *Engine) appendLenses(dst []byte, detector int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(e.alerted))
	dst = e.quiet.Append(dst)
	dst = binary.AppendUvarint(dst, uint64(len(e.of[detector])))
	for _, i := range e.of[detector] {
		l := &e.lenses[i]
		dst = binary.AppendUvarint(dst, uint64(i))
		dst = append(dst, byte(l.scale), byte(l.kind), byte(len(l.name)))
		dst = append(dst, l.name...)
		dst = l.tail.Append(dst)
	}
	return dst
}

// maxLenses bounds what a damaged state can ask for.
const maxLenses = 1 << 12

func (e *Engine) restoreLenses(src []byte, detector int) error {
	short := errors.New("too short")
	if len(src) < 8 {
		return short
	}
	e.alerted = math.Float64frombits(binary.LittleEndian.Uint64(src))
	src, err := e.quiet.Decode(src[8:])
	if err != nil {
		return err
	}
	uvarint := func() uint64 {
		x, n := binary.Uvarint(src)
		src = src[max(n, 0):]
		if n <= 0 {
			return maxLenses + 1
		}
		return x
	}
	n := uvarint()
	if n > maxLenses {
		return short
	}
	for range n {
		i := uvarint()
		if i > maxLenses || len(src) < 3 || len(src) < 3+int(src[2]) || src[0] >= byte(feature.NumScales) {
			return short
		}
		l := lens{detector: detector, scale: feature.Scale(src[0]), kind: feature.EntityKind(src[1]), name: string(src[3 : 3+int(src[2])])}
		if src, err = l.tail.Decode(src[3+len(l.name):]); err != nil {
			return err
		}
		e.addLens(int(i), l)
	}
	return nil
}

// Restore takes one state that Checkpoint yielded, in any order, before the first Observe. The error of a state
// that this version does not read wraps feature.ErrVersion.
func (e *Engine) Restore(key string, state []byte) error {
	if id, ok := strings.CutPrefix(key, agentKey); ok {
		if err := e.restoreAgent(id, state); err != nil {
			return err
		}
		e.restored()
		return nil
	}
	if own, err := e.store.Restore(key, state); own {
		return err
	}
	if name, ok := strings.CutPrefix(key, tailsKey); ok {
		i := slices.IndexFunc(e.infos, func(x Info) bool { return x.Name == name })
		if i < 0 {
			return nil // a detector that is no longer run
		}
		if len(state) == 0 || state[0] != feature.Version {
			return fmt.Errorf("calibration of %s: %w", name, feature.ErrVersion)
		}
		if err := e.restoreLenses(state[1:], i); err != nil {
			return fmt.Errorf("calibration of %s: %w", name, err)
		}
		return nil
	}
	if hex, ok := strings.CutPrefix(key, episodeKey); ok {
		k, err := strconv.ParseUint(hex, 16, 64)
		if err != nil {
			return fmt.Errorf("episode: %w", err)
		}
		var st episodeState
		if err := json.Unmarshal(state, &st); err != nil {
			return fmt.Errorf("episode: %w", err)
		}
		if st.Version != trackVersion {
			return fmt.Errorf("episode: %w", feature.ErrVersion)
		}
		if st.Same != 0 {
			e.aliases[k] = st.Same
		}
		if o := e.load(&st); o != nil {
			o.key, o.saved = k, o.alert.Revision
			e.shared[k] = o
		}
		return nil
	}
	id, ok := strings.CutPrefix(key, trackKey)
	if !ok {
		return fmt.Errorf("state with key %q: nobody's", key)
	}
	if !e.linked {
		return fmt.Errorf("track: %w", feature.ErrVersion) // it stands with its agent since version 7
	}
	return e.restoreTrack(id, state)
}

func (e *Engine) restoreTrack(id string, state []byte) error {
	var st trackState
	if err := json.Unmarshal(state, &st); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	if st.Version != trackVersion {
		return fmt.Errorf("track: %w", feature.ErrVersion)
	}
	t := &track{day: st.Day, open: e.load(st.Open), with: st.With, days: st.Days}
	t.gather(st.Max)
	for i := 1; i < len(st.Peaks); i += 2 {
		t.peaks = append(t.peaks, peak{st.Peaks[i-1], st.Peaks[i]})
	}
	for i := 1; i < len(st.Heard); i += 2 {
		t.heard = append(t.heard, peak{st.Heard[i-1], st.Heard[i]})
	}
	if e.linked {
		t.name = id
		e.tracks[xxhash.Sum64String(id)] = t
		return nil
	}
	a := e.store.Agent(id)
	a.Judged = int32(min(max(st.Day, 0), math.MaxInt32))
	a.Beside = t
	return nil
}

// StateBytes is about how much memory the agents' states take.
func (e *Engine) StateBytes() int64 {
	n := e.store.Bytes() // an exchange's tracks are counted there
	if e.mem != nil {
		n += e.mem.folds + e.mem.spills + int64(len(e.mem.away.bits))*8
	}
	return n
}
