package app_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/kafka"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	os.Exit(m.Run())
}

// From the topic to the tables, over a restart: each accepted event once, the rejected one as a dead letter, and
// the scraper among the agents explained by an alert whose query returns its events.
func TestEventsBecomeRowsAndAlertsOverARestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	server, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, app.Events, app.Alerts, app.Dead))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	opt, err := native.ParseDSN(server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := native.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "CREATE DATABASE astray ENGINE = Atomic"); err != nil {
		t.Fatal(err)
	}
	dsn := server.DSN()[:len(server.DSN())-len("default")] + "astray"
	producer, err := kafka.NewProducer(kafka.Config{Brokers: broker.ListenAddrs()}, app.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
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
	messages = append(messages, kafka.Message{Key: []byte("agent-1"), Value: []byte(`{"id":"bad"}`)})
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
