// Package cardinality counts distinct values: how many different ones there are in windows of any length, and how many are new
// altogether.
//
// Recency remembers when each of a bounded number of values was last seen, to the minute. From that one table follow,
// for every window length at once, whether a value is the first of its kind in the window (last seen before the window
// began) and whether it is new to the table: who counts the first ones has the number of distinct values, who counts the
// new ones its growth. What is usual of either is a rate (package rate); which value it is, a novelty (package novelty).
//
// It is a four-way set-associative cache: exact while the values fit, and when they do not it forgets the value of the set
// that was seen longest ago, so a returning value may count as new again: distinct values of a window are never missed, and
// counted twice only when more came between than the table holds. Baselines are to be learned through the same
// eyes, which keeps the comparison fair.
//
// Set counts how many different values there ever were: exact at first, then a HyperLogLog; LogSF is the probability of as many new
// ones in the next draws.
//
// Null, prior: none but for LogSF; it counts. Forgetting: by room alone, the oldest of four first. Values come as 64-bit hashes, well mixed, of which
// 31 bits are kept: among 256 values one in eight million that is new is taken for an old one. Units: minutes. Cost: 32 bytes and 8 a
// value, 5 to 20 ns for Touch.
package cardinality

import (
	"encoding/binary"
	"errors"
)

// Recency is the table; the zero value is empty and holds no memory.
type Recency struct {
	slots []slot
	used  int32
}

type slot struct{ key, minute uint32 }

const ways = 4

// Touch marks the value as seen in the given minute (counted from the epoch, never 0) and returns the minute
// it was seen before, 0 when it is new to the table. The table grows up to limit values, a power of two ≥ 4.
func (r *Recency) Touch(h uint64, minute uint32, limit int) (before uint32) {
	key := uint32(h>>32) | 1
	if len(r.slots) == 0 {
		r.slots = make([]slot, ways)
	}
	for {
		set := r.set(h)
		free := -1
		oldest := 0
		for i := range set {
			s := &set[i]
			if s.minute == 0 {
				if free < 0 {
					free = i
				}
				continue
			}
			if s.key == key {
				before = s.minute
				if minute > before {
					s.minute = minute
				}
				return before
			}
			if s.minute < set[oldest].minute {
				oldest = i
			}
		}
		if free >= 0 {
			set[free] = slot{key, minute}
			r.used++
			return 0
		}
		if len(r.slots) >= limit {
			set[oldest] = slot{key, minute}
			return 0
		}
		r.grow()
	}
}

// Len is the number of values held.
func (r *Recency) Len() int { return int(r.used) }

// The set is chosen by bits of the key itself, so that growing needs nothing but the key.
func (r *Recency) set(h uint64) []slot {
	key := uint32(h>>32) | 1
	n := uint32(len(r.slots) / ways)
	i := (key >> 1) & (n - 1) * ways
	return r.slots[i : i+ways : i+ways]
}

func (r *Recency) grow() {
	old := r.slots
	r.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.minute == 0 {
			continue
		}
		set := r.set(uint64(s.key) << 32)
		for i := range set { // a set of four splits into two of four: there is always room
			if set[i].minute == 0 {
				set[i] = s
				break
			}
		}
	}
}

// Since is how many of the values held were seen after a minute.
func (r *Recency) Since(minute int64) (n int) {
	for _, m := range r.slots {
		if m.minute != 0 && int64(m.minute) > minute {
			n++
		}
	}
	return n
}

// Near reads where a value is looked for, Warm a word of each of the first few lines: that brings them into the cache before they
// are needed. What is returned means nothing.
func (r *Recency) Near(h uint64) uint64 {
	if len(r.slots) == 0 {
		return 0
	}
	return uint64(r.set(h)[0].key)
}

// Warm is Near for what is looked for anywhere.
func (r *Recency) Warm() (sum uint64) {
	for k := 0; k < min(len(r.slots), 25); k += 8 {
		sum += uint64(r.slots[k].key)
	}
	return sum
}

// Each yields the hashes of the values held, as much as is kept of them.
func (r *Recency) Each(yield func(h uint64)) {
	for _, s := range r.slots {
		if s.minute != 0 {
			yield(uint64(s.key) << 32)
		}
	}
}

// Bytes is how much memory the values take.
func (r *Recency) Bytes() int { return 8 * cap(r.slots) }

// Append adds a snapshot to dst.
func (r *Recency) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.slots)))
	dst = binary.AppendUvarint(dst, uint64(r.used))
	// Position matters for equality after a round trip, so empty slots are written too, as one zero byte.
	for _, s := range r.slots {
		dst = binary.AppendUvarint(dst, uint64(s.minute))
		if s.minute != 0 {
			dst = binary.LittleEndian.AppendUint32(dst, s.key)
		}
	}
	return dst
}

// Decode reads what Append wrote of a table of up to limit values, and returns the rest.
func (r *Recency) Decode(src []byte, limit int) ([]byte, error) {
	bad := errors.New("cardinality: bad recency table")
	uvarint := func() uint64 {
		x, n := binary.Uvarint(src)
		if n <= 0 {
			src = nil
			return 1 << 63
		}
		src = src[n:]
		return x
	}
	n, used := uvarint(), uvarint()
	if n > uint64(limit) || n%ways != 0 || used > n {
		return nil, bad
	}
	d := Recency{used: int32(used)}
	if n > 0 {
		d.slots = make([]slot, n)
	}
	for i := range d.slots {
		m := uvarint()
		if m > 1<<32-1 || m != 0 && len(src) < 4 {
			return nil, bad
		}
		if m != 0 {
			d.slots[i] = slot{binary.LittleEndian.Uint32(src), uint32(m)}
			src = src[4:]
		}
	}
	*r = d
	return src, nil
}
