package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/cmd/internal/demo"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	os.Exit(m.Run())
}

// watched is a screen that stops the demo when it has seen enough.
type watched struct {
	demo.Lines
	enough func(*demo.State) bool
	stop   chan struct{}
	done   bool
	phases map[demo.Phase]bool
	query  []string
}

func (w *watched) Show(s *demo.State) {
	w.Lines.Show(s)
	w.phases[s.Phase] = true
	w.query = s.Query
	if !w.done && w.enough(s) {
		w.done = true
		close(w.stop)
	}
}

func watch(enough func(*demo.State) bool) (*watched, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return &watched{Lines: demo.Lines{Out: out, Now: time.Now, Every: time.Second}, enough: enough, stop: make(chan struct{}), phases: map[demo.Phase]bool{}}, out
}

// A short demo in this process, with everything real: what was produced is in the tables, the first attacks are
// judged, and a second demo in the same directory goes on with the same world.
func TestDemoFromEndToEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	run := func(enough func(*demo.State) bool) (demo.Result, *watched, string) {
		t.Helper()
		screen, out := watch(enough)
		r, err := demo.Run(ctx, screen.stop, demo.Config{Agents: 40, History: 1, Speed: 3600, Seed: 3, Dir: dir, App: app.Config{Partitions: 2}, Screen: screen})
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return r, screen, out.String()
	}
	first, screen, out := run(func(s *demo.State) bool { return s.Phase == demo.Live && len(s.Attacks) >= 2 })
	if first.Produced == 0 || first.Stored+first.Dead != first.Produced || first.Dead != 0 || first.Attacks < 2 {
		t.Errorf("%v\n%s", first, out)
	}
	for _, p := range []demo.Phase{demo.Starting, demo.History, demo.Live, demo.Draining} {
		if !screen.phases[p] {
			t.Errorf("phase %d was not seen", p)
		}
	}
	if len(screen.query) != 2 || !strings.HasPrefix(screen.query[0], "clickhouse client --host 127.0.0.1 --port ") || !strings.HasPrefix(screen.query[1], "http://127.0.0.1:") {
		t.Errorf("how to ask the database: %q", screen.query)
	}
	for _, want := range []string{"clickhouse client", "live, 60 min of its time each second", "events="} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
	second, _, out := run(func(s *demo.State) bool { return s.Produced > first.Produced+50 })
	if second.Produced <= first.Produced || second.Stored != second.Produced || second.Attacks < first.Attacks {
		t.Errorf("after %v came %v\n%s", first, second, out)
	}
}

// A file is streamed as it is: its good lines become rows and its bad ones dead letters. Broker and database may
// be others' than the demo's own.
func TestDemoOfAFileOnServersThatRunAlready(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	broker, err := embedded.StartKafka(embedded.KafkaOptions{Topics: map[string]int32{app.Events: 3, app.Alerts: 1, app.Dead: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Stop()
	w, err := simulate.New(simulate.Config{Agents: 30, Days: 1, Attacks: []string{"burst"}})
	if err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	var ev event.Event
	var last []byte
	for w.Next(&ev) {
		last = decode.AppendEvent(last[:0], &ev)
		in.Write(last)
		if w.Events()%1000 == 0 {
			in.WriteString("{\"id\":\"no time\"}\r\n\n")
		}
	}
	good, bad := w.Events(), w.Events()/1000
	in.Write(last) // again: it has been told already
	in.WriteString(strings.Repeat("x", event.MaxMessage+1))
	truth := w.Truth()
	screen, out := watch(func(s *demo.State) bool { return s.Stored+s.Dead >= good+bad })
	r, err := demo.Run(ctx, screen.stop, demo.Config{Events: &in, Truth: &truth, DSN: server.DSN(), Brokers: broker.Brokers(), Screen: screen, App: app.Config{DuplicateWindow: 1000}})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Produced != good+bad+1 || r.Stored != good || r.Dead != bad || r.Attacks != uint64(len(truth.Attacks)) {
		t.Errorf("%v of %d good and %d bad lines and %d attacks\n%s", r, good, bad, len(truth.Attacks), out)
	}
	conn := embeddedtest.Connect(t, server.DSN())
	var rows uint64
	if err := conn.QueryRow(ctx, "SELECT uniqExact(id) FROM events").Scan(&rows); err != nil || rows != good {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestDemoFailsWhereItCannotStart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]demo.Config{
		"file":               {Agents: 40, History: 1, Speed: 2, Dir: name},
		"--clickhouse-dsn":   {Agents: 40, History: 1, Speed: 2, DSN: "clickhouse://a:hush@h:x y"},
		"connection refused": {Agents: 40, History: 1, Speed: 2, DSN: "clickhouse://127.0.0.1:1/x", Brokers: []string{"127.0.0.1:1"}},
	} {
		screen, _ := watch(func(*demo.State) bool { return false })
		cfg.Screen = screen
		_, err := demo.Run(t.Context(), screen.stop, cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func ExampleResult() {
	fmt.Println(demo.Result{Produced: 5, Stored: 4, Dead: 1, Alerts: 2, Attacks: 3, Found: 1})
	// Output: demo: produced=5 stored=4 dead=1 alerts=2 attacks=3 found=1
}
