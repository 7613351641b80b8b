package feature

import "encoding/binary"

// Recency remembers when each of a bounded number of values was last seen, to the minute. From that one
// table follow, for every window length at once, whether a value is the first of its kind in the window
// (last seen before the window began) and whether it is new altogether.
//
// It is a four-way set-associative cache: exact while the values fit, and when they do not it forgets the
// value of the set that was seen longest ago, so a returning value may count as new again. Baselines are
// learned through the same eyes, which keeps the comparison fair. Eight bytes a value.
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

// Has reports whether the value is in the table.
func (r *Recency) Has(h uint64) bool {
	if len(r.slots) == 0 {
		return false
	}
	key := uint32(h>>32) | 1
	for _, s := range r.set(h) {
		if s.minute != 0 && s.key == key {
			return true
		}
	}
	return false
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

func (r *Recency) bytes() int { return 8 * cap(r.slots) }

func (r *Recency) append(dst []byte) []byte {
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

func (r *Recency) decode(d *decoder, limit int) {
	n := d.uvarint()
	used := d.uvarint()
	if n > uint64(limit) || n%ways != 0 || used > n {
		d.fail("recency table size")
		return
	}
	r.used = int32(used)
	r.slots = nil
	if n > 0 {
		r.slots = make([]slot, n)
	}
	for i := range r.slots {
		if m := d.uvarint(); m != 0 {
			r.slots[i] = slot{d.uint32(), uint32(m)}
		}
	}
}
