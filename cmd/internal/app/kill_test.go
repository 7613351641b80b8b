package app_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// engineEnv holds the life of an engine that runs as a process of its own, as JSON.
const engineEnv = "ASTRAY_TEST_ENGINE"

// life is one run of the engine as a process that can be killed.
type life struct {
	Brokers    []string
	DSN, Group string
	Point      string // where the process ends itself with SIGKILL; empty: nowhere
	Visit      int    // at which visit of the point, from 1
	Freeze     bool   // with SIGSTOP instead
	Topic      string // of events; default app.Events
	// InsertTimeout bounds an attempt to write, default 5 s.
	InsertTimeout time.Duration
	// Jumps is how the wall clock is put forward or back against the real one: by each in turn, for JumpEvery.
	Jumps     []time.Duration
	JumpEvery time.Duration
	LoadEvery time.Duration // how often it looks whether it keeps up
	// FetchBytes is how much one fetch may bring, default 32 KiB, so that there are many.
	FetchBytes int
	Memory     int64 // for the states of agents, 0: any
	Window     int   // of ids, default 10,000
	Ids        int64 // memory for the ids of days
	Links      string
}

// maybeEngine runs the engine if this process was started to be one, and does not return then. The engine stops
// gracefully when its standard input ends. It says "restored" once it has taken a partition over.
func maybeEngine() {
	text := os.Getenv(engineEnv)
	if text == "" {
		return
	}
	var l life
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		panic(err)
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the signal, whatever ends it
		close(stop)
	}()
	var mu sync.Mutex
	visits := 0
	cfg := app.Config{Brokers: l.Brokers, DSN: l.DSN, Group: l.Group, DuplicateWindow: cmp.Or(l.Window, 10_000), DuplicateMemory: l.Ids,
		BlockRows: 100, BlockAge: 20 * time.Millisecond, AlertAge: 5 * time.Millisecond, CheckpointEvery: 30 * time.Millisecond,
		InsertTimeout: cmp.Or(l.InsertTimeout, 5*time.Second), EventsTopic: l.Topic, StateMemory: l.Memory, LoadEvery: l.LoadEvery, Links: l.Links,
		Kafka: kafka.Config{SessionTimeout: time.Second, HeartbeatInterval: 100 * time.Millisecond, FetchMaxWait: 20 * time.Millisecond, FetchMaxBytes: cmp.Or(l.FetchBytes, 32<<10)},
		Failpoint: func(point string) {
			mu.Lock()
			defer mu.Unlock()
			if point == pipeline.AfterRestore {
				fmt.Println("restored")
			}
			if point == l.Point {
				if visits++; visits == l.Visit {
					fmt.Println("reached")
					sig := syscall.SIGKILL
					if l.Freeze {
						sig = syscall.SIGSTOP
					}
					if err := syscall.Kill(os.Getpid(), sig); err != nil {
						panic(err)
					}
					if !l.Freeze {
						select {}
					}
				}
			}
		}}
	if len(l.Jumps) > 0 {
		begin := time.Now()
		cfg.Wall = func() time.Time {
			now := time.Now()
			return now.Add(l.Jumps[int(now.Sub(begin)/l.JumpEvery)%len(l.Jumps)])
		}
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	if err := app.Run(context.Background(), stop, cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a running life.
type process struct {
	cmd      *exec.Cmd
	stdin    io.Closer
	restored chan struct{} // closed when it has taken a partition over
	reached  chan struct{} // closed when it is about to be killed or frozen at a point
	ended    chan struct{}
	log      *os.File
	err      error // valid once ended
}

func start(t *testing.T, l life) *process {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, exec.Command(os.Args[0]), engineEnv+"="+string(text))
}

// launch starts a process. What it logs is shown if the test fails.
func launch(t *testing.T, cmd *exec.Cmd, env ...string) *process {
	t.Helper()
	p := &process{cmd: cmd, restored: make(chan struct{}), reached: make(chan struct{}), ended: make(chan struct{})}
	cmd.Env = append(os.Environ(), env...)
	var err error
	if p.log, err = os.CreateTemp(t.TempDir(), "log"); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = p.log
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		restored, reached := sync.OnceFunc(func() { close(p.restored) }), sync.OnceFunc(func() { close(p.reached) })
		for s := bufio.NewScanner(out); s.Scan(); {
			switch s.Text() {
			case "restored":
				restored()
			case "reached":
				reached()
			}
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.ended
		if t.Failed() {
			said := p.said(t)
			t.Logf("process %d:\n%s", cmd.Process.Pid, said[max(0, len(said)-10_000):])
		}
		p.log.Close()
	})
	return p
}

// said is what the process logged.
func (p *process) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (p *process) await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not come about in %v", what, patience)
	}
}

func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stage is a broker, a database server and a stream of events, told in portions.
type stage struct {
	brokers  []string
	cluster  *kfake.Cluster
	server   *embedded.Server
	bus      *gate // before the broker
	door     *gate // before the database server
	conn     driver.Conn
	producer *kafka.Producer
	produced []kafka.Message // by produce
	beside   *kafka.Producer // gets what produce writes as well
	disk     string          // what holds the database if it is a small disk of its own
	start    time.Time       // of the stream's own time
	minute   int
	ids      int // events produced, repeated ones not counted
	dead     int
	minutes  map[int64]uint64 // events produced by minute of their time, seconds since the epoch
}

const killAgents = 30

// patience is how long one step may take, on a machine that is busy with other things.
const patience = 4 * time.Minute

// event makes the next event, i centiseconds into a minute of the stream.
func (s *stage) event(agent, minute, i int, resource, content string) kafka.Message {
	s.ids++
	start := s.start.UnixMilli() + int64(minute)*60_000
	s.minutes[start/1000]++
	return kafka.Message{Key: fmt.Append(nil, "agent-", agent), Value: fmt.Appendf(nil,
		`{"id":"e%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get","service":"feed","cohort":"c","resource":%q,"content":%q}`,
		s.ids, start+int64(i)*10, agent, resource, content)}
}

// portion makes the next events: minutes of everyday life of all agents, and, but for the first, a scrape by an agent, a
// rejected message and a repeated event.
func (s *stage) portion(minutes, scraper int) []kafka.Message {
	var out []kafka.Message
	event := func(agent, minute, i int, resource string) {
		out = append(out, s.event(agent, minute, i, resource, ""))
	}
	for range minutes {
		for agent := range killAgents {
			if (s.minute*7+agent*13)%11 == 0 {
				event(agent, s.minute, agent, fmt.Sprint("post/", (s.minute*31+agent)%97, "x"))
			}
		}
		s.minute++
	}
	if scraper < 0 {
		return out
	}
	for i := range 250 {
		event(scraper, s.minute, 100+i, fmt.Sprint("profile/", i))
	}
	s.dead++
	out = append(out, kafka.Message{Key: fmt.Append(nil, "agent-", scraper), Value: fmt.Appendf(nil, `{"id":"bad-%d"}`, s.dead)})
	return append(out, out[len(out)/2])
}

func newStage(t *testing.T, ctx context.Context, partitions int32) *stage {
	t.Helper()
	return newStageOn(t, ctx, partitions, "")
}

// newStageOn is newStage with the database on a disk.
func newStageOn(t *testing.T, ctx context.Context, partitions int32, disk string) *stage {
	t.Helper()
	s := &stage{disk: disk, start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), minutes: map[int64]uint64{}}
	var err error
	opts := embedded.Options{Restart: true}
	if disk != "" {
		opts.Dir = filepath.Join(disk, "clickhouse")
		if err := os.Mkdir(opts.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.server = embeddedtest.ClickHouse(ctx, t, opts)
	s.bus = newGate(t, "", false)
	s.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, app.Events, app.Alerts, app.Dead), kfake.GroupMinSessionTimeout(time.Millisecond),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			at := l.Addr().String()
			s.bus.server.Store(&at)
			return disguised{l, s.bus.l.Addr()}, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Close)
	s.brokers = s.cluster.ListenAddrs()
	opt, err := native.ParseDSN(s.server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	s.door = newGate(t, opt.Addr[0], true)
	s.conn = embeddedtest.Connect(t, s.server.DSN())
	if s.producer, err = kafka.NewProducer(kafka.Config{Brokers: s.brokers, Timeout: 2 * time.Second}, app.Events); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.producer.Close() })
	return s
}

// answered asks the database until it answers: the embedded server does not outlive a client that dies while it logs in, and
// starts again.
func (s *stage) answered(t *testing.T, ctx context.Context, ask func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Since(begin) > patience || ctx.Err() != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// database makes an empty database and returns its DSN.
func (s *stage) database(t *testing.T, ctx context.Context, name string) string {
	t.Helper()
	s.answered(t, ctx, func() error {
		return s.conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+name+" ENGINE = Atomic")
	})
	return "clickhouse://" + s.door.addr() + "/" + name
}

// produce writes a portion to the topic.
func (s *stage) produce(t *testing.T, ctx context.Context, minutes, scraper int) {
	t.Helper()
	messages := s.portion(minutes, scraper)
	s.produced = append(s.produced, messages...)
	if err := s.producer.Produce(ctx, messages...); err != nil {
		t.Fatal(err)
	}
	if s.beside != nil {
		if err := s.beside.Produce(ctx, messages...); err != nil {
			t.Fatal(err)
		}
	}
}

// live runs an engine until it is killed, at a random moment if no point is named; false if it ended otherwise.
func (s *stage) live(t *testing.T, l life) bool {
	t.Helper()
	p := start(t, l)
	if l.Point == "" {
		select {
		case <-p.restored:
			moment := time.NewTimer(rand.N(150 * time.Millisecond))
			select {
			case <-moment.C:
			case <-p.ended:
			}
		case <-p.ended:
		case <-time.After(patience):
			t.Fatal("it took no partition over")
		}
		p.cmd.Process.Kill()
	}
	p.await(t, p.ended, "the end at "+l.Point)
	return p.killed()
}

// finish lets an engine come to the end of the stream and stop.
func (s *stage) finish(t *testing.T, ctx context.Context, db string, l life) {
	t.Helper()
	p := start(t, l)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ended:
			t.Fatalf("the engine ended by itself: %v", p.err)
		case <-ctx.Done():
			t.Fatalf("%s: %v", db, ctx.Err())
		}
		var events, dead uint64
		err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT (SELECT uniqExact(id) FROM %s.events), (SELECT uniqExact(raw) FROM %[1]s.dead_letters)", db)).Scan(&events, &dead)
		if err == nil && events >= uint64(s.ids) && dead >= uint64(s.dead) {
			break
		}
	}
	p.stdin.Close()
	p.await(t, p.ended, "the graceful end")
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// dump returns the rows of a query, each as JSON.
func (s *stage) dump(t *testing.T, ctx context.Context, query string) (out []string) {
	t.Helper()
	s.answered(t, ctx, func() error {
		out = out[:0]
		rows, err := s.conn.Query(ctx, "SELECT formatRowNoNewline('JSONEachRow', *) FROM ("+query+")")
		if err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			out = append(out, line)
		}
		return rows.Err()
	})
	return out
}

// clock names the columns of a table that hold when a row was written.
func (s *stage) clock(t *testing.T, ctx context.Context, db, table string) string {
	t.Helper()
	var columns []string
	s.answered(t, ctx, func() error {
		return s.conn.QueryRow(ctx, "SELECT groupArray(name) FROM system.columns WHERE database = $1 AND table = $2 AND default_kind = 'DEFAULT' AND default_expression LIKE '%now%'",
			db, table).Scan(&columns)
	})
	if len(columns) == 0 {
		t.Fatalf("%s: no column holds when a row was written", table)
	}
	return strings.Join(columns, ", ")
}

// up waits until the database server answers engines again, through the door that they use.
func (s *stage) up(t *testing.T, ctx context.Context) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); s.conn.Ping(ctx) != nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the database server did not come back in time")
		}
		if time.Since(begin) > patience {
			t.Fatalf("the database server did not come back in %v", patience)
		}
	}
}
