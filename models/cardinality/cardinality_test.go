package cardinality_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/cardinality"
)

func Example() {
	var r cardinality.Recency
	profiles := []uint64{0x1111111122222222, 0x3333333344444444, 0x5555555566666666}
	for minute := uint32(1); minute <= 120; minute++ { // read in turns
		r.Touch(profiles[minute%3], minute, 256)
	}
	for minute, h := range map[uint32]uint64{121: profiles[0], 122: 0x7777777788888888} {
		before := r.Touch(h, minute, 256)
		fmt.Printf("new: %v, first in the hour: %v, in the minute: %v\n", before == 0, before < 120, before < minute)
	}
	fmt.Println(r.Len(), "in all,", r.Since(120), "since minute 120")
	// Unordered output:
	// new: false, first in the hour: false, in the minute: true
	// new: true, first in the hour: true, in the minute: true
	// 4 in all, 2 since minute 120
}

// The table knows exactly what a map knows while its values fit, and of those that do not fit never something wrong.
func TestRecencyIsAMapWhileItFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := 1 << rapid.IntRange(2, 9).Draw(t, "log limit")
		values := rapid.IntRange(1, 2*limit).Draw(t, "values")
		var r cardinality.Recency
		seen := map[uint64]uint32{}
		minute := uint32(1)
		forgotten := 0
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			minute += uint32(rapid.IntRange(0, 3).Draw(t, "pause"))
			v := uint64(rapid.IntRange(1, values).Draw(t, "value")) * 0x9e3779b97f4a7c15
			before := r.Touch(v, minute, limit)
			if before != seen[v] {
				if before != 0 {
					t.Fatalf("seen in minute %d, it says %d", seen[v], before)
				}
				forgotten++
			}
			seen[v] = minute
			if again := r.Touch(v, minute, limit); again != minute || r.Len() > limit {
				t.Fatalf("touched in minute %d, it says %d; %d values of at most %d", minute, again, r.Len(), limit)
			}
		}
		// It grows when a set of four is full: below a quarter of the limit there is room for nearly everything.
		if len(seen) <= limit/8 && forgotten > len(seen)/4 {
			t.Fatalf("%d of %d values were forgotten under a limit of %d", forgotten, len(seen), limit)
		}
	})
}

// Distinct values of aligned windows of any length are those of a recount, while all values fit: the null model is whatever
// was drawn.
func TestDistinctValuesOfWindowsAreARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var r cardinality.Recency
		minute := uint32(rapid.IntRange(60, 1e6).Draw(t, "start"))
		lengths := []uint32{1, 10, 60}
		window, count, recount := make([]uint32, 3), make([]int, 3), make([]map[uint64]bool, 3)
		for range 300 {
			minute += uint32(src.IntN(3))
			h := uint64(src.IntN(24)+1) * 0x9e3779b97f4a7c15
			before := r.Touch(h, minute, 1<<12)
			for i, l := range lengths {
				if w := minute / l; recount[i] == nil || w != window[i] {
					window[i], count[i], recount[i] = w, 0, map[uint64]bool{}
				}
				if before < window[i]*l {
					count[i]++
				}
				if recount[i][h] = true; count[i] != len(recount[i]) {
					t.Fatalf("%d distinct values in a window of %d minutes, a recount says %d", count[i], l, len(recount[i]))
				}
			}
		}
	})
}

// What does not fit is forgotten by age: of a stream of ever new values the newest stay.
func TestForgetsTheOldest(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	var r cardinality.Recency
	const limit, n = 256, 4096
	values := make([]uint64, n)
	for i := range values {
		values[i] = src.Uint64()
		r.Touch(values[i], uint32(i+1), limit)
	}
	known := func(from, to int) (share float64) {
		c := r // what is looked for is touched
		var back cardinality.Recency
		if _, err := back.Decode(c.Append(nil), limit); err != nil {
			t.Fatal(err)
		}
		for _, v := range values[from:to] {
			if back.Touch(v, n+1, limit) != 0 {
				share += 1 / float64(to-from)
			}
		}
		return share
	}
	if s := known(n-limit/4, n); s < 0.9 {
		t.Errorf("of the latest, a quarter of the room, %.2f are known", s)
	}
	if s := known(0, n-4*limit); s > 0.05 {
		t.Errorf("of those four times the room ago %.2f are known", s)
	}
}

func TestSnapshotGoesOnAsIfNothingHappened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		limit := 4 << rapid.IntRange(0, 6).Draw(t, "limit")
		var a, b cardinality.Recency
		minute := uint32(1)
		draw := func() uint64 { minute++; return uint64(src.IntN(2*limit)) * 0x9e3779b97f4a7c15 }
		for range rapid.IntRange(0, 4*limit).Draw(t, "before") {
			a.Touch(draw(), minute, limit)
		}
		bytes := a.Append(nil)
		rest, err := b.Decode(append(bytes, 1, 2), limit)
		if err != nil || len(rest) != 2 || a.Len() != b.Len() {
			t.Fatalf("%v, %d bytes left, %d and %d values", err, len(rest), a.Len(), b.Len())
		}
		for range rapid.IntRange(0, 200).Draw(t, "after") {
			if v := draw(); a.Touch(v, minute, limit) != b.Touch(v, minute, limit) {
				t.Fatal("the two differ after a snapshot")
			}
		}
		if n := rapid.IntRange(0, len(bytes)-1).Draw(t, "cut"); n < len(bytes) {
			if _, err := new(cardinality.Recency).Decode(bytes[:n], limit); err == nil {
				t.Fatalf("a snapshot cut to %d of %d bytes was accepted", n, len(bytes))
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	var r cardinality.Recency
	for i := range uint64(100) {
		r.Touch(i*0x9e3779b97f4a7c15, uint32(i+1), 64)
	}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r cardinality.Recency
		if _, err := r.Decode(b, 64); err != nil {
			return
		}
		for i := range uint64(300) {
			r.Touch(i*0x9e3779b97f4a7c15, uint32(i+1), 64)
		}
	})
}

func TestNoAllocationOnceItHasGrown(t *testing.T) {
	var r cardinality.Recency
	src := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		r.Touch(src.Uint64(), 1, 256)
	}
	if n := testing.AllocsPerRun(100, func() { r.Touch(src.Uint64(), 2, 256) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTouch(b *testing.B) {
	src := rand.New(rand.NewPCG(8, 9))
	for _, n := range []int{8, 256, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hashes := make([]uint64, n)
			for i := range hashes {
				hashes[i] = src.Uint64()
			}
			var r cardinality.Recency
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Touch(hashes[i%n], uint32(i+1), 256)
			}
		})
	}
}
