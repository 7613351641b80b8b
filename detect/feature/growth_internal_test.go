package feature

import (
	"fmt"
	"testing"

	"github.com/astray-dev/astray/ingest/event"
)

// An agent that goes round two thousand objects reads nothing new on its rounds, though its table holds an eighth of them; what is new is
// counted right on average, by a restored agent as well.
func TestARoundIsNothingNew(t *testing.T) {
	s := NewStore()
	at, n := int64(1_700_000_000), 0
	read := func(from, to int) {
		for i := from; i < to; i++ {
			n++
			at += 5
			s.Update(&event.Event{ID: fmt.Sprint(n), AgentID: "a", Cohort: "c", Kind: event.APICall, Access: event.Read, Service: "s",
				Action: "post.get", Resource: fmt.Sprint("post/", i, "x"), Status: 200, Time: at * micros})
		}
	}
	news := func() float64 { g := s.Agent("a").Growth; return float64(g.Distinct + g.New) }
	read(0, 2000)
	first := news()
	if first < 1700 || first > 2300 {
		t.Errorf("%g of 2,000 objects are new on the first round", first)
	}
	for range 5 {
		read(0, 2000)
	}
	if again := news() - first; again > 100 { // some had been forgotten before there was a set
		t.Errorf("%g objects are new on five further rounds", again)
	}
	states := map[string][]byte{}
	if err := s.Checkpoint(func(key string, state []byte) error { states[key] = append([]byte(nil), state...); return nil }); err != nil {
		t.Fatal(err)
	}
	s = NewStore()
	for _, key := range sortedKeys(states) {
		if _, err := s.Restore(key, states[key]); err != nil {
			t.Fatal(key, err)
		}
	}
	before := news()
	read(0, 2000)
	if again := news() - before; again > 10 {
		t.Errorf("%g objects are new to the restored agent on its round", again)
	}
	read(2000, 4000)
	if more := news() - before; more < 1600 || more > 2400 {
		t.Errorf("%g of 2,000 further objects are new", more)
	}
}
