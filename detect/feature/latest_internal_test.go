package feature

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever comes and comes again, the names are those that came last, in their order.
func TestTheLatestAreThoseSeenLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l latest
		var want []string
		agents := rapid.SampledFrom([]int{1, 5, maxNames, maxNames + 1, 4 * maxNames}).Draw(t, "agents")
		alike := rapid.Bool().Draw(t, "keys are alike")
		for range rapid.IntRange(0, 5*maxNames).Draw(t, "turns") {
			i := rapid.IntRange(0, agents-1).Draw(t, "agent")
			name := fmt.Sprint("agent-", i)
			key := uint32(i) * 0x9e3779b1
			if alike {
				key = 7
			}
			l.add(name, key)
			want = append(slices.DeleteFunc(want, func(s string) bool { return s == name }), name)
			want = want[max(0, len(want)-maxNames):]
			if got := l.all(); !slices.Equal(got, want) {
				t.Fatalf("got %q\nwant %q", got, want)
			}
		}
	})
}

func BenchmarkLatest(b *testing.B) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprint("agent-", i)
	}
	var l latest
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % len(names)
		l.add(names[k], uint32(k)*0x9e3779b1)
	}
}
