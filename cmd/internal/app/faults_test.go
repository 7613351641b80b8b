package app_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// fault is a case of the matrix: something that goes wrong while engines work on a stream.
type fault struct {
	name string
	run  func(t *testing.T, ctx context.Context, s *stage, l life)
	// own changes the life of the engine that is disturbed.
	own func(l *life)
	// before changes the stage before the stream begins.
	before func(s *stage)
	// calm changes the life of the undisturbed engine, and except names columns of events and dead letters in which it
	// may differ.
	calm   func(l *life)
	except string
	long   bool // not in a short run
	disk   int  // MiB of a disk of its own for the database, 0: none
}

// Whatever goes wrong, the tables are in the end those of an engine that nobody disturbed: each event that was
// produced once, each rejected message a dead letter, the same alerts. Engines are processes, and so is the database; they
// are really killed, frozen and cut off. The matrix takes long, so it runs when it is asked for; a short run has
// shorter disturbances and fewer of them, and leaves the overload out.
func TestFaults(t *testing.T) {
	if underRace || os.Getenv(faultsEnv) == "" {
		t.Skip("make test-faults runs it, without the race detector, under which engines start too slowly")
	}
	for _, f := range faults() {
		if f.long && os.Getenv(faultsEnv) == "short" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
			defer cancel()
			disk := ""
			if f.disk > 0 {
				disk = smallDisk(t, f.disk)
			}
			s := newStageOn(t, ctx, 3, disk)
			if f.before != nil {
				f.before(s)
			}
			l := life{Brokers: s.brokers, DSN: s.database(t, ctx, "disturbed"), Group: "disturbed"}
			if f.own != nil {
				f.own(&l)
			}
			s.produce(t, ctx, 2000, -1)
			s.finish(t, ctx, "disturbed", l) // the engine knows its agents from here on
			f.run(t, ctx, s, l)
			s.produce(t, ctx, 30, rand.IntN(killAgents))
			s.finish(t, ctx, "disturbed", l)
			calm := life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"}
			if f.calm != nil {
				f.calm(&calm)
			}
			s.finish(t, ctx, "calm", calm)
			s.compare(t, ctx, f.name, "calm", "disturbed", f.except)
		})
	}
}

// faultsEnv asks for the matrix: "full" or "short".
const faultsEnv = "ASTRAY_FAULTS"

// short picks how long a disturbance is.
func short[T any](long, short T) T {
	if os.Getenv(faultsEnv) == "short" {
		return short
	}
	return long
}

func faults() []fault {
	return []fault{
		{name: "engine-killed", run: engineKilled},
		{name: "engine-with-local-links-killed", run: engineKilled, own: func(l *life) { l.Links = app.LinksLocal }},
		{name: "clickhouse-killed", run: clickhouseKilled},
		{name: "clickhouse-slow", run: clickhouseSlow},
		{name: "clickhouse-answers-lost", run: answersLost},
		{name: "clickhouse-too-many-parts", run: refusing("TOO_MANY_PARTS", "parts_to_throw_insert = 1, parts_to_delay_insert = 0")},
		{name: "clickhouse-read-only", run: refusing("TABLE_IS_PERMANENTLY_READ_ONLY", "table_readonly = 1")},
		{name: "clickhouse-disk-full", run: refusing("NOT_ENOUGH_SPACE", "min_free_disk_bytes_to_perform_insert = 1000000000000000")},
		{name: "disk-full", run: diskFull, disk: 768},
		{name: "rebalance-storm", run: storm},
		{name: "owner-frozen", run: ownerFrozen},
		{name: "owner-frozen-in-an-insert", run: frozenInInsert},
		{name: "network-broker-silent", run: cut(func(s *stage) *gate { return s.bus }, true)},
		{name: "network-broker-reset", run: cut(func(s *stage) *gate { return s.bus }, false)},
		{name: "network-clickhouse-silent", run: cut(func(s *stage) *gate { return s.door }, true)},
		{name: "network-clickhouse-reset", run: cut(func(s *stage) *gate { return s.door }, false)},
		{name: "clock-jumps", run: clockJumps, before: func(s *stage) { s.start = time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Minute) }},
		{name: "poison", run: poison, calm: func(l *life) { l.Topic = clean }, except: "topic, partition, offset, idx"},
		{name: "dead-letter-topic-away", run: deadTopicAway},
		{name: "overload", run: overloaded, calm: func(l *life) { l.FetchBytes = 512 << 10 }, long: true},
	}
}

// during lets an engine work on a stream that goes on while something happens, and stops both.
func during(t *testing.T, ctx context.Context, s *stage, l life, happens func(p *process)) {
	t.Helper()
	p := start(t, l)
	p.await(t, p.restored, "taking a partition over")
	stop := s.stream(t, ctx)
	happens(p)
	stop()
	select {
	case <-p.ended:
		t.Fatalf("the engine ended by itself: %v", p.err)
	default:
	}
	p.stdin.Close()
	p.await(t, p.ended, "the graceful end")
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// stream produces portions until the returned function is called. What cannot be written is written again
// until it can be, so that it may be there twice.
func (s *stage) stream(t *testing.T, ctx context.Context) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	stopped, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { // of a test that ends early
		cancel()
		<-done
	})
	go func() {
		defer close(done)
		tick := time.NewTicker(short(300*time.Millisecond, 200*time.Millisecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			messages := s.portion(20, n%killAgents)
			for {
				err := s.producer.Produce(ctx, messages...)
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return
				}
			}
			select {
			case <-tick.C:
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		close(stopped)
		select {
		case <-done:
			if err := ctx.Err(); err != nil {
				t.Errorf("the stream was cut off: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("the stream could not be written in %v", patience)
		}
		cancel()
		<-done
	}
}

// lasting waits for d: how long something lasts is what these cases are about.
func lasting(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// until waits until a number in the database is at least so much, unless it has not grown for too long.
func (s *stage) until(t *testing.T, ctx context.Context, what, query string, least uint64) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var n, most uint64
	var err error
	for begin := time.Now(); ; {
		if err = s.conn.QueryRow(ctx, query).Scan(&n); err == nil && n >= least {
			return
		}
		if n > most {
			most, begin = n, time.Now()
		}
		if time.Since(begin) > patience {
			t.Fatalf("%s: no more than %d for %v, want %d (%v)", what, most, patience, least, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

const stored = "SELECT count() FROM disturbed.events"

// more waits until more rows are stored than there are now.
func (s *stage) more(t *testing.T, ctx context.Context) {
	t.Helper()
	var n uint64
	if err := s.conn.QueryRow(ctx, stored).Scan(&n); err != nil {
		t.Fatal(err)
	}
	s.until(t, ctx, "rows stored", stored, n+1)
}

// An engine is killed with SIGKILL at random moments and once at every point of the checkpoint protocol.
func engineKilled(t *testing.T, ctx context.Context, s *stage, l life) {
	points := pipeline.Points()
	random := short(10, 4)
	for n := range random + len(points) {
		s.produce(t, ctx, 30, n%killAgents)
		l := l
		if n >= random {
			l.Point, l.Visit = points[n-random], 1
		}
		if !s.live(t, l) {
			t.Fatalf("the engine ended otherwise than being killed at %q", l.Point)
		}
	}
}

// The database is killed with SIGKILL, and started again.
func clickhouseKilled(t *testing.T, ctx context.Context, s *stage, l life) {
	during(t, ctx, s, l, func(*process) {
		for range short(8, 2) {
			s.more(t, ctx)
			lasting(ctx, rand.N(500*time.Millisecond))
			s.server.Crash()
			s.up(t, ctx)
		}
		s.more(t, ctx)
	})
}

// Every insert waits for ten seconds before the server gets it, for a minute; in a short run for one second, for six.
func clickhouseSlow(t *testing.T, ctx context.Context, s *stage, l life) {
	l.InsertTimeout = 20 * time.Second
	during(t, ctx, s, l, func(*process) {
		s.door.set(func(g *gate) { g.lag = short(10*time.Second, 1*time.Second) })
		lasting(ctx, short(60*time.Second, 6*time.Second))
		s.door.set(func(g *gate) { g.lag = 0 })
		s.more(t, ctx)
	})
}

// The server takes inserts and the connection ends before its answer arrives. The engine sends them again, and the
// server must know that it has them.
func answersLost(t *testing.T, ctx context.Context, s *stage, l life) {
	during(t, ctx, s, l, func(*process) {
		s.door.set(func(g *gate) { g.mute = short(40, 10) })
		s.until(t, ctx, "inserts that came twice", "SELECT sum(value) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'", uint64(short(20, 5)))
		s.door.set(func(g *gate) { g.mute = 0 })
	})
}

// refusing is a server that answers every insert with an error for a while, because tables were changed so that it
// must; it counts the errors.
func refusing(name, setting string) func(t *testing.T, ctx context.Context, s *stage, l life) {
	return func(t *testing.T, ctx context.Context, s *stage, l life) {
		tables := []string{"events", "agent_state", "checkpoints", "alerts", "dead_letters", "baselines"}
		var reset []string
		for _, part := range strings.Split(setting, ", ") {
			reset = append(reset, strings.Fields(part)[0])
		}
		exec := func(query string) {
			t.Helper()
			if err := s.conn.Exec(ctx, query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		during(t, ctx, s, l, func(*process) {
			for range short(4, 1) {
				s.more(t, ctx)
				for _, table := range tables {
					exec("SYSTEM STOP MERGES disturbed." + table)
					exec("ALTER TABLE disturbed." + table + " MODIFY SETTING " + setting)
				}
				count := "SELECT sum(value) FROM system.errors WHERE name = '" + name + "'"
				var before uint64
				if err := s.conn.QueryRow(ctx, count).Scan(&before); err != nil {
					t.Fatal(err)
				}
				s.until(t, ctx, "refused inserts", count, before+5)
				lasting(ctx, short(5*time.Second, 1*time.Second))
				for _, table := range tables {
					if name == "TABLE_IS_PERMANENTLY_READ_ONLY" {
						exec("ALTER TABLE disturbed." + table + " MODIFY SETTING table_readonly = 0") // cannot be reset
					} else {
						exec("ALTER TABLE disturbed." + table + " RESET SETTING " + strings.Join(reset, ", "))
					}
					exec("SYSTEM START MERGES disturbed." + table)
				}
				s.more(t, ctx)
			}
		})
	}
}

// smallDisk is a file system in memory that can be filled, where that is allowed.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "astray-test", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: %s needs a file system of its own: mount: %v: %s", t.Name(), err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return dir
}

// spare is less than the server leaves free (embedded.Options.KeepFree), and enough to end what is being written and merged.
const spare = 64 << 20

// The disk that holds the database is full: there is less room than the server leaves free, until somebody makes some. It
// is not robbed of the last byte: of what it writes or merges when something else takes that, its version 26.7 makes
// parts of empty files, and what was in them is lost, whoever had written it (PROTOCOL.md, what is assumed).
func diskFull(t *testing.T, ctx context.Context, s *stage, l life) {
	during(t, ctx, s, l, func(*process) {
		for range short(3, 1) {
			s.more(t, ctx)
			const refusals = "SELECT sum(value) FROM system.errors WHERE last_error_message ILIKE '%space%'"
			var before uint64
			if err := s.conn.QueryRow(ctx, refusals).Scan(&before); err != nil {
				t.Fatal(err)
			}
			ballast, err := os.Create(filepath.Join(s.disk, "ballast"))
			if err != nil {
				t.Fatal(err)
			}
			// What the server frees meanwhile is taken, too.
			for range 10 {
				var fs syscall.Statfs_t
				if err := syscall.Statfs(s.disk, &fs); err != nil {
					t.Fatal(err)
				}
				if over := int64(fs.Bavail)*fs.Bsize - spare; over > 0 {
					if _, err := ballast.Write(make([]byte, over)); err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Fatal(err)
					}
				}
				lasting(ctx, 100*time.Millisecond)
			}
			s.until(t, ctx, "refused inserts", refusals, before+5)
			lasting(ctx, short(5*time.Second, 1*time.Second))
			if err := errors.Join(ballast.Close(), os.Remove(ballast.Name())); err != nil {
				t.Fatal(err)
			}
			s.more(t, ctx)
		}
	})
}

// Instances of the real program join and leave the group every few seconds, some of them killed.
func storm(t *testing.T, ctx context.Context, s *stage, l life) {
	bin := filepath.Join(t.TempDir(), "astray")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/astray-dev/astray/cmd/astray").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	stop := s.stream(t, ctx)
	join := func() *process {
		return launch(t, exec.Command(bin, "run", "--kafka", strings.Join(l.Brokers, ","), "--clickhouse-dsn", l.DSN, "--group", l.Group),
			"ASTRAY_HTTP_LISTEN=off", "ASTRAY_PIPELINE_BLOCK_ROWS=100", "ASTRAY_PIPELINE_BLOCK_AGE=20ms", "ASTRAY_PIPELINE_ALERT_AGE=10ms",
			"ASTRAY_PIPELINE_CHECKPOINT_EVERY=1s", "ASTRAY_PIPELINE_DUPLICATE_WINDOW=10000", "ASTRAY_KAFKA_SESSION_TIMEOUT=6s", "ASTRAY_CLICKHOUSE_INSERT_TIMEOUT=5s")
	}
	running := []*process{join()}
	leave := func(kill bool) {
		p := running[0]
		running = running[1:]
		sig := os.Signal(syscall.SIGTERM)
		if kill {
			sig = os.Kill
		}
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatalf("an instance had ended by itself: %v", err)
		}
		p.await(t, p.ended, "the end of an instance")
		if !kill && p.err != nil {
			t.Errorf("an instance that was asked to stop: %v", p.err)
		}
	}
	end := time.Now().Add(short(60*time.Second, 15*time.Second))
	for n := 0; time.Now().Before(end); n++ {
		lasting(ctx, time.Second+rand.N(2*time.Second))
		switch {
		case len(running) < 2 || len(running) < 4 && n%2 == 0:
			running = append(running, join())
		default:
			leave(n%3 == 0)
		}
	}
	for len(running) > 1 {
		leave(false)
	}
	s.more(t, ctx) // while more comes: the last one has taken over
	stop()
	leave(false)
}

// An owner is frozen with SIGSTOP as it is about to write, for longer than the group's session lasts. Another takes
// its partitions over and goes on; then the first wakes up in the middle of what it was about.
func ownerFrozen(t *testing.T, ctx context.Context, s *stage, l life) {
	points := short(pipeline.Points(), []string{pipeline.BeforeBlock, pipeline.BeforeCheckpoint})
	refused := 0
	for n, point := range points {
		frozen := l
		frozen.Point, frozen.Visit, frozen.Freeze = point, 1, true
		s.produce(t, ctx, 30, n%killAgents)
		a := start(t, frozen)
		a.await(t, a.reached, "being frozen at "+point)
		b := start(t, l)
		b.await(t, b.restored, "taking over from the frozen owner at "+point)
		s.produce(t, ctx, 30, (n+7)%killAgents)
		s.more(t, ctx)
		if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s.produce(t, ctx, 30, (n+11)%killAgents)
		s.more(t, ctx)
		b.stdin.Close()
		b.await(t, b.ended, "the graceful end")
		a.stdin.Close()
		a.await(t, a.ended, "the graceful end of the one that was frozen")
		for _, p := range []*process{a, b} {
			if p.err != nil {
				t.Errorf("%s: %v", point, p.err)
			}
		}
		if strings.Contains(a.said(t), pipeline.ErrLost.Error()) {
			refused++
		}
	}
	t.Logf("%d of %d owners that woke up were refused when they wrote", refused, len(points))
	if refused == 0 {
		t.Error("no owner that woke up tried to write")
	}
}

// An owner is frozen, and the network with it, while the rows of an insert are under way to a server that waits for
// them. Another takes over; then the rows arrive, and the owner wakes up.
func frozenInInsert(t *testing.T, ctx context.Context, s *stage, l life) {
	for n := range short(6, 2) {
		own := newGate(t, *s.door.server.Load(), true)
		frozen := l
		frozen.DSN = strings.Replace(l.DSN, s.door.addr(), own.addr(), 1)
		frozen.InsertTimeout = 10 * time.Minute // the server must not give up by itself
		sprung := own.setTrap()
		s.produce(t, ctx, 30, n%killAgents)
		a := start(t, frozen)
		a.await(t, sprung, "an insert")
		if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		s.until(t, ctx, "the insert waits", "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO events%'", 1)
		b := start(t, l)
		b.await(t, b.restored, "taking over from the frozen owner")
		own.mend()
		s.produce(t, ctx, 30, (n+7)%killAgents)
		s.more(t, ctx)
		if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s.produce(t, ctx, 30, (n+11)%killAgents)
		s.more(t, ctx)
		for _, p := range []*process{b, a} {
			p.stdin.Close()
			p.await(t, p.ended, "the graceful end")
			if p.err != nil {
				t.Error(p.err)
			}
		}
	}
}

// cut takes the network between engine and broker or database away for longer than the group's session lasts, and gives
// it back.
func cut(which func(*stage) *gate, silently bool) func(t *testing.T, ctx context.Context, s *stage, l life) {
	return func(t *testing.T, ctx context.Context, s *stage, l life) {
		during(t, ctx, s, l, func(*process) {
			for range short(5, 1) {
				s.more(t, ctx)
				which(s).cut(silently)
				lasting(ctx, short(6*time.Second, 3*time.Second))
				which(s).mend()
				s.more(t, ctx)
			}
		})
	}
}

// The wall clock of the engine is put forward and back, by minutes and by years, while events of now arrive. Their times
// are those of the stream, and none is of the future.
func clockJumps(t *testing.T, ctx context.Context, s *stage, l life) {
	l.Jumps = []time.Duration{0, time.Hour, -time.Hour, 26 * time.Hour, -50 * time.Hour, 0, -10 * 365 * 24 * time.Hour, -5 * time.Minute, 400 * 24 * time.Hour}
	l.JumpEvery = 400 * time.Millisecond
	for range short(4, 2) { // an engine may also be started while the clock is wrong
		during(t, ctx, s, l, func(*process) { lasting(ctx, short(8*time.Second, 3*time.Second)) })
		l.Jumps = append(l.Jumps[4:], l.Jumps[:4]...)
	}
	var future uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM disturbed.dead_letters WHERE code != 'missing_field'").Scan(&future); err != nil {
		t.Fatal(err)
	}
	if future > 0 {
		t.Errorf("%d events were rejected because of the engine's clock", future)
	}
}

// clean is a topic with the same events as app.Events and nothing else.
const clean = "clean"

// Messages that are no events stand among the events of a batch, in all kinds, while the engine is killed now and then.
// The undisturbed run reads a topic without them.
func poison(t *testing.T, ctx context.Context, s *stage, l life) {
	deep := strings.Repeat(`[`, 10_000)
	kinds := []string{"", " ", "null", "0", `"text"`, "[]", "{}", "{", deep, `{"id":` + deep, "\x00\x01\x02\xff\xfe", `{"id":"\ud800"}`, "{\"id\":\"\xff\"}",
		`{"id":"p","time":"yesterday","kind":"api_call","agent_id":"a","action":"b"}`, `{"id":"p","time":1e308,"kind":"api_call","agent_id":"a","action":"b"}`,
		`{"id":"p","time":9999999999999999999999,"kind":"api_call","agent_id":"a","action":"b"}`, `{"id":"p","time":4102444800000,"kind":"api_call","agent_id":"agent-1","action":"b"}`,
		`{"id":"","time":1772323200000,"kind":"api_call","agent_id":"agent-1","action":"b"}`, `{"id":"p","time":1772323200000,"kind":"","agent_id":"agent-1","action":"b"}`,
		`{"id":"` + strings.Repeat("x", 100_000) + `","time":1772323200000,"kind":"api_call","agent_id":"agent-1","action":"b"}`,
		strings.Repeat("x", 900_000), `{"specversion":"1.0"}`, `{"class_uid":6003}`, `{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}`, "\x0a\xff\xff\xff\xff\x0f"}
	if err := kafka.CreateTopics(ctx, kafka.Config{Brokers: s.brokers}, kafka.TopicSpec{Name: clean, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	good, err := kafka.NewProducer(kafka.Config{Brokers: s.brokers}, clean)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { good.Close() })
	s.beside = good
	if err := good.Produce(ctx, s.produced...); err != nil { // those from before
		t.Fatal(err)
	}
	formats := pipeline.NewFormats(event.NewRedactor(nil), prometheus.NewRegistry()).Decode()
	n, dead := 0, 0
	for round := range short(12, 3) {
		messages := s.portion(30, round)
		if err := good.Produce(ctx, messages...); err != nil {
			t.Fatal(err)
		}
		var mixed []kafka.Message
		for _, m := range messages {
			if rand.IntN(4) == 0 {
				k := kinds[n%len(kinds)]
				n++
				value := []byte(k)
				if k == "" && n%2 == 0 {
					value = nil // a tombstone
				}
				bad := kafka.Message{Key: fmt.Append(nil, "agent-", rand.IntN(killAgents)), Value: value}
				mixed = append(mixed, bad)
				events := 0
				err := formats(&bad, time.Now().UnixMicro(), func() *event.Event { events++; return &event.Event{} })
				switch {
				case err == nil && events > 0:
					t.Fatalf("%.100q is an event", k)
				case err != nil && !errors.Is(err, decode.ErrNone):
					dead++
				}
			}
			mixed = append(mixed, m)
		}
		if err := s.producer.Produce(ctx, mixed...); err != nil {
			t.Fatal(err)
		}
		if !s.live(t, l) {
			t.Fatal("the engine ended otherwise than being killed")
		}
	}
	s.produce(t, ctx, 30, 3)
	s.finish(t, ctx, "disturbed", l)
	var letters uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM disturbed.dead_letters FINAL").Scan(&letters); err != nil {
		t.Fatal(err)
	}
	if letters != uint64(dead+s.dead) {
		t.Errorf("%d dead letters of %d messages that are to be rejected", letters, dead+s.dead)
	}
	t.Logf("%d messages of %d kinds that are no events, %d of them to be rejected", n, len(kinds), dead)
}

// The topic of dead letters cannot be written to. The table has them all the same, and events go on.
func deadTopicAway(t *testing.T, ctx context.Context, s *stage, l life) {
	away, refused := true, 0
	s.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		q := r.(*kmsg.ProduceRequest)
		if !away || !slices.ContainsFunc(q.Topics, func(x kmsg.ProduceRequestTopic) bool { return x.Topic == app.Dead }) {
			return nil, nil, false
		}
		refused++
		res := q.ResponseKind().(*kmsg.ProduceResponse)
		for _, x := range q.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = x.Topic
			for _, p := range x.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	var logged string
	during(t, ctx, s, l, func(p *process) {
		for range short(3, 1) {
			s.more(t, ctx)
			s.until(t, ctx, "dead letters in the table", "SELECT uniqExact(raw) FROM disturbed.dead_letters", uint64(5))
		}
		for begin := time.Now(); !strings.Contains(logged, "could not be copied to the topic"); logged = p.said(t) {
			if time.Since(begin) > patience {
				t.Fatal("that letters were not copied was not logged")
			}
			lasting(ctx, 50*time.Millisecond)
		}
		s.more(t, ctx)
	})
	s.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, false })
	away = false
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// Events come at ten times the rate that a slow database can take. They wait on the topic: the lag grows, the
// engine's memory does not, and its log says what is the matter. Then the database is quick again and the lag goes.
func overloaded(t *testing.T, ctx context.Context, s *stage, l life) {
	l.LoadEvery, l.FetchBytes = 500*time.Millisecond, 512<<10
	p := start(t, l)
	p.await(t, p.restored, "taking a partition over")
	const size = 16 << 10
	text := rand.NewChaCha8([32]byte{7})
	flood := func(n int) {
		t.Helper()
		var out []kafka.Message
		noise := make([]byte, size/2)
		for i := range n {
			if _, err := text.Read(noise); err != nil {
				t.Fatal(err)
			}
			out = append(out, s.event(i%killAgents, s.minute, i, fmt.Sprint("post/", i%97, "x"), hex.EncodeToString(noise)))
		}
		s.minute++
		if err := s.producer.Produce(ctx, out...); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n uint64) {
		t.Helper()
		if err := s.conn.QueryRow(ctx, stored).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	resident := func() (kib int) {
		t.Helper()
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Skip("memory cannot be read here: ", err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	s.door.set(func(g *gate) { g.lag = 500 * time.Millisecond })
	flood(1000)
	before, begin := count(), time.Now()
	lasting(ctx, 4*time.Second)
	sustained := float64(count()-before) / time.Since(begin).Seconds()
	if sustained == 0 {
		t.Fatal("nothing is worked off")
	}
	// It goes on until what waits is far more than what the collector lets a process grow by.
	const wanted = 128 << 20 / size
	early, late, produced, lag := 0, 0, 0, 0
	begin = time.Now()
	for lag < wanted {
		if n := int(10*sustained*time.Since(begin).Seconds()) - produced; n > 0 {
			n = min(n, 1000)
			flood(n)
			produced += n
		}
		if lag = s.ids - int(count()); lag < wanted/2 {
			early = max(early, resident())
		} else {
			late = max(late, resident())
		}
		if ctx.Err() != nil {
			t.Fatalf("only %d events wait: %v", lag, ctx.Err())
		}
		lasting(ctx, 50*time.Millisecond)
	}
	t.Logf("%.0f events/s are worked off, %.0f came; %d (%d MiB) wait; memory %d MiB at first, %d MiB later", sustained,
		float64(produced)/time.Since(begin).Seconds(), lag, lag*size>>20, early>>10, late>>10)
	if grown, waiting := (late-early)<<10, lag*size; grown > waiting/2 {
		t.Errorf("memory has grown by %d MiB while %d MiB wait", grown>>20, waiting>>20)
	}
	for begin := time.Now(); !strings.Contains(p.said(t), "events come faster than they are worked off"); lasting(ctx, 50*time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the overload was not logged")
		}
	}
	s.door.set(func(g *gate) { g.lag = 0 })
	s.until(t, ctx, "the lag goes", stored, uint64(s.ids))
	for begin := time.Now(); !strings.Contains(p.said(t), "worked off as fast as they come again"); lasting(ctx, 50*time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the end of the overload was not logged")
		}
	}
	p.stdin.Close()
	p.await(t, p.ended, "the graceful end")
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// compare holds the tables of a disturbed run to those of a calm one, but for the columns of except, and to what was
// produced, and prints a line of it.
func (s *stage) compare(t *testing.T, ctx context.Context, what, calm, db string, except ...string) {
	t.Helper()
	hide := strings.Join(except, ", ")
	var stored, ids uint64
	if err := s.conn.QueryRow(ctx, "SELECT count(), uniqExact(id) FROM "+db+".events").Scan(&stored, &ids); err != nil {
		t.Fatal(err)
	}
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf(what+": "+format, args...)
	}
	if stored != ids || ids != uint64(s.ids) {
		wrong("%d rows of %d events, %d were produced", stored, ids, s.ids)
	}
	alerts := "equal"
	hidden := func(table string) string { // columns that hold when a row was written, and those of the case
		out := s.clock(t, ctx, db, table)
		if hide != "" && table != "alerts" {
			out += ", " + hide
		}
		return out
	}
	for _, x := range []struct{ table, final, order string }{
		{"events", "", "id, partition, offset, idx"}, {"dead_letters", "FINAL", "partition, offset"}, {"alerts", "FINAL", "id"},
	} {
		if x.table == "dead_letters" && hide != "" {
			continue // there are none to compare with
		}
		rows := func(db string) []string {
			all := fmt.Sprintf("SELECT * EXCEPT (%s) FROM %s.%s %s ORDER BY %s", hidden(x.table), db, x.table, x.final, x.order)
			// The beginning of a row tells which it is, the hash that it is the same.
			return s.dump(t, ctx, "SELECT substring(row, 1, 500) AS start, hex(sipHash128(row)) AS hash FROM (SELECT formatRowNoNewline('JSONEachRow', *) AS row FROM ("+all+"))")
		}
		a, b := rows(calm), rows(db)
		if len(a) == 0 {
			wrong("no %s to compare", x.table)
		}
		if slices.Equal(a, b) {
			continue
		}
		if x.table == "alerts" {
			alerts = "different"
		}
		missing, extra := apart(a, b), apart(b, a)
		wrong("%s: %d rows are missing, %d are there that should not be\nmissing: %.2000s\nextra: %.2000s", x.table, len(missing), len(extra), strings.Join(missing, "\n"), strings.Join(extra, "\n"))
	}
	byMinute := map[int64]uint64{}
	rows, err := s.conn.Query(ctx, "SELECT toInt64(toUnixTimestamp(toStartOfMinute(time))) AS m, count() FROM "+db+".events GROUP BY m")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var m int64
		var n uint64
		if err := rows.Scan(&m, &n); err != nil {
			t.Fatal(err)
		}
		byMinute[m] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(byMinute, s.minutes) {
		wrong("the events of %d minutes are those of %d other ones", len(byMinute), len(s.minutes))
	}
	fmt.Printf("case %s: produced=%d stored=%d doubled=%d lost=%d alerts=%s\n", what, s.ids, stored, stored-ids, s.ids-int(ids), alerts)
}

// apart is what is in a more often than in b.
func apart(a, b []string) (out []string) {
	n := map[string]int{}
	for _, x := range b {
		n[x]++
	}
	for _, x := range a {
		if n[x]--; n[x] < 0 {
			out = append(out, x)
		}
	}
	return out
}
