package clickhouse_test

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// Whatever a producer puts into an event comes back from the table as it was, and the block needs none of the
// event's memory once it was appended. How a block is packed on its way, which is another way through its columns, is all one.
func TestEventsComeBackAsTheyWere(t *testing.T) {
	dsn, conn, store := database(t)
	ctx := t.Context()
	stores := []*clickhouse.Store{store}
	for _, packed := range []string{"lz4", "zstd"} {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery += "&compress=" + packed
		other, err := clickhouse.Open(ctx, u.String())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		stores = append(stores, other)
	}
	hostile := []string{"", "'", `\`, "\\'); DROP TABLE events; --", "\x00\t\n\r", "é☃𝕏\u202e", "{x:String}", strings.Repeat("long ", 5000), "plain", "\xff\xfe"}
	offset := int64(0)
	rapid.Check(t, func(r *rapid.T) {
		text := func() string {
			return rapid.OneOf(rapid.SampledFrom(hostile), rapid.String()).Draw(r, "text")
		}
		list := func() []string {
			out := make([]string, rapid.IntRange(0, 3).Draw(r, "n"))
			for i := range out {
				out[i] = text()
			}
			return out
		}
		w := rapid.SampledFrom(stores).Draw(r, "store").NewBlock(pipeline.Checkpoint{Topic: "t", Partition: 1, Epoch: 1})
		defer w.Close()
		first := offset
		var want []*event.Event
		for range rapid.IntRange(1, 20).Draw(r, "events") {
			e := &event.Event{
				ID: text(), Time: rapid.OneOf(rapid.Int64Range(0, 2*86_400_000_000), rapid.Just(int64(4e15))).Draw(r, "time"), Kind: event.Post, Access: event.Delete, AgentID: text(),
				Action: text(), Method: text(), Service: text(), Resource: text(), Destination: text(), CredentialID: text(),
				OwnerID: text(), OnBehalfOf: list(), SessionID: text(), TraceID: text(), AgentVersion: text(), Cohort: text(),
				SourceIP: text(), ASN: rapid.Uint32().Draw(r, "asn"), UserAgent: text(), Status: rapid.Int32().Draw(r, "status"),
				RequestBytes: rapid.Int64().Draw(r, "request"), ResponseBytes: rapid.Int64().Draw(r, "response"),
				DurationMS: rapid.Float64().Draw(r, "duration"), Community: text(), ReplyTo: text(), Mentions: list(), Content: text(),
			}
			for i, v := range list() {
				e.Labels = append(e.Labels, event.Label{Key: fmt.Sprint(i, v), Value: text()})
			}
			for _, v := range list() {
				e.Secrets = append(e.Secrets, event.Secret{Field: v, Rule: text(), Fingerprint: text()})
			}
			want = append(want, e.Clone())
			w.Append(e, event.Position{Topic: "t", Partition: 1, Offset: offset, Index: uint32(offset)}, offset%2 == 0)
			*e = event.Event{}
			offset++
		}
		if err := w.Flush(ctx); err != nil {
			r.Fatal(err)
		}
		rows, err := conn.Query(ctx, `SELECT id, toUnixTimestamp64Micro(time), kind, access, agent_id, action, method, service, resource, destination,
			credential_id, owner_id, on_behalf_of, session_id, trace_id, agent_version, cohort, source_ip, asn, user_agent, status,
			request_bytes, response_bytes, duration_ms, community, reply_to, mentions, content, mapKeys(labels), mapValues(labels),
			secrets.field, secrets.rule, secrets.fingerprint, late, idx FROM events WHERE offset >= $1 ORDER BY offset`, first)
		if err != nil {
			r.Fatal(err)
		}
		defer rows.Close()
		for i := 0; rows.Next(); i++ {
			got := &event.Event{}
			var kind, access string
			var keys, values, fields, rules, prints []string
			var late uint8
			var idx uint32
			err := rows.Scan(&got.ID, &got.Time, &kind, &access, &got.AgentID, &got.Action, &got.Method, &got.Service, &got.Resource,
				&got.Destination, &got.CredentialID, &got.OwnerID, &got.OnBehalfOf, &got.SessionID, &got.TraceID, &got.AgentVersion,
				&got.Cohort, &got.SourceIP, &got.ASN, &got.UserAgent, &got.Status, &got.RequestBytes, &got.ResponseBytes,
				&got.DurationMS, &got.Community, &got.ReplyTo, &got.Mentions, &got.Content, &keys, &values, &fields, &rules, &prints, &late, &idx)
			if err != nil {
				r.Fatal(err)
			}
			if kind != "post" || access != "delete" {
				r.Fatalf("kind %q access %q", kind, access)
			}
			got.Kind, got.Access = event.Post, event.Delete
			for j := range keys {
				got.Labels = append(got.Labels, event.Label{Key: keys[j], Value: values[j]})
			}
			for j := range fields {
				got.Secrets = append(got.Secrets, event.Secret{Field: fields[j], Rule: rules[j], Fingerprint: prints[j]})
			}
			if got = got.Clone(); !reflect.DeepEqual(got, want[i]) {
				r.Fatalf("got  %+v\nwant %+v", *got, *want[i])
			}
			if at := first + int64(i); idx != uint32(at) || late == 1 != (at%2 == 0) {
				r.Fatalf("offset %d has index %d and late %d", at, idx, late)
			}
			want[i] = nil
		}
		if err := rows.Err(); err != nil {
			r.Fatal(err)
		}
		for i, e := range want {
			if e != nil {
				r.Fatalf("event %d is not there", i)
			}
		}
	})
}

// More distinct values than a byte, or two, can number.
func TestManyDistinctValues(t *testing.T) {
	_, conn, store := database(t)
	w := store.NewBlock(pipeline.Checkpoint{Topic: "t", Epoch: 1})
	offset := int64(0)
	for _, n := range []int{256, 257, 65_536, 65_537, 3} {
		for i := range n {
			w.Append(&event.Event{ID: "e", AgentID: "a", Kind: event.Post, UserAgent: fmt.Sprint(n, "/", i)}, event.Position{Topic: "t", Offset: offset}, false)
			offset++
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.Rows() != 0 || w.Bytes() != 0 {
			t.Fatalf("%d rows and %d bytes are left", w.Rows(), w.Bytes())
		}
		var got uint64
		err := conn.QueryRow(t.Context(), "SELECT uniqExact(user_agent) FROM events WHERE startsWith(user_agent, $1)", fmt.Sprint(n, "/")).Scan(&got)
		if err != nil || got != uint64(n) {
			t.Errorf("%d of %d values came back (%v)", got, n, err)
		}
	}
}

// Replaced states are dropped, the newest committed ones and all uncommitted ones are not; a new owner drops
// the uncommitted ones.
func TestReplacedStatesAreDropped(t *testing.T) {
	_, conn, store := database(t)
	ctx := t.Context()
	at := func(epoch uint64, offset int64) pipeline.Checkpoint {
		return pipeline.Checkpoint{Topic: "it's", Partition: 1, Epoch: epoch, Offset: offset}
	}
	save := func(offset int64, keys ...string) {
		t.Helper()
		var all []pipeline.State
		for _, k := range keys {
			all = append(all, pipeline.State{Key: k, Data: fmt.Append(nil, offset)})
		}
		if err := store.SaveStates(ctx, at(1, offset), all); err != nil {
			t.Fatal(err)
		}
	}
	load := func(cp pipeline.Checkpoint) string {
		t.Helper()
		got := map[string]string{}
		if err := store.LoadStates(ctx, cp, func(k string, d []byte) error { got[k] = string(d); return nil }); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	save(4, "forgotten")
	save(5, "once")
	if err := store.SaveStates(ctx, at(1, 6), []pipeline.State{{Key: "forgotten"}}); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for i := range int64(70) { // more than a turn of pruning
		last = 10 + i
		save(last, "a", "b", "c")
		if err := store.SaveCheckpoint(ctx, at(1, last)); err != nil {
			t.Fatal(err)
		}
	}
	save(last+1, "a", "new")
	committed := fmt.Sprintf("map[a:%d b:%d c:%d once:5]", last, last, last)
	if got := load(at(1, last)); got != committed {
		t.Errorf("got %s, want %s", got, committed)
	}
	// Deletes run one after the other: once this one is through, the one in the background is too.
	if err := conn.Exec(ctx, "DELETE FROM agent_state WHERE key = 'none' SETTINGS lightweight_deletes_sync = 2"); err != nil {
		t.Fatal(err)
	}
	var rows uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM agent_state").Scan(&rows); err != nil || rows > 30 {
		t.Errorf("%d rows are left of 215 (%v)", rows, err)
	}
	if err := conn.QueryRow(ctx, "SELECT count() FROM agent_state WHERE key = 'forgotten'").Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d rows are left of what is forgotten (%v)", rows, err)
	}
	if got := load(at(1, last)); got != committed {
		t.Errorf("after pruning: got %s, want %s", got, committed)
	}
	if err := store.SaveCheckpoint(ctx, at(2, last)); err != nil {
		t.Fatal(err)
	}
	if err := store.Fence(ctx, at(2, last)); err != nil {
		t.Fatal(err)
	}
	if got := load(at(2, last+100)); got != committed {
		t.Errorf("states of the owner before count: got %s, want %s", got, committed)
	}
}

// The states that are asked for come back, the newest of each, whatever their keys look like.
func TestStatesComeBackByKey(t *testing.T) {
	_, _, store := database(t)
	ctx := t.Context()
	cp := pipeline.Checkpoint{Topic: "t", Partition: 1, Epoch: 1, Offset: 1}
	hostile := "agent/x' OR 1=1 -- \\ \x00 é"
	for ; cp.Offset < 4; cp.Offset++ {
		states := []pipeline.State{{Key: hostile, Data: fmt.Append(nil, cp.Offset)}, {Key: "agent/b", Data: fmt.Append(nil, cp.Offset)}, {Key: "agent/gone"}}
		if err := store.SaveStates(ctx, cp, states[:4-cp.Offset]); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	keys := []string{hostile, "agent/b", "agent/gone", "agent/unknown"}
	for range 5000 {
		keys = append(keys, "agent/"+strings.Repeat("k", 200)+fmt.Sprint(len(keys)))
	}
	if err := store.States(ctx, cp, keys, func(k string, d []byte) error { got[k] = string(d); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{hostile: "3", "agent/b": "2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cp.Partition = 2
	if err := store.States(ctx, cp, keys, func(k string, _ []byte) error { t.Errorf("another partition's %q", k); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Recent looks further back when the offsets just before hold too few events.
func TestRecentYieldsTheLastEventsOldestFirst(t *testing.T) {
	_, _, store := database(t)
	w := store.NewBlock(pipeline.Checkpoint{Topic: "t", Epoch: 1})
	for i, offset := range []int64{1, 2, 2, 3, 900, 1000, 1001} {
		w.Append(&event.Event{ID: fmt.Sprint(offset, "/", i), Time: int64(i) * 86_400_000_000, AgentID: "a", Kind: event.Post},
			event.Position{Topic: "t", Offset: offset, Index: uint32(i)}, false)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "[1000/5@5]", 3: "[3/3@3 900/4@4 1000/5@5]", 50: "[1/0@0 2/1@1 2/2@2 3/3@3 900/4@4 1000/5@5]"} {
		got := []string{}
		err := store.Recent(t.Context(), pipeline.Checkpoint{Topic: "t", Offset: 1001}, n, func(id string, time int64) {
			got = append(got, fmt.Sprintf("%s@%d", id, time/86_400_000_000))
		})
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("the last %d: got %v, want %s (%v)", n, got, want, err)
		}
	}
}
