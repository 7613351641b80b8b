package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
	"github.com/astray-dev/astray/ingest/kafka"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	maybeEngine()
	os.Exit(m.Run())
}

// From the topic to the tables, over a restart: each accepted event once, the rejected one as a dead letter, and
// the scraper among the agents explained by an alert whose query returns its events.
func TestEventsBecomeRowsAndAlertsOverARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	broker := embeddedtest.Kafka(t, 3, []string{app.Events, app.Alerts, app.Dead})
	conn, dsn := embeddedtest.Database(ctx, t, server, "astray")
	producer, err := kafka.NewProducer(kafka.Config{Brokers: broker.ListenAddrs()}, app.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	const secret = "ghp_" + "8fQk2LzP0xVb7NtR5mYw3HsJ9cDa6GeU1iXo"
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	var messages []kafka.Message
	n := 0
	event := func(agent, minute, i int, resource string) {
		n++
		messages = append(messages, kafka.Message{Key: fmt.Append(nil, "agent-", agent), Value: fmt.Appendf(nil,
			`{"id":"e%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get","service":"feed","cohort":"c","resource":%q}`,
			n, start+int64(minute)*60_000+int64(i)*10, agent, resource)})
	}
	for minute := range 2 * 24 * 60 {
		for agent := range 20 {
			if (minute*7+agent*13)%11 == 0 {
				event(agent, minute, agent, fmt.Sprint("post/", (minute*31+agent)%97, "x"))
			}
		}
		if minute == 2000 {
			for i := range 300 {
				event(4, minute, 100+i, fmt.Sprint("profile/", i))
			}
		}
	}
	messages = append(messages, kafka.Message{Key: []byte("agent-1"), Value: []byte(`{"id":"bad","x":"` + secret + `"}`)})
	count := func(query string) (rows uint64) {
		if err := conn.QueryRow(ctx, query).Scan(&rows); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return rows
	}
	run := func(messages []kafka.Message, want uint64) {
		if err := producer.Produce(ctx, messages...); err != nil {
			t.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- app.Run(ctx, stop, app.Config{Brokers: broker.ListenAddrs(), DSN: dsn}) }()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for migrated := false; !migrated || count("SELECT count() FROM astray.events") < want; {
			select {
			case err := <-done:
				t.Fatalf("it ended by itself: %v", err)
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal("the events did not arrive in time")
			}
			migrated = migrated || count("SELECT count() FROM system.tables WHERE database = 'astray' AND name = 'agent_timeline'") == 1
		}
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	half := len(messages) / 2
	run(messages[:half], uint64(half))
	run(messages[half:], uint64(n))
	if rows, ids := count("SELECT count() FROM astray.events"), count("SELECT uniqExact(id) FROM astray.events"); rows != uint64(n) || ids != uint64(n) {
		t.Errorf("%d rows, %d ids, %d events were produced", rows, ids, n)
	}
	if dead := count("SELECT count() FROM astray.dead_letters FINAL WHERE code = 'missing_field' AND field != ''"); dead != 1 {
		t.Errorf("%d dead letters, want 1", dead)
	}
	if kept := count("SELECT count() FROM astray.dead_letters FINAL WHERE raw LIKE '{\"id\":\"bad%secret:github-pat:fp\\_%' AND raw NOT LIKE '%ghp%'"); kept != 1 {
		t.Errorf("the rejected message was not kept with its secret replaced")
	}
	if found := count("SELECT count() FROM astray.alerts FINAL WHERE detector = 'scraping' AND entity_id = 'agent-4'"); found != 1 {
		t.Errorf("%d alerts for the scraper, want 1", found)
	}
	if others := count("SELECT count() FROM astray.alerts FINAL WHERE entity_id != 'agent-4'"); others != 0 {
		t.Errorf("%d alerts for agents that did nothing", others)
	}
	var query string
	if err := conn.QueryRow(ctx, "SELECT query FROM astray.alerts FINAL WHERE entity_id = 'agent-4'").Scan(&query); err != nil {
		t.Fatal(err)
	}
	// The agent's story: what it read, with the alert in the place where it was raised.
	if reads, alerts := count(`SELECT count() FROM astray.agent_timeline(agent = 'agent-4', from = '2026-03-02 09:20:00', to = '2026-03-02 09:21:00')
		WHERE kind = 'api_call' AND resource LIKE 'profile/%'`), count(`SELECT count() FROM astray.agent_timeline(agent = 'agent-4', from = '2026-03-02 09:20:00', to = '2026-03-02 09:21:00')
		WHERE kind = 'alert' AND alert != ''`); reads != 300 || alerts != 1 {
		t.Errorf("the timeline has %d of 300 reads and %d alerts, want 1", reads, alerts)
	}
	inside := native.Context(ctx, native.WithSettings(native.Settings{"max_result_rows": 0}))
	rows, err := conn.Query(inside, "SELECT count() FROM ("+replaceFrom(query)+")")
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var told uint64
	for rows.Next() {
		if err := rows.Scan(&told); err != nil {
			t.Fatal(err)
		}
	}
	if told < 200 {
		t.Errorf("the alert's query returns %d events", told)
	}
}

// replaceFrom names the database, for the test's connection is to another.
func replaceFrom(q string) string {
	const plain = "FROM events WHERE"
	for i := range q {
		if len(q)-i >= len(plain) && q[i:i+len(plain)] == plain {
			return q[:i] + "FROM astray.events WHERE" + q[i+len(plain):]
		}
	}
	return q
}

// registrations remembers the names of everything that is registered.
type registrations struct {
	*prometheus.Registry
	mu    sync.Mutex
	names map[string]bool
}

func (r *registrations) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		descs := make(chan *prometheus.Desc, 1000)
		c.Describe(descs)
		close(descs)
		r.mu.Lock()
		for d := range descs {
			r.names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
		}
		r.mu.Unlock()
	}
	r.Registry.MustRegister(all...)
}

func (r *registrations) value(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// While the engine runs, a suppression that somebody adds hides the alert that comes next, a benign verdict arrives, the
// secrets of an event are not stored, and the listener tells how things stand, in the documented metrics.
func TestDecisionsReachTheRunningEngine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	broker := embeddedtest.Kafka(t, 3, []string{app.Events, app.Alerts, app.Dead})
	producer, err := kafka.NewProducer(kafka.Config{Brokers: broker.ListenAddrs()}, app.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	reg := &registrations{Registry: prometheus.NewRegistry(), names: map[string]bool{}}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- app.Run(ctx, stop, app.Config{Brokers: broker.ListenAddrs(), DSN: server.DSN(), Registry: reg, Poll: 50 * time.Millisecond,
			CheckpointEvery: 200 * time.Millisecond, DuplicateWindow: 100_000, StateMemory: 1 << 30, HTTP: app.HTTP{Listen: listen},
			Receive: app.Receive{Listen: "127.0.0.1:0", AllowUnauthenticated: true}, Retention: map[string]time.Duration{"events": 3650 * 24 * time.Hour}})
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case err := <-done:
				t.Fatalf("it ended by itself: %v", err)
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s: not in time", what)
			}
		}
	}
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + listen + path)
		if err != nil {
			return 0, ""
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return 0, ""
		}
		return res.StatusCode, string(b)
	}
	until("ready", func() bool { code, _ := get("/readyz"); return code == 200 })

	start := time.Now().Add(-96 * time.Hour).Truncate(24 * time.Hour).UnixMilli()
	n := 0
	send := func(from, to, burst int) {
		t.Helper()
		var messages []kafka.Message
		event := func(agent, minute, i int, resource string) {
			n++
			messages = append(messages, kafka.Message{Key: fmt.Append(nil, "agent-", agent), Value: fmt.Appendf(nil,
				`{"id":"e%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get","service":"feed","cohort":"c","resource":%q}`,
				n, start+int64(minute)*60_000+int64(i)*10, agent, resource)})
		}
		for minute := from; minute < to; minute++ {
			for agent := range 20 {
				if (minute*7+agent*13)%11 == 0 {
					event(agent, minute, agent, fmt.Sprint("post/", (minute*31+agent)%97, "x"))
				}
			}
			if minute == burst {
				for i := range 300 {
					event(4, minute, 100+i, fmt.Sprint("profile/", i))
				}
			}
		}
		if err := producer.Produce(ctx, messages...); err != nil {
			t.Fatal(err)
		}
		until("events", func() bool { return reg.value(t, "astray_events_stored_total") >= float64(n) })
	}
	send(0, 1900, -1)
	book, err := ledger.Open(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	rule, err := book.Suppress(ctx, triage.Suppression{Who: "sam", Why: "ours", EntityKind: "agent", EntityID: "agent-4"})
	if err != nil {
		t.Fatal(err)
	}
	until("suppression", func() bool { return reg.value(t, "astray_suppressions") == 1 })
	send(1900, 2400, 2000)
	var id, by string
	var last error
	defer func() {
		if t.Failed() {
			t.Log("the last question for the alert:", last)
		}
	}()
	until("alert", func() bool {
		last = book.Conn().QueryRow(ctx, "SELECT id, suppressed_by FROM alerts_latest WHERE entity_id = 'agent-4' ORDER BY time LIMIT 1").Scan(&id, &by)
		return last == nil
	})
	if by != rule.ID {
		t.Errorf("alert %s is hidden by %q, want %s", id, by, rule.ID)
	}
	if made := reg.value(t, "astray_alerts_suppressed_total"); made == 0 {
		t.Error("no alert counts as suppressed")
	}
	if _, err := book.Append(ctx, triage.Action{AlertID: id, Who: "sam", Kind: triage.Close, Value: "benign", Why: "ours"}); err != nil {
		t.Fatal(err)
	}
	minute := 2400
	until("verdict", func() bool { // it is taken with the next event
		if reg.value(t, "astray_verdicts_total")+reg.value(t, "astray_verdicts_unlearned_total") >= 1 {
			return true
		}
		send(minute, minute+2, -1)
		minute += 2
		return false
	})
	code, metrics := get("/metrics")
	if code != 200 || !strings.Contains(metrics, "astray_events_total") || !strings.Contains(metrics, "go_goroutines") {
		t.Errorf("metrics: %d", code)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	page, err := os.ReadFile("../../../docs/operations/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(astray_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = true
	}
	for name := range reg.names {
		if strings.HasPrefix(name, "astray_") && !documented[name] {
			t.Errorf("docs/operations/metrics.md does not have %s", name)
		}
	}
	for name := range documented {
		if !reg.names[name] {
			t.Errorf("docs/operations/metrics.md has %s, which nobody registers", name)
		}
	}
}
