package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	chdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
	"github.com/astray-dev/astray/ingest/simulate"
)

var server *embedded.Server

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	code := func() int {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		dir, err := os.MkdirTemp("", "astray-clickhouse-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if server, err = embedded.StartClickHouse(ctx, embedded.Options{Dir: dir}); err != nil {
			panic(err)
		}
		defer server.Kill()
		return m.Run()
	}()
	os.Exit(code)
}

// database makes a fresh database with the schema of today.
func database(t testing.TB) (dsn string, conn chdriver.Conn, store *clickhouse.Store) {
	t.Helper()
	ctx := context.Background()
	name := strings.NewReplacer("/", "_", "#", "_").Replace(t.Name())
	admin := open(t, server.DSN())
	for _, q := range []string{"DROP DATABASE IF EXISTS ", "CREATE DATABASE "} {
		engine := ""
		if q[0] == 'C' {
			engine = " ENGINE = Atomic"
		}
		if err := admin.Exec(ctx, q+name+engine); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = name
	dsn = u.String()
	if _, err := clickhouse.Migrate(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	store, err = clickhouse.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return dsn, open(t, dsn), store
}

func open(t testing.TB, dsn string) chdriver.Conn {
	t.Helper()
	o, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := driver.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestMigrateTwiceIsMigrateOnce(t *testing.T) {
	dsn, _, _ := database(t)
	again, err := clickhouse.Migrate(t.Context(), dsn)
	if err != nil || len(again) != 0 {
		t.Errorf("the second time took %v, %v", again, err)
	}
	all, err := clickhouse.Status(t.Context(), dsn)
	if err != nil || len(all) < 4 {
		t.Fatalf("status: %v %v", all, err)
	}
	for _, m := range all {
		if !m.Applied {
			t.Errorf("%s is not applied", m.File)
		}
	}
}

func write(t *testing.T, store *clickhouse.Store, from, to int, epoch uint64) error {
	t.Helper()
	w := store.NewBlock(pipeline.Checkpoint{Topic: "agent.events", Partition: 3, Epoch: epoch})
	defer w.Close()
	for i := from; i < to; i++ {
		w.Append(&event.Event{
			ID: fmt.Sprint("e", i), Time: 1_767_225_500_000_000 + int64(i)*1_000_000, Kind: event.Post, Access: event.Write,
			AgentID: fmt.Sprint("a", i%7), Action: "post.create", Service: "feed", CredentialID: "k1", Content: "it's \x00 'text'",
			Mentions: []string{"x", "y"}, Labels: []event.Label{{Key: "k", Value: "v"}},
			Secrets: []event.Secret{{Field: "content", Rule: "r", Fingerprint: "f"}},
		}, event.Position{Topic: "agent.events", Partition: 3, Offset: int64(i)}, i%2 == 0)
	}
	return w.Flush(t.Context())
}

// The rows span midnight: two blocks. Writing the same blocks again leaves them once in the table.
func TestBlocksAreStoredOnce(t *testing.T) {
	_, conn, store := database(t)
	for range 2 {
		if err := write(t, store, 0, 500, 1); err != nil {
			t.Fatal(err)
		}
	}
	var rows, ids, days, late uint64
	var content string
	var mentions []string
	err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(id), uniqExact(toDate(time)), sum(late), any(content), any(mentions) FROM events").
		Scan(&rows, &ids, &days, &late, &content, &mentions)
	if err != nil {
		t.Fatal(err)
	}
	if rows != 500 || ids != 500 || days != 2 || late != 250 || content != "it's \x00 'text'" || fmt.Sprint(mentions) != "[x y]" {
		t.Errorf("rows=%d ids=%d days=%d late=%d content=%q mentions=%v", rows, ids, days, late, content, mentions)
	}
}

// A block waits for no skip index; merging makes them, and what they find is the same before and after.
func TestSkipIndexesComeWithTheMerge(t *testing.T) {
	_, conn, store := database(t)
	if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES events"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(t, store, 0, 400, 1), write(t, store, 600, 900, 1)); err != nil {
		t.Fatal(err)
	}
	look := func(when string, indexed bool) {
		t.Helper()
		var parts, compact, bytes, found uint64
		err := conn.QueryRow(t.Context(), `SELECT count(), countIf(part_type = 'Compact'), sum(secondary_indices_compressed_bytes)
			FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active`).Scan(&parts, &compact, &bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM events WHERE id IN ('e7', 'e700', 'e500')").Scan(&found); err != nil {
			t.Fatal(err)
		}
		if compact != parts || (bytes > 0) != indexed || found != 2 {
			t.Errorf("%s: %d parts, %d of them compact, %d bytes of indexes, %d of 2 events found", when, parts, compact, bytes, found)
		}
	}
	look("before the merge", false)
	for _, q := range []string{"SYSTEM START MERGES events", "OPTIMIZE TABLE events FINAL"} {
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	look("after the merge", true)
}

// An owner whose partition was claimed by another can neither store events nor commit, however late it wakes.
func TestLateOwnerIsFenced(t *testing.T) {
	_, conn, store := database(t)
	ctx := t.Context()
	at := func(epoch uint64, offset int64) pipeline.Checkpoint {
		return pipeline.Checkpoint{Topic: "agent.events", Partition: 3, Epoch: epoch, Offset: offset}
	}
	if _, ok, err := store.Load(ctx, "agent.events", 3); ok || err != nil {
		t.Fatalf("a checkpoint before the first: %v %v", ok, err)
	}
	if err := store.SaveCheckpoint(ctx, at(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := write(t, store, 0, 100, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.SaveCheckpoint(ctx, at(2, 0)), store.Fence(ctx, at(2, 0))); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"store events": write(t, store, 100, 200, 1),
		"commit":       store.SaveCheckpoint(ctx, at(1, 200)),
		"save states":  store.SaveStates(ctx, at(1, 200), []pipeline.State{{Key: "a", Data: []byte("x")}}),
		"fence":        store.Fence(ctx, at(1, 0)),
	} {
		if !errors.Is(err, pipeline.ErrLost) {
			t.Errorf("the old owner could %s, or was told so wrongly: %v", what, err)
		}
	}
	if err := write(t, store, 100, 150, 2); err != nil {
		t.Error(err)
	}
	var rows uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM events").Scan(&rows); err != nil || rows != 150 {
		t.Errorf("%d rows, want 150 (%v)", rows, err)
	}
	stored, err := store.StoredOffsets(ctx, "agent.events", 3, 50)
	var highest int64
	for _, o := range stored {
		highest = max(highest, o)
	}
	if err != nil || highest != 149 {
		t.Errorf("stored up to %v, %v", stored, err)
	}
}

// A state written but never committed does not hide the committed one before it.
func TestUncommittedStatesDoNotCount(t *testing.T) {
	_, _, store := database(t)
	ctx := t.Context()
	at := func(offset int64) pipeline.Checkpoint {
		return pipeline.Checkpoint{Topic: "t", Partition: 1, Epoch: 1, Offset: offset}
	}
	for offset, state := range map[int64]string{10: "old", 20: "committed", 30: "uncommitted"} {
		if err := store.SaveStates(ctx, at(offset), []pipeline.State{{Key: "agent/a", Data: []byte(state + "\x00\xff")}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.SaveCheckpoint(ctx, at(20)); err != nil {
		t.Fatal(err)
	}
	cp, ok, err := store.Load(ctx, "t", 1)
	if err != nil || !ok || cp.Offset != 20 || cp.Epoch != 1 {
		t.Fatalf("%+v %v %v", cp, ok, err)
	}
	var got []string
	if err := store.LoadStates(ctx, cp, func(k string, d []byte) error { got = append(got, k+"="+string(d)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%q", got) != `["agent/a=committed\x00\xff"]` {
		t.Errorf("%q", got)
	}
}

func TestAlertsDeadLettersAndBaselinesRepeatWithoutDoubling(t *testing.T) {
	_, conn, store := database(t)
	ctx := t.Context()
	a := &alert.Alert{ID: "x", Revision: 2, Time: time.Unix(1, 0), FirstSeen: time.Unix(1, 0), LastSeen: time.Unix(2, 0), Detector: "burst",
		AgentIDs: []string{"a"}, Evidence: []alert.Evidence{{Feature: "events", Observed: 5}}, Techniques: []alert.Technique{{ID: "T1"}}, EventIDs: []string{"e"}}
	for range 2 {
		err := errors.Join(store.WriteAlerts(ctx, []*alert.Alert{a}),
			store.WriteDeadLetters(ctx, []pipeline.DeadLetter{{Position: event.Position{Topic: "t", Offset: 5}, Code: "bad_json", Raw: []byte("\xff"), Time: time.Now().UnixMicro()}}),
			store.WriteBaselines(ctx, []baseline.Summary{{EntityKind: "agent", EntityID: "a", Feature: "events", WindowSeconds: 60, Expected: 1, Time: 5}}))
		if err != nil {
			t.Fatal(err)
		}
	}
	for table, column := range map[string]string{"alerts": "evidence.observed[1]", "dead_letters": "offset", "baselines": "expected * 5"} {
		var n uint64
		var sum float64
		if err := conn.QueryRow(ctx, "SELECT count(), toFloat64(sum("+column+")) FROM "+table+" FINAL").Scan(&n, &sum); err != nil || n != 1 || sum != 5 {
			t.Errorf("%s: %d rows, %v, %v", table, n, sum, err)
		}
	}
}

func TestViewsAnswer(t *testing.T) {
	_, conn, store := database(t)
	if err := write(t, store, 0, 70, 1); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	err := conn.Exec(ctx, `INSERT INTO alerts (id, revision, time, first_seen, last_seen, detector, severity, entity_id, agent_ids, reason)
		SELECT 'x', number, toDateTime64(1767225530, 6), toDateTime64(1767225520, 6), toDateTime64(1767225540, 6), 'burst', 'high', 'a1', ['a1'], 'why' FROM numbers(1, 3)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(ctx, "INSERT INTO alert_actions (alert_id, who, action, value) VALUES ('x', 'ann', 'acknowledge', '')"); err != nil {
		t.Fatal(err)
	}
	params := driver.Context(ctx, driver.WithParameters(driver.Parameters{
		"agent": "a1", "alert": "x", "credential": "k1", "from": "2025-12-31 00:00:00", "to": "2026-01-02 00:00:00"}))
	for view, want := range map[string]uint64{"agent_timeline": 11, "blast_radius": 1, "credential_use": 7, "alert_events": 3, "alerts_latest": 1} {
		arguments := map[string]string{
			"agent_timeline": "(agent = {agent:String}, from = {from:DateTime64(6)}, to = {to:DateTime64(6)})",
			"blast_radius":   "(agent = {agent:String}, from = {from:DateTime64(6)}, to = {to:DateTime64(6)})",
			"credential_use": "(credential = {credential:String}, from = {from:DateTime64(6)}, to = {to:DateTime64(6)})",
			"alert_events":   "(alert = {alert:String})",
		}[view]
		var n uint64
		if err := conn.QueryRow(params, "SELECT count() FROM "+view+arguments).Scan(&n); err != nil {
			t.Errorf("%s: %v", view, err)
		} else if n != want {
			t.Errorf("%s has %d rows, want %d", view, n, want)
		}
	}
	var state string
	if err := conn.QueryRow(ctx, "SELECT state FROM alerts_latest WHERE id = 'x' AND revision = 3").Scan(&state); err != nil || state != "acknowledged" {
		t.Errorf("state %q, %v", state, err)
	}
}

func BenchmarkBlocks(b *testing.B) {
	_, _, store := database(b)
	w := store.NewBlock(pipeline.Checkpoint{Topic: "t", Epoch: 1})
	defer w.Close()
	e := event.Event{ID: "e", Kind: event.APICall, AgentID: "a", Action: "post.get", Service: "feed", Resource: "post/1", Time: 1_767_225_500_000_000}
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		w.Append(&e, event.Position{Topic: "t", Offset: n}, false)
		if w.Rows() == 50_000 {
			if err := w.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkStorage measures what an event of a simulated world takes on the disk once its parts are merged, and
// logs (with -v) which columns take it.
func BenchmarkStorage(b *testing.B) {
	ctx := context.Background()
	_, conn, store := database(b)
	for b.Loop() {
		world, err := simulate.New(simulate.Config{Agents: 300, Days: 3, Seed: 1, Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.Exec(ctx, "TRUNCATE TABLE events"); err != nil {
			b.Fatal(err)
		}
		w := store.NewBlock(pipeline.Checkpoint{Topic: "t", Epoch: 1})
		day := int64(-1)
		var ev event.Event
		for n := int64(0); world.Next(&ev); n++ {
			// A block never spans two days.
			if d := int64(ev.Time) / 86_400e6; w.Rows() == 50_000 || d != day {
				if err := w.Flush(ctx); err != nil {
					b.Fatal(err)
				}
				day = d
			}
			w.Append(&ev, event.Position{Topic: "t", Offset: n}, false)
		}
		if err := errors.Join(w.Flush(ctx), conn.Exec(ctx, "OPTIMIZE TABLE events FINAL")); err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
	var rows, disk uint64
	if err := conn.QueryRow(ctx, `SELECT sum(rows), sum(bytes_on_disk) FROM system.parts
		WHERE database = currentDatabase() AND table = 'events' AND active`).Scan(&rows, &disk); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(disk)/float64(rows), "B/event")
	columns, err := conn.Query(ctx, `SELECT name, data_compressed_bytes / ?, data_uncompressed_bytes / ? FROM system.columns
		WHERE database = currentDatabase() AND table = 'events' ORDER BY data_compressed_bytes DESC LIMIT 16`, float64(rows), float64(rows))
	if err != nil {
		b.Fatal(err)
	}
	defer columns.Close()
	for columns.Next() {
		var name string
		var packed, plain float64
		if err := columns.Scan(&name, &packed, &plain); err != nil {
			b.Fatal(err)
		}
		b.Logf("%-16s %6.2f of %6.2f B/event", name, packed, plain)
	}
	if err := columns.Err(); err != nil {
		b.Fatal(err)
	}
}
