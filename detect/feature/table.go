package feature

import "slices"

// table is a hash table whose keys are hashes already: open addressing with linear probing (Knuth, TAOCP 6.4, algorithms L
// and R), keys and values side by side, so that a look-up takes one line of memory where Go's map takes two or three. It
// is between three eighths and three quarters full. What at and put return is valid until the next put or remove.
type table[V any] struct {
	slots []entry[V]
	n     int
}

// entry is free when its key is 0; the hash 0 is kept as 1.
type entry[V any] struct {
	key   uint64
	value V
}

const leastSlots = 16

func (t *table[V]) len() int { return t.n }

// at returns the value of the key, nil when there is none.
func (t *table[V]) at(key uint64) *V {
	if t.n == 0 {
		return nil
	}
	key = max(key, 1)
	mask := uint64(len(t.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		e := &t.slots[i]
		if e.key == key {
			return &e.value
		}
		if e.key == 0 {
			return nil
		}
	}
}

// get is the value of the key, the zero value when there is none.
func (t *table[V]) get(key uint64) (v V) {
	if p := t.at(key); p != nil {
		v = *p
	}
	return v
}

// put returns the value of the key, the zero value when it is new.
func (t *table[V]) put(key uint64) *V {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.resize(max(2*len(t.slots), leastSlots))
	}
	key = max(key, 1)
	mask := uint64(len(t.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		e := &t.slots[i]
		if e.key == 0 {
			e.key = key
			t.n++
			return &e.value
		}
		if e.key == key {
			return &e.value
		}
	}
}

func (t *table[V]) set(key uint64, v V) { *t.put(key) = v }

func (t *table[V]) resize(slots int) {
	old := t.slots
	t.slots, t.n = make([]entry[V], slots), 0
	for i := range old {
		if old[i].key != 0 {
			*t.put(old[i].key) = old[i].value
		}
	}
}

// remove takes the key out and moves those behind it up.
func (t *table[V]) remove(key uint64) {
	if t.n == 0 {
		return
	}
	key = max(key, 1)
	mask := uint64(len(t.slots) - 1)
	i := key & mask
	for t.slots[i].key != key {
		if t.slots[i].key == 0 {
			return
		}
		i = (i + 1) & mask
	}
	t.n--
	for j := i; ; {
		j = (j + 1) & mask
		home := t.slots[j].key & mask
		if t.slots[j].key == 0 {
			break
		}
		if (j-home)&mask >= (j-i)&mask { // its probes pass the gap
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = entry[V]{}
}

// discard removes the values that gone reports, some of which it may be asked about twice.
func (t *table[V]) discard(gone func(*V) bool) {
	for i := 0; i < len(t.slots); {
		if e := &t.slots[i]; e.key != 0 && gone(&e.value) {
			t.remove(e.key) // what is not yet asked about moves up to here at most
		} else {
			i++
		}
	}
}

// all yields every value, in the order of the slots. What is yielded may change, the table may not.
func (t *table[V]) all(yield func(key uint64, v *V) bool) {
	for i := range t.slots {
		if e := &t.slots[i]; e.key != 0 && !yield(e.key, &e.value) {
			return
		}
	}
}

// sorted returns the keys in their order.
func (t *table[V]) sorted() []uint64 {
	keys := make([]uint64, 0, t.n)
	for k := range t.all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
