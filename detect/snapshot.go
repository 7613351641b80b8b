package detect

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
)

// Keys of the engine's own states, beside the feature store's.
const (
	trackKey = "track/"
	tailsKey = "tails/"
)

// trackState is a track on disk: the day's largest scores and the alert that is still open. It is small and few
// have an alert, so JSON serves; the scores keep their exact bits.
type trackState struct {
	Version  int          `json:"version"`
	Day      int64        `json:"day"`
	Max      []uint32     `json:"max,omitempty"`
	Alert    *alert.Alert `json:"alert,omitempty"`
	Detector string       `json:"detector,omitempty"`
	Last     int64        `json:"last,omitempty"`
	Revision uint64       `json:"revision,omitempty"`
	Cohort   string       `json:"cohort,omitempty"`
}

const trackVersion = 1

// Checkpoint yields the states that changed since the last call: what the features hold of agents and cohorts,
// the open alerts, and the calibration. The bytes are valid only inside yield.
func (e *Engine) Checkpoint(yield func(key string, state []byte) error) error {
	touched := map[uint64]string{}
	err := e.store.Checkpoint(func(key string, state []byte) error {
		if id, ok := cutKey(key, "agent/"); ok {
			touched[xxhash.Sum64String(id)] = id
		}
		return yield(key, state)
	})
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(touched))
	for _, id := range touched {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		t := e.tracks[xxhash.Sum64String(id)]
		st := trackState{Version: trackVersion, Day: t.day}
		for _, m := range t.max {
			st.Max = append(st.Max, math.Float32bits(m))
		}
		if o := t.open; o != nil {
			st.Alert, st.Detector, st.Last = &o.alert, e.infos[o.detector].Name, o.last
			st.Revision, st.Cohort = o.alert.Revision, o.alert.Cohort
		}
		b, err := json.Marshal(st)
		if err != nil {
			return fmt.Errorf("track: %w", err)
		}
		if err := yield(trackKey+id, b); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	for i, info := range e.infos {
		if err := yield(tailsKey+info.Name, e.tails[i].Append([]byte{feature.Version})); err != nil {
			return err
		}
	}
	return nil
}

// Restore takes one state that Checkpoint yielded, in any order, before the first Observe. The error of a state
// that this version does not read wraps feature.ErrVersion.
func (e *Engine) Restore(key string, state []byte) error {
	if own, err := e.store.Restore(key, state); own {
		return err
	}
	if name, ok := cutKey(key, tailsKey); ok {
		i := slices.IndexFunc(e.infos, func(x Info) bool { return x.Name == name })
		if i < 0 {
			return nil // a detector that is no longer run
		}
		if len(state) == 0 || state[0] != feature.Version {
			return fmt.Errorf("calibration of %s: %w", name, feature.ErrVersion)
		}
		_, err := e.tails[i].Decode(state[1:])
		return err
	}
	id, ok := cutKey(key, trackKey)
	if !ok {
		return fmt.Errorf("state with key %q: nobody's", key)
	}
	var st trackState
	if err := json.Unmarshal(state, &st); err != nil {
		return fmt.Errorf("track: %w", err)
	}
	if st.Version != trackVersion {
		return fmt.Errorf("track: %w", feature.ErrVersion)
	}
	t := &track{day: st.Day, max: make([]float32, len(e.detectors))}
	for i, bits := range st.Max[:min(len(st.Max), len(t.max))] {
		t.max[i] = math.Float32frombits(bits)
	}
	if i := slices.IndexFunc(e.infos, func(x Info) bool { return x.Name == st.Detector }); i >= 0 && st.Alert != nil {
		t.open = &episode{alert: *st.Alert, detector: i, last: st.Last}
		t.open.alert.Revision, t.open.alert.Cohort = st.Revision, st.Cohort
	}
	e.tracks[xxhash.Sum64String(id)] = t
	return nil
}

// StateBytes is about how much memory the agents' states take.
func (e *Engine) StateBytes() int64 { return e.store.Bytes() }

func cutKey(key, prefix string) (rest string, ok bool) {
	if len(key) < len(prefix) || key[:len(prefix)] != prefix {
		return "", false
	}
	return key[len(prefix):], true
}
