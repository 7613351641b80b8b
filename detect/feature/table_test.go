package feature

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A table is a map, however its keys collide.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[uint64]int{}
		var got table[int]
		keys := rapid.OneOf(rapid.Uint64Range(1, 40), rapid.Map(rapid.Uint64Range(1, 8), func(x uint64) uint64 { return x << 32 }), rapid.Uint64Min(1))
		for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
			k := keys.Draw(t, "key")
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0:
				got.remove(k)
				delete(want, k)
			case 1:
				got.set(k, i)
				want[k] = i
			default:
				p := got.at(k)
				v, ok := want[k]
				if ok != (p != nil) || ok && *p != v || got.get(k) != v {
					t.Fatalf("key %d: %v, want %d, %v", k, p, v, ok)
				}
			}
			if rapid.IntRange(0, 20).Draw(t, "discard") == 0 {
				m := rapid.IntRange(1, 5).Draw(t, "multiples")
				got.discard(func(v *int) bool { return *v%m == 0 })
				maps.DeleteFunc(want, func(_ uint64, v int) bool { return v%m == 0 })
			}
			if got.len() != len(want) {
				t.Fatalf("%d keys, want %d", got.len(), len(want))
			}
		}
		if k, w := got.sorted(), slices.Sorted(maps.Keys(want)); !slices.Equal(k, w) {
			t.Fatalf("keys %d, want %d", k, w)
		}
		for k, v := range got.all {
			if *v != want[k] {
				t.Fatalf("key %d: %d, want %d", k, *v, want[k])
			}
		}
	})
}
