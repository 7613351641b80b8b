package pipeline

import (
	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// Window is a Deduper that remembers the ids of the last events, as many as it was made for, in constant memory.
//
// It keeps a 64-bit hash of id and day in a ring, oldest first, and the same hashes in an open-addressed table of
// at least twice the size, so that a look-up touches one cache line as a rule. Two different ids are taken for one
// with probability n/2⁶⁴ per event, about 10⁻¹³ for a million remembered. What it answers depends on the
// events alone, never on the clock.
type Window struct {
	ring  []uint64
	next  int
	full  bool
	table []uint64 // 0 is free
	mask  uint64
}

// NewWindow returns a window over the last n events, n at least 1.
func NewWindow(n int) *Window {
	n = max(n, 1)
	size := uint64(4)
	for size < 2*uint64(n) {
		size *= 2
	}
	return &Window{ring: make([]uint64, n), table: make([]uint64, size), mask: size - 1}
}

// Cap is how many events it remembers.
func (w *Window) Cap() int { return len(w.ring) }

// Clear forgets everything.
func (w *Window) Clear() {
	clear(w.ring)
	clear(w.table)
	w.next, w.full = 0, false
}

// Duplicate implements Deduper.
func (w *Window) Duplicate(ev *event.Event) bool { return w.Seen(Fingerprint(ev.ID, ev.Time)) }

// Fingerprint is what a Window remembers of an event: a hash of its id and the day of its time.
func Fingerprint(id string, time int64) uint64 {
	return fingerprint(xxhash.Sum64String(id), dayOf(time))
}

// fingerprint is Fingerprint of an id's hash.
func fingerprint(hash uint64, day int32) uint64 {
	h := hash ^ uint64(day)*0x9e3779b97f4a7c15
	h ^= h >> 32
	if h == 0 {
		h = 1
	}
	return h
}

// Seen reports whether h is among the last values, and remembers it if not.
func (w *Window) Seen(h uint64) bool {
	i := w.find(h)
	if w.table[i] == h {
		return true
	}
	if w.full {
		w.remove(w.ring[w.next])
		i = w.find(h) // removing may have moved the free place
	}
	w.table[i] = h
	w.ring[w.next] = h
	if w.next++; w.next == len(w.ring) {
		w.next, w.full = 0, true
	}
	return false
}

// find returns the slot of h, or the free slot where it belongs.
func (w *Window) find(h uint64) uint64 {
	i := (h * 0xd6e8feb86659fd93) & w.mask
	for w.table[i] != 0 && w.table[i] != h {
		i = (i + 1) & w.mask
	}
	return i
}

// remove takes h out and closes the hole it leaves, so that no probe sequence is cut.
func (w *Window) remove(h uint64) {
	i := w.find(h)
	if w.table[i] != h {
		return
	}
	for j := i; ; {
		w.table[i] = 0
		for {
			j = (j + 1) & w.mask
			v := w.table[j]
			if v == 0 {
				return
			}
			home := (v * 0xd6e8feb86659fd93) & w.mask
			// v may move to the hole unless its home lies cyclically after the hole and up to j.
			if (j-home)&w.mask >= (j-i)&w.mask {
				w.table[i] = v
				i = j
				break
			}
		}
	}
}

func dayOf(micros int64) int32 {
	const day = 86_400_000_000
	d := micros / day
	if micros%day < 0 {
		d--
	}
	return int32(d)
}
