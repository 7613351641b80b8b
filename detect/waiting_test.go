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
		for range rapid.IntRange(0, 60).Draw(t, "links") {
			l := waitingLink{time: int64(few.Draw(t, "time")), source: int32(few.Draw(t, "source")), offset: int64(few.Draw(t, "offset")), index: uint32(len(want))}
			w.push(l)
			want = append(want, l)
		}
		for len(w) > 0 {
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
