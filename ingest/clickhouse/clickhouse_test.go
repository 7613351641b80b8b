package clickhouse_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	driver "github.com/ClickHouse/clickhouse-go/v2"
	chdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
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
func database(t testing.TB) (dsn string, conn chdriver.Conn, client *ch.Client) {
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
	client, err = ch.Dial(ctx, ch.Options{Address: u.Host, Database: name, Compression: ch.CompressionLZ4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return dsn, open(t, dsn), client
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

func write(t *testing.T, w *clickhouse.Blocks, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		w.Append(&event.Event{
			ID: fmt.Sprint("e", i), Time: 1_767_225_500_000_000 + int64(i)*1_000_000, Kind: event.Post, Access: event.Write,
			AgentID: fmt.Sprint("a", i%7), Action: "post.create", Service: "feed", CredentialID: "k1", Content: "it's \x00 'text'",
			Mentions: []string{"x", "y"}, Labels: []event.Label{{Key: "k", Value: "v"}},
			Secrets: []event.Secret{{Field: "content", Rule: "r", Fingerprint: "f"}},
		}, event.Position{Topic: "agent.events", Partition: 3, Offset: int64(i)}, i%2 == 0)
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.Rows() != 0 {
		t.Fatalf("%d rows still wait", w.Rows())
	}
}

// The rows span midnight: two blocks. Writing the same blocks again leaves them once in the table.
func TestBlocksAreStoredOnce(t *testing.T) {
	_, conn, client := database(t)
	for range 2 {
		write(t, clickhouse.NewBlocks(client), 0, 500)
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

func TestViewsAnswer(t *testing.T) {
	_, conn, client := database(t)
	write(t, clickhouse.NewBlocks(client), 0, 70)
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
	if err := conn.QueryRow(ctx, "SELECT state FROM alerts_latest WHERE id = 'x' AND revision = 3").Scan(&state); err != nil || state != "acknowledge" {
		t.Errorf("state %q, %v", state, err)
	}
}

func BenchmarkBlocks(b *testing.B) {
	_, _, client := database(b)
	w := clickhouse.NewBlocks(client)
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
