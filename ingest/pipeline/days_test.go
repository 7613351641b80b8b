package pipeline

import (
	"testing"

	"github.com/cespare/xxhash/v2"
)

// No id that was there is ever taken for new, and few of those that were not are asked about.
func TestDaysForgetNothingWithinADay(t *testing.T) {
	const ids = 100_000
	d := newDays(3 * ids * 3) // 24 bits an id, or a little more
	hash := func(i int) uint64 { return xxhash.Sum64(append([]byte("event-"), byte(i), byte(i>>8), byte(i>>16))) }
	wrong := 0
	for i := range ids {
		if d.suspect(hash(i), 20_000) {
			wrong++
		}
	}
	if wrong > ids/1000 {
		t.Errorf("%d of %d new ids would be asked about", wrong, ids)
	}
	for i := range ids {
		if !d.suspect(hash(i), 20_000) {
			t.Fatalf("id %d was forgotten", i)
		}
	}
	if d.suspect(hash(1), 20_001) && d.suspect(hash(2), 20_001) {
		t.Error("an id of one day is taken for one of the next")
	}
	d.suspect(hash(1), 20_003)
	if !d.suspect(hash(ids+1), 20_000) {
		t.Error("of a day that is no longer remembered nothing is sure")
	}
	if len(d.filters) > keepDays {
		t.Errorf("%d filters are kept", len(d.filters))
	}
}

func BenchmarkDays(b *testing.B) {
	d := newDays(48 << 20)
	h := uint64(1)
	for b.Loop() {
		h = h*0x9e3779b97f4a7c15 + 1
		d.suspect(h, 20_000)
	}
}
