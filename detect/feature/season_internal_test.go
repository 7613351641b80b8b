package feature

import (
	"fmt"
	"testing"

	"github.com/astray-dev/astray/ingest/event"
)

// Ten agents read twelve posts in ten minutes all week, but forty on Monday from nine to ten. From the third week on that is
// expected of Monday's hour and of no other, and a restored store expects the same.
func TestMondayMorningIsExpected(t *testing.T) {
	s := NewStore()
	const monday = 1767571200 // 2026-01-05
	n := 0
	var last int64
	run := func(from, to int64) {
		for w := from; w < to; w += 600 {
			hour := (w - monday) / 3600
			if h := hour % 24; h < 6 || h >= 18 {
				continue
			}
			each := 12
			if hour%168 == 9 {
				each = 40
			}
			for a := range 10 {
				for k := range each {
					n++
					last = w + int64(k*600/each)
					s.Update(&event.Event{ID: fmt.Sprint(n), AgentID: fmt.Sprint("a", a), Cohort: "readers", Kind: event.APICall, Access: event.Read,
						Service: "posts", Action: "post.get", Resource: fmt.Sprint("post/", n%500, "x"), Status: 200, Time: last * micros})
				}
			}
		}
	}
	expect := func(s *Store, at int64) float64 {
		a := s.Agent("a3")
		i := int(cellOf[Events][TenMinutes])
		mean, _ := predict(i, Moments{a.N[TenMinutes], a.Cells[i].Mean, a.Cells[i].Var}, s.prior(a, i), a.Cohort.seasons.worth(TenMinutes, at/600))
		return mean
	}
	run(monday, monday+7*86400)
	if flat := expect(s, monday+7*86400+9*3600+1800); flat < 10 || flat > 22 {
		t.Errorf("after one week %.1f events in ten minutes are expected of the busy hour", flat)
	}
	run(monday+7*86400, monday+35*86400)
	busy, quiet := expect(s, monday+35*86400+9*3600+1800), expect(s, monday+36*86400+9*3600+1800)
	if busy < 24 || quiet < 10 || quiet > 17 {
		t.Errorf("after five weeks %.1f are expected on Monday at half past nine, and %.1f on Tuesday", busy, quiet)
	}

	back := NewStore()
	states := map[string][]byte{}
	if err := s.Checkpoint(func(key string, state []byte) error { states[key] = append([]byte(nil), state...); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, key := range sortedKeys(states) {
		if _, err := back.Restore(key, states[key]); err != nil {
			t.Fatal(key, err)
		}
	}
	if again := expect(back, monday+35*86400+9*3600+1800); again != busy {
		t.Errorf("%v is expected by the restored store, %v by the one before", again, busy)
	}
}
