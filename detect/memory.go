package detect

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

// memory keeps the states of agents within Config.Memory. An agent is in one of four places:
//
//   - in the feature store, as it is worked on;
//   - folded, in a record of a few hundred bytes: a newcomer that has not come back while the next thousand newcomers
//     came is probably a one-off id. This is the doorkeeper. It loses nothing: when the agent returns it is unfolded;
//   - spilled: over the limit those that were not seen for the longest are folded and wait for the next checkpoint;
//   - away: its state is in the store of the pipeline alone. A filter of fixed size knows that there may be one;
//     before a batch is observed the pipeline asks what its agents need (Away) and restores that.
//
// Where an agent is makes no difference to what is found, with two exceptions: an agent that is not in the feature store
// does not fall silent, for silences are looked for there, and with Config.Forget what would be spilled is lost. What
// moves when depends on the events and their order alone.
type memory struct {
	limit int64

	newcomers [doorkeeper]uint64 // keys, a ring
	next      int

	tiny    map[uint64]folded
	order   []uint64 // of tiny, as they were folded; those that have returned are passed over
	unsaved []uint64 // of tiny, folded since the last checkpoint
	folds   int64    // bytes of tiny

	spilled map[uint64]spilled
	clean   []uint64 // of spilled, those that the store has as they are
	spills  int64    // bytes of spilled
	waiting int64    // … of those that no checkpoint has yielded yet
	saves   uint64
	rest    int // events until room is looked for again, after there was none

	away  bloom
	stats struct{ folded, evicted, returned uint64 }
}

// folded is an agent's state, zeros taken out, behind its id.
type folded struct {
	data  string
	dirty bool // not in the store as it is here
}

type spilled struct {
	folded
	save uint64 // of the checkpoint that yielded it, 0 for none yet
}

const (
	doorkeeper  = 1024
	foldedBytes = 72 // about what a folded agent takes beside its data
)

func newMemory(limit int64) *memory {
	return &memory{limit: limit, tiny: map[uint64]folded{}, spilled: map[uint64]spilled{}, away: newBloom(limit / 32)}
}

// used is what counts against the limit.
func (e *Engine) used() int64 {
	m := e.mem
	return e.store.AgentBytes() + e.store.SharedBytes() + m.folds + m.spills + int64(len(m.away.bits))*8
}

// admit sees to it that the event's agent is in the feature store if it is known.
func (e *Engine) admit(ev *event.Event) {
	key := xxhash.Sum64String(ev.AgentID)
	if e.store.Holds(key) {
		return
	}
	m := e.mem
	if f, ok := m.tiny[key]; ok {
		m.folds -= f.bytes()
		delete(m.tiny, key)
		e.unfold(f, f.dirty)
		return
	}
	if f, ok := m.spilled[key]; ok {
		fresh := f.dirty && f.save == 0
		if fresh {
			m.waiting -= f.bytes()
		}
		m.spills -= f.bytes()
		delete(m.spilled, key)
		e.unfold(f.folded, fresh)
	}
}

// settle follows an observed event: the doorkeeper takes note of a newcomer, and who was not seen for long makes room.
func (e *Engine) settle(a *feature.Agent) {
	m := e.mem
	if a.Total == 1 {
		old := m.newcomers[m.next]
		m.newcomers[m.next] = a.Key
		m.next = (m.next + 1) % doorkeeper
		if o := e.store.ByKey(old); o != nil && o.Total == 1 && old != a.Key {
			e.keepTiny(o)
		}
	}
	if m.rest > 0 {
		m.rest--
	} else if high := m.limit - m.limit/16; e.used() > high {
		e.evict()
		if e.used() > high {
			// What waits for a checkpoint, or what agents share, takes all there is.
			m.rest = 256
		}
	}
}

func (f folded) bytes() int64 { return int64(len(f.data)) + foldedBytes }

// stays reports whether an alert about the agent is about to be told.
func (t *track) stays() bool {
	return t != nil && t.open != nil && (t.open.pending || t.open.behind != 0)
}

// fold takes the agent out of the feature store. ok is false for one that stays.
func (e *Engine) fold(a *feature.Agent) (f folded, ok bool) {
	if trackOf(a).stays() {
		return f, false
	}
	state, err := e.appendTrack(a.AppendState(nil), a)
	if err != nil {
		return f, false
	}
	id := a.ID
	data := binary.AppendUvarint(make([]byte, 0, 512), uint64(len(id)))
	data = squeeze(append(data, id...), state)
	f = folded{string(data), a.Dirty()}
	e.store.Remove(a)
	return f, true
}

// open returns the agent's id and state.
func (f folded) open() (id string, state []byte, err error) {
	n, k := binary.Uvarint([]byte(f.data[:min(len(f.data), binary.MaxVarintLen64)]))
	if k <= 0 || n > uint64(len(f.data)-k) {
		return "", nil, errors.New("folded agent: damaged")
	}
	id = f.data[k : k+int(n)]
	state, err = swell([]byte(f.data[k+int(n):]))
	return id, state, err
}

func (e *Engine) unfold(f folded, dirty bool) {
	id, state, err := f.open()
	if err == nil {
		id = strings.Clone(id)
		err = e.restoreAgent(id, state)
	}
	if err != nil {
		return // it was made by fold: only a mistake here, which its test finds, comes to this
	}
	e.mem.stats.returned++
	if dirty {
		e.store.Agent(id).SetDirty()
	}
}

func (e *Engine) keepTiny(a *feature.Agent) {
	m := e.mem
	key := a.Key
	f, ok := e.fold(a)
	if !ok {
		return
	}
	m.stats.folded++
	m.tiny[key] = f
	m.folds += f.bytes()
	m.order = append(m.order, key)
	if f.dirty {
		m.unsaved = append(m.unsaved, key)
	}
}

// evict makes room for an eighth of the limit. It begins a sixteenth below it: a batch is observed as a whole.
func (e *Engine) evict() {
	m := e.mem
	target := m.limit - m.limit/16 - m.limit/8
	if m.folds > m.limit/4 {
		for i, key := range m.order {
			f, ok := m.tiny[key]
			if !ok {
				continue
			}
			m.folds -= f.bytes()
			delete(m.tiny, key)
			e.spill(key, f)
			if m.folds <= m.limit/8 {
				m.order = slices.Clone(m.order[i+1:])
				break
			}
		}
	}
	if len(m.order) > 2*len(m.tiny)+1024 {
		m.order = slices.DeleteFunc(m.order, func(key uint64) bool { _, ok := m.tiny[key]; return !ok })
	}
	if e.used() <= target {
		return
	}
	for _, a := range e.store.Oldest() {
		key := a.Key
		if f, ok := e.fold(a); ok {
			e.spill(key, f)
		}
		if e.used() <= target {
			break
		}
	}
}

// spill gives a folded agent away.
func (e *Engine) spill(key uint64, f folded) {
	m := e.mem
	m.stats.evicted++
	if e.cfg.Forget {
		return
	}
	m.away.add(key)
	m.spilled[key] = spilled{folded: f}
	m.spills += f.bytes()
	if f.dirty {
		m.waiting += f.bytes()
	} else {
		m.clean = append(m.clean, key)
	}
}

// restored follows each restored agent: those that were seen longest ago go away again while there are too many.
func (e *Engine) restored() {
	m := e.mem
	if m == nil || e.used() <= m.limit-m.limit/8 {
		return
	}
	for _, a := range e.store.Oldest() {
		if trackOf(a).stays() {
			continue
		}
		m.away.add(a.Key)
		m.stats.evicted++
		e.store.Remove(a)
		if e.used() <= m.limit/2 {
			break
		}
	}
}

// saveFolded yields the folded states that are not in the store yet.
func (e *Engine) saveFolded(yield func(key string, state []byte) error) (n int, err error) {
	m := e.mem
	if m == nil {
		return 0, nil
	}
	put := func(f folded) error {
		id, state, err := f.open()
		if err != nil {
			return err
		}
		n++
		return yield(agentKey+id, state)
	}
	m.saves++
	for _, key := range m.unsaved {
		f, ok := m.tiny[key]
		if !ok || !f.dirty {
			continue
		}
		if err := put(f); err != nil {
			return n, err
		}
		f.dirty = false
		m.tiny[key] = f
	}
	m.unsaved = m.unsaved[:0]
	for _, key := range slices.Sorted(maps.Keys(m.spilled)) {
		s := m.spilled[key]
		if !s.dirty || s.save != 0 {
			continue
		}
		if err := put(s.folded); err != nil {
			return n, err
		}
		s.save = m.saves
		m.spilled[key] = s
	}
	m.waiting = 0
	return n, nil
}

// Saved says that what the first n calls of Checkpoint yielded is in the store.
func (e *Engine) Saved(n uint64) {
	if m := e.mem; m != nil {
		for key, s := range m.spilled {
			if s.save != 0 && s.save <= n {
				m.spills -= s.bytes()
				delete(m.spilled, key)
			}
		}
	}
}

// Away yields the keys of states that the event needs and that are, if they are, in the store alone.
func (e *Engine) Away(ev *event.Event, yield func(key string)) {
	m := e.mem
	if m == nil || m.away.empty() {
		return
	}
	key := xxhash.Sum64String(ev.AgentID)
	if e.store.Holds(key) || !m.away.has(key) {
		return
	}
	if _, ok := m.tiny[key]; ok {
		return
	}
	if _, ok := m.spilled[key]; ok {
		return
	}
	yield(agentKey + ev.AgentID)
}

// Bring restores a state that Away asked for.
func (e *Engine) Bring(key string, state []byte) error {
	if id, ok := strings.CutPrefix(key, agentKey); ok {
		e.mem.stats.returned++
		return e.restoreAgent(id, state)
	}
	return e.Restore(key, state)
}

// Full is asked between batches. It reports whether so much waits for a checkpoint that one is due.
func (e *Engine) Full() bool {
	m := e.mem
	if m == nil {
		return false
	}
	for _, key := range m.clean {
		if s, ok := m.spilled[key]; ok && !s.dirty {
			m.spills -= s.bytes()
			delete(m.spilled, key)
		}
	}
	m.clean = m.clean[:0]
	return m.waiting > m.limit/16
}

// Moved counts, since the engine was made, the agents seen once that were folded, those that made room, and those that came
// back from where they had been moved to.
func (e *Engine) Moved() (foldedOnce, evicted, returned uint64) {
	if e.mem == nil {
		return 0, 0, 0
	}
	return e.mem.stats.folded, e.mem.stats.evicted, e.mem.stats.returned
}

// squeeze appends src with its runs of zeros counted: a state is mostly zeros while an agent is young.
func squeeze(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		zeros := i
		for zeros < len(src) && src[zeros] == 0 {
			zeros++
		}
		end := zeros
		for end < len(src) && (src[end] != 0 || end+2 < len(src) && src[end+1] != 0 && src[end+2] != 0) {
			end++
		}
		dst = binary.AppendUvarint(dst, uint64(zeros-i))
		dst = binary.AppendUvarint(dst, uint64(end-zeros))
		dst = append(dst, src[zeros:end]...)
		i = end
	}
	return dst
}

// maxSwollen bounds what a folded state unfolds to.
const maxSwollen = 64 << 20

// swell undoes squeeze.
func swell(src []byte) ([]byte, error) {
	dst := make([]byte, 0, 2048)
	bad := errors.New("folded state: damaged")
	for len(src) > 0 {
		zeros, n := binary.Uvarint(src)
		if n <= 0 || zeros > maxSwollen {
			return nil, bad
		}
		src = src[n:]
		plain, n := binary.Uvarint(src)
		if n <= 0 || plain > uint64(len(src)-n) || len(dst)+int(zeros) > maxSwollen {
			return nil, bad
		}
		src = src[n:]
		dst = append(dst, make([]byte, zeros)...)
		dst = append(dst, src[:plain]...)
		src = src[plain:]
	}
	return dst, nil
}

// bloom is a filter (Bloom 1970) of fixed size with four probes: what was added is always found, other keys with a
// probability that grows with the number added, about 2 % at eight bits a key.
type bloom struct {
	bits []uint64
	n    uint64
}

func newBloom(bytes int64) bloom {
	n := int64(1024)
	for n*8 < bytes {
		n *= 2
	}
	return bloom{bits: make([]uint64, n)}
}

func (b *bloom) empty() bool { return b.n == 0 }

func (b *bloom) probes(key uint64) [4]uint64 {
	step := key>>32 | 1
	mask := uint64(len(b.bits))*64 - 1
	return [4]uint64{key & mask, (key + step) & mask, (key + 2*step) & mask, (key + 3*step) & mask}
}

func (b *bloom) add(key uint64) {
	b.n++
	for _, i := range b.probes(key) {
		b.bits[i/64] |= 1 << (i % 64)
	}
}

func (b *bloom) has(key uint64) bool {
	for _, i := range b.probes(key) {
		if b.bits[i/64]&(1<<(i%64)) == 0 {
			return false
		}
	}
	return true
}
