package detect

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Links come out by time, source and position, in whatever order they went in.
func TestWaitingLinksComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.IntRange(0, 3)
		var w waiting
		var want, got []waitingLink
		n := 0
		for range rapid.IntRange(0, 60).Draw(t, "links") {
			if w.n > 0 && rapid.IntRange(0, 9).Draw(t, "take") == 0 { // what is taken makes room, and counts from the beginning again
				x := w.pop()
				if slices.ContainsFunc(want, func(l waitingLink) bool { return l.compare(&x) < 0 }) {
					t.Fatalf("%v came before one of %v", x, want)
				}
				want = slices.DeleteFunc(want, func(l waitingLink) bool { return l.compare(&x) == 0 })
			}
			l := waitingLink{time: int64(few.Draw(t, "time")), source: int32(few.Draw(t, "source")), offset: int64(few.Draw(t, "offset")), index: uint32(n)}
			n++
			w.push(l)
			want = append(want, l)
		}
		all := 0
		for range w.all {
			all++
		}
		if all != len(want) || all != w.n {
			t.Fatalf("%d of %d links wait", all, len(want))
		}
		for w.n > 0 {
			got = append(got, w.pop())
		}
		slices.SortFunc(want, func(a, b waitingLink) int {
			return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.source, b.source), cmp.Compare(a.offset, b.offset), cmp.Compare(a.index, b.index))
		})
		if !slices.EqualFunc(want, got, func(a, b waitingLink) bool {
			return a.time == b.time && a.source == b.source && a.offset == b.offset && a.index == b.index
		}) {
			t.Fatalf("%v came as %v", want, got)
		}
	})
}
