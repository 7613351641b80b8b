package feature

import (
	"testing"

	"github.com/astray-dev/astray/ingest/event"
)

// What an operation is wont to carry is no strange load of whoever performs it; a much larger one is, and so is as much by
// an operation that carries little, or more often than is allowed for.
func TestOperationsExplainWhatTheyCarry(t *testing.T) {
	s := NewStore()
	now := int64(1_700_000_000)
	send := func(agent, action string, bytes int64) *View {
		now += 700
		return s.Update(&event.Event{ID: "e", AgentID: agent, Time: now * micros, Action: action, Service: "media", Kind: event.APICall, Access: event.Write,
			Destination: "host-of-" + agent, RequestBytes: bytes})
	}
	names := []string{"a", "b", "c", "d", "e"}
	for i := range 60 {
		send(names[i%5], "picture", int64(100_000+i%7*30_000))
		send(names[i%5], "vote", int64(100+i%5*20))
	}
	for _, c := range []struct {
		action  string
		bytes   int64
		atLeast float32
		atMost  float32
	}{
		{"picture", 200_000, 0, 0},
		{"picture", 20_000_000, 15_000, 20_000},
		{"vote", 200_000, 190, 196},
		{"never seen", 200_000, 195, 196},
	} {
		newcomer := c.action + "-er"
		v := send(newcomer, c.action, c.bytes)
		if got := v.Way.Sent; got < c.atLeast || got > c.atMost {
			t.Errorf("%s of %d bytes: %v KB are strange, not %v to %v", c.action, c.bytes, got, c.atLeast, c.atMost)
		}
	}
	var v *View
	now = (now/86400 + 1) * 86400 // so that they fall on one day
	for range carriedMost[1] + 3 {
		v = send("album", "picture", 200_000)
	}
	if got := v.Agent.Carried[1]; got.N > carriedMost[1] || got.KB > 25*200 {
		t.Errorf("%+v of a day's pictures are explained", got)
	}
	if v.Way.Sent == 0 {
		t.Error("any number of pictures is explained")
	}
}
