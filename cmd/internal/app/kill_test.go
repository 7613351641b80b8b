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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
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
	cfg := app.Config{Brokers: l.Brokers, DSN: l.DSN, Group: l.Group, DuplicateWindow: 10_000,
		BlockRows: 100, BlockAge: 20 * time.Millisecond, AlertAge: 5 * time.Millisecond, CheckpointEvery: 30 * time.Millisecond,
		InsertTimeout: 5 * time.Second,
		Kafka:         kafka.Config{SessionTimeout: time.Second, HeartbeatInterval: 100 * time.Millisecond, FetchMaxWait: 20 * time.Millisecond, FetchMaxBytes: 32 << 10},
		Failpoint: func(point string) {
			mu.Lock()
			defer mu.Unlock()
			if point == pipeline.AfterRestore {
				fmt.Println("restored")
			}
			if point == l.Point {
				if visits++; visits == l.Visit {
					if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
						panic(err)
					}
					select {}
				}
			}
		}}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
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
	ended    chan struct{}
	err      error // valid once ended
}

func start(t *testing.T, l life) *process {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), restored: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), engineEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		once := sync.OnceFunc(func() { close(p.restored) })
		for s := bufio.NewScanner(out); s.Scan(); {
			if s.Text() == "restored" {
				once()
			}
		}
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
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
	server   *embedded.Server
	door     string // where engines reach the server
	conn     driver.Conn
	producer *kafka.Producer
	minute   int
	ids      int // events produced, repeated ones not counted
	dead     int
}

const killAgents = 30

// patience is how long one step may take, on a machine that is busy with other things.
const patience = 2 * time.Minute

// portion makes the next events: minutes of everyday life of all agents, and, but for the first, a scrape by an agent, a
// rejected message and a repeated event.
func (s *stage) portion(minutes, scraper int) []kafka.Message {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	var out []kafka.Message
	event := func(agent, minute, i int, resource string) {
		s.ids++
		out = append(out, kafka.Message{Key: fmt.Append(nil, "agent-", agent), Value: fmt.Appendf(nil,
			`{"id":"e%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get","service":"feed","cohort":"c","resource":%q}`,
			s.ids, start+int64(minute)*60_000+int64(i)*10, agent, resource)})
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
	s := &stage{}
	var err error
	if s.server, err = embedded.StartClickHouse(ctx, embedded.Options{Dir: t.TempDir(), Restart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Kill)
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, app.Events, app.Alerts, app.Dead), kfake.GroupMinSessionTimeout(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	s.brokers = broker.ListenAddrs()
	opt, err := native.ParseDSN(s.server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	s.door = doorman(t, opt.Addr[0])
	if s.conn, err = native.Open(opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	if s.producer, err = kafka.NewProducer(kafka.Config{Brokers: s.brokers}, app.Events); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.producer.Close() })
	return s
}

// doorman stands between engines and the embedded server, which does not outlive a client that dies while it logs
// in: such a connection is kept open. Every other one ends when its client does.
func doorman(t *testing.T, server string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []net.Conn
	var wg sync.WaitGroup
	closed := false
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			c.Close()
			return false
		}
		all = append(all, c)
		return true
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for _, c := range all {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			if !keep(in) || !keep(out) {
				continue
			}
			wg.Go(func() {
				_, _ = io.Copy(in, out) // the end of either side is the end
				in.Close()
			})
			wg.Go(func() {
				buf := make([]byte, 64<<10)
				for packets := 0; ; packets++ {
					n, err := in.Read(buf)
					if err == nil {
						_, err = out.Write(buf[:n])
					}
					if err != nil {
						if packets >= 2 {
							out.Close()
						}
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// database makes an empty database and returns its DSN.
func (s *stage) database(t *testing.T, ctx context.Context, name string) string {
	t.Helper()
	if err := s.conn.Exec(ctx, "CREATE DATABASE "+name+" ENGINE = Atomic"); err != nil {
		t.Fatal(err)
	}
	return "clickhouse://" + s.door + "/" + name
}

// produce writes a portion to the topic.
func (s *stage) produce(t *testing.T, ctx context.Context, minutes, scraper int) {
	t.Helper()
	if err := s.producer.Produce(ctx, s.portion(minutes, scraper)...); err != nil {
		t.Fatal(err)
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
	restarts := 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ended:
			if restarts++; restarts > 20 {
				t.Fatalf("the engine ended by itself: %v", p.err)
			}
			p = start(t, l) // the server was not there yet
		case <-ctx.Done():
			t.Fatalf("%s: %v", db, ctx.Err())
		}
		var events, dead uint64
		err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT (SELECT uniqExact(id) FROM %s.events), (SELECT count() FROM %[1]s.dead_letters FINAL)", db)).Scan(&events, &dead)
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
	rows, err := s.conn.Query(ctx, "SELECT formatRowNoNewline('JSONEachRow', *) FROM ("+query+")")
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare holds the tables of a disturbed run to those of an undisturbed one, and prints a line of it.
func (s *stage) compare(t *testing.T, ctx context.Context, what, want, got string) {
	t.Helper()
	var stored, ids uint64
	if err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count(), uniqExact(id) FROM %s.events", got)).Scan(&stored, &ids); err != nil {
		t.Fatal(err)
	}
	same := true
	for _, q := range []string{
		"SELECT * EXCEPT ingested_at FROM %s.events ORDER BY id, partition, offset, idx",
		"SELECT * EXCEPT (%s) FROM %s.dead_letters FINAL ORDER BY partition, offset",
		"SELECT * EXCEPT (%s) FROM %s.alerts FINAL ORDER BY id",
	} {
		table := func(db string) []string {
			if strings.Count(q, "%s") == 1 {
				return s.dump(t, ctx, fmt.Sprintf(q, db))
			}
			return s.dump(t, ctx, fmt.Sprintf(q, s.clock(t, ctx, db, q), db))
		}
		a, b := table(want), table(got)
		if d := gocmp.Diff(a, b); d != "" {
			t.Errorf("%s: %s (-undisturbed +disturbed):\n%.3000s", what, q, d)
			same = same && !strings.Contains(q, "alerts")
		}
		if len(a) == 0 {
			t.Errorf("%s: nothing to compare: %s", what, q)
		}
	}
	fmt.Printf("fault: %-42s produced=%d stored=%d doubled=%d lost=%d alerts equal=%t\n", what, s.ids, stored, stored-ids, s.ids-int(ids), same)
}

// clock names the columns of a table that hold when a row was written.
func (s *stage) clock(t *testing.T, ctx context.Context, db, q string) string {
	t.Helper()
	table := "alerts"
	if strings.Contains(q, "dead_letters") {
		table = "dead_letters"
	}
	var columns []string
	if err := s.conn.QueryRow(ctx, "SELECT groupArray(name) FROM system.columns WHERE database = $1 AND table = $2 AND default_kind = 'DEFAULT' AND default_expression LIKE '%now%'",
		db, table).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	return cmp.Or(strings.Join(columns, ", "), "''")
}

// An engine is killed with SIGKILL ten times at random moments and once at every point of the checkpoint
// protocol, in the middle of a stream. The tables are those of an engine that nobody disturbed.
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

func TestKilledAnywhereTheTablesAreThoseOfAnUndisturbedRun(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	points := pipeline.Points()
	const random = 10
	s := newStage(t, ctx, 3)
	killed := life{Brokers: s.brokers, DSN: s.database(t, ctx, "killed"), Group: "killed"}
	s.produce(t, ctx, 2000, -1)
	s.finish(t, ctx, "killed", killed) // the engine knows its agents from here on
	deaths := 0
	t0 := time.Now()
	for n := range random + len(points) {
		s.produce(t, ctx, 30, n%killAgents)
		l := killed
		if n >= random {
			l.Point, l.Visit = points[n-random], 1
		}
		// A client that is killed while it logs in takes the embedded server down with it; that comes back by itself,
		// and an engine that found it gone is started again, as whatever supervises it would.
		for attempt := 0; ; attempt++ {
			if s.live(t, l) {
				break
			}
			if attempt == 20 {
				t.Fatalf("the engine never came to be killed at %q", l.Point)
			}
			s.up(t, ctx)
		}
		deaths++
		t.Logf("life %d at %q killed %v after the start", n, l.Point, time.Since(t0).Round(10*time.Millisecond))
	}
	s.finish(t, ctx, "killed", killed)
	calm := life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"}
	s.finish(t, ctx, "calm", calm)
	s.compare(t, ctx, fmt.Sprintf("kill -9 of the engine, %d times", deaths), "calm", "killed")
}
