package pipeline

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/astray-dev/astray/ingest/kafka"
)

// Batches go round, and their events' slices with them. Once a batch has been filled again, nothing in it may hold on to what it was
// filled with before: a single string would keep the whole fetch.
func TestABatchLetsGoOfTheOneBefore(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	p := &partition{cfg: Config{Now: clock, Wall: clock}}
	formats := NewFormats(nil, nil)
	decode := formats.Decode()
	var b batch
	fill := func(messages int, rest, last string) (memory weak.Pointer[byte]) {
		// As a fetch is unpacked: one piece of memory for all its messages.
		var all []byte
		var ends []int
		for i := range messages {
			if i == messages-1 {
				rest += last
			}
			all = fmt.Appendf(all, `{"id":"e%d","time":%d,"kind":"post","agent_id":"a","action":"post.create"%s}`, i, now.UnixMilli(), rest)
			ends = append(ends, len(all))
		}
		clear(b.in.Messages)
		b.in.Messages = b.in.Messages[:0]
		from := 0
		for i, end := range ends {
			b.in.Messages = append(b.in.Messages, kafka.Message{Offset: int64(i), Value: all[from:end:end]})
			from = end
		}
		p.decode(decode, &b)
		if len(b.events)+len(b.dead) != messages {
			t.Fatalf("%d events and %d dead letters of %d messages: %+v", len(b.events), len(b.dead), messages, b.dead)
		}
		return weak.Make(&all[0])
	}
	const slices = `,"mentions":["a friend of mine"],"on_behalf_of":["somebody","else"],"labels":{"x":"y"},"content":"key ghp_0123456789abcdefghijABCDEFGHIJ456789"`
	const twice = `,"community":"c","community":"c"`
	for name, c := range map[string]struct{ rest, last string }{
		"slices": {rest: slices}, "texts alone": {}, "the last is rejected": {last: twice},
	} {
		first := fill(40, c.rest, c.last)
		if dead := len(b.dead); c.last == "" && dead != 0 || c.last != "" && dead != 1 {
			t.Fatalf("%s: %d dead letters: %+v", name, dead, b.dead)
		}
		if c.rest != "" && (len(b.events[39].Mentions) != 1 || len(b.events[39].Secrets) != 1) {
			t.Fatalf("the batch has nothing to hold on to: %+v", b.events[39])
		}
		fill(3, "", "") // fewer, and with none of it
		if len(b.dead) > 0 {
			t.Fatalf("%s: %+v", name, b.dead)
		}
		runtime.GC()
		if first.Value() != nil {
			t.Errorf("%s: a batch holds on to what it held before", name)
		}
	}
	runtime.KeepAlive(&b)
}
