package app_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/ingest/kafka"
)

// What comes in over HTTP and in other formats is in the tables, with its secrets taken out, and spans that are sent
// twice, by different ways, are there once.
func TestEventsOverHTTPAndInOtherFormats(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	broker := embeddedtest.Kafka(t, 1, []string{app.Events, app.Alerts, app.Dead})
	conn, dsn := embeddedtest.Database(ctx, t, server, "formats")
	const token = "0123456789abcdef"
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("test "+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A free port: the listener has to be found from outside.
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	probe.Close()
	var stop chan struct{}
	var done chan error
	run := func() *prometheus.Registry {
		stop, done = make(chan struct{}), make(chan error, 1)
		cfg := app.Config{Brokers: broker.ListenAddrs(), DSN: dsn, Registry: prometheus.NewRegistry(), DuplicateWindow: 1000,
			Receive: app.Receive{Listen: address, TokensFile: tokens}}
		go func(stop <-chan struct{}, done chan<- error) { done <- app.Run(ctx, stop, cfg) }(stop, done)
		return cfg.Registry.(*prometheus.Registry)
	}
	run()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case err := <-done:
				t.Fatalf("it ended by itself: %v", err)
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%s did not come in time", what)
			}
		}
	}
	post := func(path, kind, body string) int {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", kind)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	wait("the listener", func() bool { return post("/v1/events", "application/x-ndjson", "") == 202 })
	now := time.Now().UnixMilli()
	// The secret is put together here, so that no scanner takes this file for a leak.
	event := fmt.Sprintf(`{"id":"h1","time":%d,"kind":"post","agent_id":"a","action":"post.create","content":"my key is %s%s"}`, now, "AKIA", "Z7QH2XKD4PLMN3RV")
	if status := post("/v1/events", "application/x-ndjson", event); status != 202 {
		t.Fatal(status)
	}
	span := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"spans":[
		{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","startTimeUnixNano":"%d","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}]}]}]}]}`, now*1_000_000)
	if status := post("/v1/traces", "application/json", span); status != 200 {
		t.Fatal(status)
	}
	producer, err := kafka.NewProducer(kafka.Config{Brokers: broker.ListenAddrs()}, app.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	header := func(k, v string) kafka.Header { return kafka.Header{Key: k, Value: []byte(v)} }
	err = producer.Produce(ctx,
		kafka.Message{Key: []byte("s"), Value: []byte(span)}, // the same span once more
		kafka.Message{Key: []byte("o"), Value: fmt.Appendf(nil, `{"class_uid":6003,"activity_id":2,"metadata":{"uid":"o1"},"time":%d,"ai_agent":{"uid":"o"},"api":{"operation":"ListFiles"}}`, now)},
		kafka.Message{Key: []byte("c"), Value: fmt.Appendf(nil, `{"kind":"api_call","agent_id":"c","action":"post.get","time":%d}`, now),
			Headers: []kafka.Header{header("ce_specversion", "1.0"), header("ce_id", "7"), header("ce_source", "/s"), header("ce_type", "t")}},
		kafka.Message{Value: []byte(`{"resourceSpans":[]}`)},
		kafka.Message{Value: []byte(`{"class_uid":6002}`)},
		kafka.Message{Key: []byte("z"), Value: fmt.Appendf(nil, `{"id":"last","time":%d,"kind":"post","agent_id":"z","action":"post.create"}`, now)})
	if err != nil {
		t.Fatal(err)
	}
	count := func(query string) (rows uint64) {
		if err := conn.QueryRow(ctx, query).Scan(&rows); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return rows
	}
	wait("the last event", func() bool { return count("SELECT count() FROM formats.events WHERE id = 'last'") == 1 })
	wait("the dead letter", func() bool { return count("SELECT count() FROM formats.dead_letters FINAL") == 1 })
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// After a restart what is sent again is still known.
	reg := run()
	wait("the listener", func() bool { return post("/v1/events", "application/x-ndjson", event) == 202 })
	if status := post("/v1/traces", "application/json", span); status != 200 {
		t.Fatal(status)
	}
	wait("the duplicates", func() bool {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "astray_events_duplicate_total" {
				return f.GetMetric()[0].GetCounter().GetValue() >= 2
			}
		}
		return false
	})
	if err := os.WriteFile(tokens, []byte("test another-"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wait("the new tokens", func() bool { return post("/v1/events", "application/x-ndjson", "") == 401 })
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	rows, err := conn.Query(ctx, "SELECT id, agent_id, content FROM formats.events ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id, agent, content string
		if err := rows.Scan(&id, &agent, &content); err != nil {
			t.Fatal(err)
		}
		got = append(got, id+" "+agent)
		if strings.Contains(content, "Z7QH2XKD4PLMN3RV") || id == "h1" && !strings.Contains(content, "my key is [secret:") {
			t.Errorf("a secret is stored, or was not told: %s", content)
		}
	}
	want := "/s/7 c|5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174 s|h1 a|last z|o1 o"
	if strings.Join(got, "|") != want {
		t.Errorf("stored %v, want %s", got, want)
	}
	if n := count("SELECT count() FROM formats.dead_letters FINAL WHERE code = 'unsupported'"); n != 1 {
		t.Errorf("%d dead letters of the other class", n)
	}
}
