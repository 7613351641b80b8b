package pipeline

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
)

// counter is a small engine whose alerts depend on everything it has seen: it opens one for an agent at its
// tenth event and updates it at every tenth after that.
type counter struct {
	n       map[string]uint64
	dirty   map[string]bool
	changed []*alert.Alert
}

func newCounter(string, int32) (Engine, error) {
	return &counter{n: map[string]uint64{}, dirty: map[string]bool{}}, nil
}

const every = 10

func (c *counter) Observe(ev *event.Event) {
	id := strings.Clone(ev.AgentID)
	c.n[id]++
	c.dirty[id] = true
	if n := c.n[id]; n%every == 0 {
		c.changed = append(c.changed, &alert.Alert{
			ID: "count-" + id, Revision: n / every, Time: time.UnixMicro(ev.Time).UTC(), Detector: "counter",
			EntityKind: alert.KindAgent, EntityID: id, EventCount: int64(n), EventIDs: []string{strings.Clone(ev.ID)},
		})
	}
}

func (c *counter) Alerts(yield func(*alert.Alert)) {
	for _, a := range c.changed {
		yield(a)
	}
	c.changed = c.changed[:0]
}

func (c *counter) Checkpoint(yield func(string, []byte) error) error {
	for id := range c.dirty {
		if err := yield(id, binary.AppendUvarint(nil, c.n[id])); err != nil {
			return err
		}
	}
	clear(c.dirty)
	return nil
}

func (c *counter) Restore(key string, state []byte) error {
	n, k := binary.Uvarint(state)
	if k <= 0 {
		return errors.New("not a count")
	}
	c.n[strings.Clone(key)] = n
	return nil
}

func (c *counter) Baselines(yield func(*baseline.Summary)) {
	for id, n := range c.n {
		yield(&baseline.Summary{EntityKind: "agent", EntityID: id, Feature: "events", Expected: float64(n)})
	}
}
func (c *counter) Agents() int       { return len(c.n) }
func (c *counter) StateBytes() int64 { return int64(len(c.n) * 32) }

// decodeTest reads "id agent time"; anything else is rejected.
func decodeTest() Decode {
	return func(m *kafka.Message, _ int64, next func() *event.Event) error {
		for _, line := range strings.Split(string(m.Value), "\n") {
			ev := next()
			ev.Reset()
			if n, _ := fmt.Sscanf(line, "%s %s %d", &ev.ID, &ev.AgentID, &ev.Time); n != 3 {
				return &event.Rejection{Code: "bad_value", Field: "id", Rule: "is three words"}
			}
		}
		return nil
	}
}

// tape is a partition's log in memory: a slice of messages that starts at offset first.
type tape struct {
	first    int64
	messages []kafka.Message
	done     chan struct{}
	once     sync.Once
	stopAt   int64 // close done once this offset was fetched
	mu       sync.Mutex
	commits  []int64
	batch    int
	of       kafka.TopicID // which topic of the name it is
}

func newTape(batch int, messages ...string) *tape {
	t := &tape{done: make(chan struct{}), batch: batch, stopAt: 1 << 62}
	for i, m := range messages {
		t.messages = append(t.messages, kafka.Message{Offset: int64(i), Time: int64(1e15) + int64(i), Value: []byte(m)})
	}
	return t
}

func (t *tape) reopen() *tape {
	return &tape{first: t.first, messages: t.messages, batch: t.batch, done: make(chan struct{}), stopAt: t.stopAt}
}
func (t *tape) Source() (string, int32)              { return "agent.events", 3 }
func (t *tape) Start(context.Context) (int64, error) { return t.first, nil }
func (t *tape) Done() <-chan struct{}                { return t.done }
func (t *tape) stop()                                { t.once.Do(func() { close(t.done) }) }
func (t *tape) end() int64                           { return t.first + int64(len(t.messages)) }
func (t *tape) Open(offset int64, of kafka.TopicID) Log {
	return &head{t: t, next: offset, other: of != (kafka.TopicID{}) && of != t.of, said: of == t.of}
}
func (t *tape) Commit(_ context.Context, o int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commits = append(t.commits, o)
	return nil
}

type head struct {
	t     *tape
	next  int64
	other bool // next is an offset of another topic
	said  bool // which topic it is
}

func (h *head) Close() error { return nil }
func (h *head) Fetch(ctx context.Context, b *kafka.Batch) error {
	*b = kafka.Batch{Messages: b.Messages[:0], Start: h.next, Next: h.next, End: h.t.end(), Topic: h.t.of}
	if h.other || h.next > h.t.end() {
		h.other = false
		b.Gap = &kafka.Gap{From: h.next, To: h.t.first, Restarted: true}
		h.next = h.t.first
		b.Next = h.next
		return nil
	}
	if h.next == h.t.end() && !h.said {
		h.said = true
		return nil
	}
	h.said = true
	if h.next == h.t.end() {
		<-ctx.Done()
		return ctx.Err()
	}
	i := int(h.next - h.t.first)
	n := min(h.t.batch, len(h.t.messages)-i)
	b.Messages = append(b.Messages, h.t.messages[i:i+n]...)
	h.next += int64(n)
	b.Next = h.next
	return ctx.Err()
}

// ledger is a Store and a Sink in memory that outlives the workers that use it, and that can be made to fail: a
// write may be refused, may take effect and report an error, and a block may be stored for some days only.
type ledger struct {
	mu          sync.Mutex
	checkpoints []Checkpoint
	states      []savedState
	rows        []row
	tokens      map[string]bool
	alerts      map[string]*alert.Alert
	topicAlerts []string
	dead        map[event.Position]DeadLetter
	topicDead   int
	baselines   int
	fail        func(op string) failure // nil: never
	closed      int
}

type failure int

const (
	fine failure = iota
	refused
	lostReply
	halfway
)

var errLedger = errors.New("ledger: refused")

type savedState struct {
	key    string
	data   string
	offset int64
	epoch  uint64
}

type row struct {
	id, agent string
	time      int64
	pos       event.Position
	late      bool
}

func newLedger() *ledger {
	return &ledger{tokens: map[string]bool{}, alerts: map[string]*alert.Alert{}, dead: map[event.Position]DeadLetter{}}
}

// do runs f under the rules of failure. Nothing takes effect once ctx has ended: the process is dead.
func (l *ledger) do(ctx context.Context, op string, f func(half bool)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	how := fine
	if l.fail != nil {
		how = l.fail(op)
	}
	switch how {
	case refused:
		return errLedger
	case halfway:
		f(true)
		return errLedger
	case lostReply:
		f(false)
		return errLedger
	}
	f(false)
	return nil
}

// guarded is do on behalf of an owner: it is refused when there is a later one.
func (l *ledger) guarded(ctx context.Context, op string, epoch uint64, f func(half bool)) error {
	lost := false
	err := l.do(ctx, op, func(half bool) {
		if newest, _ := l.newest(); newest.Epoch > epoch {
			lost = true
			return
		}
		f(half)
	})
	if lost && err == nil {
		return ErrLost
	}
	return err
}

func (l *ledger) newest() (cp Checkpoint, ok bool) {
	for _, c := range l.checkpoints {
		if !ok || cmp.Or(cmp.Compare(c.Epoch, cp.Epoch), cmp.Compare(c.Offset, cp.Offset)) > 0 {
			cp, ok = c, true
		}
	}
	return cp, ok
}

func (l *ledger) Load(ctx context.Context, _ string, _ int32) (cp Checkpoint, ok bool, err error) {
	err = l.do(ctx, "load", func(bool) { cp, ok = l.newest() })
	return cp, ok, err
}

func (l *ledger) LoadStates(ctx context.Context, cp Checkpoint, yield func(string, []byte) error) error {
	newest := map[string]savedState{}
	err := l.do(ctx, "load_states", func(bool) {
		for _, s := range l.states {
			if s.offset <= cp.Offset && (newest[s.key].key == "" || s.offset >= newest[s.key].offset) {
				newest[s.key] = s
			}
		}
	})
	if err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(newest)) {
		if err := yield(k, []byte(newest[k].data)); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) Fence(ctx context.Context, _ Checkpoint) error {
	return l.do(ctx, "fence", func(bool) {})
}

func (l *ledger) StoredOffsets(ctx context.Context, _ string, _ int32, from int64) (map[int32]int64, error) {
	out := map[int32]int64{}
	err := l.do(ctx, "stored", func(bool) {
		for _, r := range l.rows {
			if r.pos.Offset >= from {
				d := dayOf(r.time)
				out[d] = max(out[d], r.pos.Offset)
			}
		}
	})
	return out, err
}

func (l *ledger) SaveStates(ctx context.Context, cp Checkpoint, states []State) error {
	return l.guarded(ctx, "states", cp.Epoch, func(half bool) {
		for i, s := range states {
			if half && i >= len(states)/2 {
				return
			}
			l.states = append(l.states, savedState{s.Key, string(s.Data), cp.Offset, cp.Epoch})
		}
	})
}

func (l *ledger) SaveCheckpoint(ctx context.Context, cp Checkpoint) error {
	return l.guarded(ctx, "checkpoint", cp.Epoch, func(half bool) {
		if !half {
			l.checkpoints = append(l.checkpoints, cp)
		}
	})
}

func (l *ledger) WriteAlerts(ctx context.Context, alerts []*alert.Alert) error {
	return l.do(ctx, "alerts", func(half bool) {
		for i, a := range alerts {
			if half && i >= len(alerts)/2 {
				return
			}
			if old := l.alerts[a.ID]; old == nil || old.Revision <= a.Revision {
				l.alerts[a.ID] = a
			}
		}
	})
}

func (l *ledger) WriteDeadLetters(ctx context.Context, letters []DeadLetter) error {
	return l.do(ctx, "dead", func(half bool) {
		for _, d := range letters {
			l.dead[d.Position] = d
		}
	})
}

func (l *ledger) WriteBaselines(ctx context.Context, s []baseline.Summary) error {
	return l.do(ctx, "baselines", func(bool) { l.baselines += len(s) })
}

func (l *ledger) Recent(ctx context.Context, cp Checkpoint, n int, yield func(string, int64)) error {
	return l.do(ctx, "recent", func(bool) {
		var rs []row
		for _, r := range l.rows {
			if r.pos.Offset < cp.Offset {
				rs = append(rs, r)
			}
		}
		slices.SortFunc(rs, byPosition)
		for _, r := range rs[max(0, len(rs)-n):] {
			yield(r.id, r.time)
		}
	})
}

func byPosition(a, b row) int {
	return cmp.Or(cmp.Compare(a.pos.Offset, b.pos.Offset), cmp.Compare(a.pos.Index, b.pos.Index))
}

func (l *ledger) Alerts(ctx context.Context, alerts []*alert.Alert) error {
	return l.do(ctx, "alert_topic", func(bool) {
		for _, a := range alerts {
			l.topicAlerts = append(l.topicAlerts, fmt.Sprintf("%s/%d", a.ID, a.Revision))
		}
	})
}

func (l *ledger) DeadLetters(ctx context.Context, letters []DeadLetter) error {
	return l.do(ctx, "dead_topic", func(bool) { l.topicDead += len(letters) })
}

type page struct {
	l     *ledger
	epoch uint64
	days  map[int32][]row
}

func (l *ledger) newBlock(cp Checkpoint) (Block, error) {
	return &page{l: l, epoch: cp.Epoch, days: map[int32][]row{}}, nil
}

func (b *page) Append(ev *event.Event, pos event.Position, late bool) {
	d := dayOf(ev.Time)
	b.days[d] = append(b.days[d], row{strings.Clone(ev.ID), strings.Clone(ev.AgentID), ev.Time, pos, late})
}

func (b *page) Rows() (n int) {
	for _, r := range b.days {
		n += len(r)
	}
	return n
}

func (b *page) Bytes() int { return 100 * b.Rows() }

func (b *page) Close() error { b.l.mu.Lock(); b.l.closed++; b.l.mu.Unlock(); return nil }

// Flush stores day after day; each day's rows are stored together or not at all.
func (b *page) Flush(ctx context.Context) error {
	for _, d := range slices.Sorted(maps.Keys(b.days)) {
		rows := b.days[d]
		token := fmt.Sprint(d, rows[0].pos, rows[len(rows)-1].pos, len(rows))
		err := b.l.guarded(ctx, "insert", b.epoch, func(half bool) {
			if half || b.l.tokens[token] {
				return
			}
			b.l.tokens[token] = true
			b.l.rows = append(b.l.rows, rows...)
		})
		if err != nil {
			return err
		}
		delete(b.days, d)
	}
	return nil
}

// config returns a worker's configuration on the ledger, with blocks and checkpoints as small as they can be.
func config(l *ledger) Config {
	return Config{Store: l, NewBlock: l.newBlock, NewEngine: newCounter, NewDecode: decodeTest, Sink: l,
		RetryPause: time.Microsecond, BlockRows: 7, BlockAge: time.Millisecond, AlertAge: time.Millisecond, CheckpointEvery: time.Millisecond,
		NewDeduper: func() Deduper { return NewWindow(64) }, Redact: func(b []byte) []byte { return b }}
}

// runToEnd works the tape off and stops gracefully when everything is under a checkpoint.
func runToEnd(t interface {
	Fatal(...any)
	Helper()
}, cfg Config, l *ledger, tp *tape) {
	t.Helper()
	fp := cfg.Failpoint
	end := tp.end()
	cfg.Failpoint = func(point string) {
		if fp != nil {
			fp(point)
		}
		if point == AfterCheckpoint || point == AfterRestore {
			l.mu.Lock()
			cp, _ := l.newest()
			l.mu.Unlock()
			if cp.Offset >= end {
				tp.stop()
			}
		}
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Run(ctx, tp); err != nil {
		t.Fatal(err)
	}
}

func (l *ledger) sortedRows() []row {
	out := slices.Clone(l.rows)
	slices.SortFunc(out, byPosition)
	return out
}

// messages makes a stream with several days, late events, duplicates, several events per message, and garbage.
func messages(t *rapid.T) []string {
	const day = 86_400_000_000
	n := rapid.IntRange(1, 120).Draw(t, "messages")
	out := make([]string, n)
	for i := range out {
		switch rapid.IntRange(0, 11).Draw(t, "kind") {
		case 0:
			out[i] = "garbage"
		case 1:
			out[i] = fmt.Sprintf("id-%d agent-0 %d", rapid.IntRange(0, n).Draw(t, "old"), int64(9e14))
		case 2:
			a := fmt.Sprintf("id-%d agent-1 %d", i, int64(9e14)+int64(i))
			out[i] = a + "\n" + fmt.Sprintf("id-%d-b agent-2 %d", i, int64(9e14)+day+int64(i))
		default:
			at := int64(9e14) + int64(rapid.IntRange(0, 3).Draw(t, "day"))*day + int64(i)
			out[i] = fmt.Sprintf("id-%d agent-%d %d", i, rapid.IntRange(0, 4).Draw(t, "agent"), at)
		}
	}
	return out
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// Whatever fails and wherever the process dies, the tables are those of an undisturbed run.
func TestCrashesAnywhereLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := messages(t)
		batch := rapid.IntRange(1, 20).Draw(t, "batch")
		want := newLedger()
		runToEnd(t, config(want), want, newTape(batch, ms...))

		got := newLedger()
		tp := newTape(batch, ms...)
		// Plan: at which visits of which points the process dies, and how writes fail. Drawn before the goroutines run.
		deaths := rapid.SliceOfN(rapid.IntRange(1, 60), 0, 8).Draw(t, "deaths")
		fails := rapid.SliceOfN(rapid.SampledFrom([]failure{fine, fine, fine, fine, refused, lostReply, halfway}), 0, 300).Draw(t, "failures")
		got.fail = func(string) (f failure) {
			if len(fails) > 0 {
				f, fails = fails[0], fails[1:]
			}
			return f
		}
		for _, after := range deaths {
			ctx, die := context.WithCancel(context.Background())
			cfg := config(got)
			visits := 0
			var mu sync.Mutex
			cfg.Failpoint = func(string) {
				mu.Lock()
				defer mu.Unlock()
				if visits++; visits == after {
					die()
				}
			}
			w, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			src := tp.reopen()
			got.mu.Lock()
			cp, _ := got.newest()
			got.mu.Unlock()
			timer := time.AfterFunc(200*time.Millisecond, die) // an earlier run may have come to the end already
			if err := w.Run(ctx, src); !errors.Is(err, context.Canceled) {
				t.Fatalf("died at visit %d from %d: %v", after, cp.Offset, err)
			}
			timer.Stop()
			die()
		}
		runToEnd(t, config(got), got, tp.reopen())

		if d := gocmp.Diff(want.sortedRows(), got.sortedRows(), gocmp.AllowUnexported(row{})); d != "" {
			t.Fatalf("rows (-undisturbed +crashed):\n%s", d)
		}
		if d := gocmp.Diff(want.alerts, got.alerts); d != "" {
			t.Fatalf("alerts (-undisturbed +crashed):\n%s", d)
		}
		if d := gocmp.Diff(want.dead, got.dead, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("dead letters (-undisturbed +crashed):\n%s", d)
		}
		sent := map[string]bool{}
		for _, a := range got.topicAlerts {
			sent[a] = true
		}
		for _, a := range want.topicAlerts {
			if !sent[a] {
				t.Fatalf("alert %s did not reach the topic", a)
			}
		}
	})
}

func TestStreamBecomesRowsAlertsAndDeadLetters(t *testing.T) {
	var ms []string
	for i := range 25 {
		ms = append(ms, fmt.Sprintf("id-%d agent-1 %d", i, int64(9e14)+int64(i)))
	}
	ms = append(ms, "garbage", fmt.Sprintf("id-3 agent-1 %d", int64(9e14)), fmt.Sprintf("old agent-2 %d", int64(9e14-2*3600e6)))
	l := newLedger()
	cfg := config(l)
	reg := prometheus.NewRegistry()
	cfg.Metrics = NewMetrics(reg)
	tp := newTape(10, ms...)
	runToEnd(t, cfg, l, tp)
	if len(l.rows) != 26 {
		t.Errorf("%d rows, 26 events were accepted", len(l.rows))
	}
	if a := l.alerts["count-agent-1"]; len(l.alerts) != 1 || a == nil || a.Revision != 2 {
		t.Errorf("alerts %v", l.alerts)
	}
	d, ok := l.dead[event.Position{Topic: "agent.events", Partition: 3, Offset: 25}]
	if !ok || d.Code != "bad_value" || d.Field != "id" || string(d.Raw) != "garbage" || d.Size != 7 || len(l.dead) != 1 {
		t.Errorf("dead letters %+v", l.dead)
	}
	for i, r := range l.sortedRows() {
		if r.late != (r.id == "old") {
			t.Errorf("row %d %s: late is %v", i, r.id, r.late)
		}
	}
	if n := len(tp.commits); n == 0 || tp.commits[n-1] != 28 {
		t.Errorf("offsets committed: %v", tp.commits)
	}
	for name, c := range map[string]struct {
		m    prometheus.Collector
		want float64
	}{
		"events": {cfg.Metrics.events, 26}, "stored": {cfg.Metrics.stored, 26}, "duplicate": {cfg.Metrics.duplicate, 1}, "late": {cfg.Metrics.late, 1},
		"dead": {cfg.Metrics.dead.WithLabelValues("bad_value"), 1}, "alerts": {cfg.Metrics.alerts.WithLabelValues("counter"), 1},
		"updates": {cfg.Metrics.updates.WithLabelValues("counter"), 1},
	} {
		if got := testutil.ToFloat64(c.m); got != c.want {
			t.Errorf("metric %s is %v, want %v", name, got, c.want)
		}
	}
	if l.closed != 2 {
		t.Errorf("%d blocks closed of 2", l.closed)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// An owner that was replaced while it slept writes nothing more.
func TestReplacedOwnerStops(t *testing.T) {
	l := newLedger()
	var ms []string
	for i := range 50 {
		ms = append(ms, fmt.Sprintf("id-%d agent-1 %d", i, int64(9e14)+int64(i)))
	}
	tp := newTape(5, ms...)
	old := config(l)
	var once sync.Once
	old.Failpoint = func(point string) {
		if point == BeforeBlock {
			once.Do(func() { runToEnd(t, config(l), l, tp.reopen()) }) // while the old owner sleeps here
		}
	}
	w, _ := New(old)
	err := w.Run(t.Context(), tp)
	if !errors.Is(err, ErrLost) {
		t.Fatalf("the old owner ended with %v", err)
	}
	if len(l.rows) != 50 {
		t.Fatalf("%d rows of 50 events", len(l.rows))
	}
}

// A topic that was deleted and made anew repeats offsets; its events are new all the same.
func TestTopicMadeAnewIsReadFromItsStart(t *testing.T) {
	l := newLedger()
	var ms []string
	for i := range 20 {
		ms = append(ms, fmt.Sprintf("id-%d agent-1 %d", i, int64(9e14)+int64(i)))
	}
	runToEnd(t, config(l), l, newTape(5, ms...))
	var again []string
	for i := range 7 {
		again = append(again, fmt.Sprintf("new-%d agent-1 %d", i, int64(9e14)+int64(i)))
	}
	for range 2 { // the second time finds it under a checkpoint
		tp := newTape(3, again...)
		cfg := config(l)
		cfg.Failpoint = func(point string) {
			if point == AfterCheckpoint || point == AfterRestore {
				l.mu.Lock()
				if cp, _ := l.newest(); cp.Offset >= 27 {
					tp.stop()
				}
				l.mu.Unlock()
			}
		}
		w, _ := New(cfg)
		if err := w.Run(t.Context(), tp); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.rows) != 27 {
		t.Fatalf("%d rows of 27 events", len(l.rows))
	}
	if cp, _ := l.newest(); cp.Offset != 27 {
		t.Fatalf("checkpoint at %d, want 27", cp.Offset)
	}
}

// One that has more records by then than the old one had is told from it by its id, and read from its first record. So is one
// whose predecessor nothing was read of.
func TestTopicMadeAnewIsToldByItsID(t *testing.T) {
	l := newLedger()
	first := int64(3) // reading begins at the end of a log of three records, as latest does
	until := func(tp *tape, offset int64) {
		t.Helper()
		cfg := config(l)
		cfg.Failpoint = func(point string) {
			if point == AfterCheckpoint {
				l.mu.Lock()
				if cp, _ := l.newest(); cp.Offset >= offset && len(l.states) > 0 {
					tp.stop()
				}
				l.mu.Unlock()
			}
		}
		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(t.Context(), tp); err != nil {
			t.Fatal(err)
		}
	}
	topic := func(id byte, name string, n int) *tape {
		var ms []string
		for i := range n {
			ms = append(ms, fmt.Sprintf("%s-%d agent-1 %d", name, i, int64(9e14)+int64(i)))
		}
		tp := newTape(4, ms...)
		tp.of = kafka.TopicID{id}
		return tp
	}
	empty := topic(1, "", 0)
	empty.first = first
	until(empty, first)
	until(topic(2, "second", 10), first+10)
	until(topic(3, "third", 25), first+10+25)
	if len(l.rows) != 35 {
		t.Fatalf("%d rows of 35 events", len(l.rows))
	}
}

// While the store refuses, reading stops and memory does not grow.
func TestSlowStoreStopsTheReading(t *testing.T) {
	l := newLedger()
	refuse := make(chan struct{})
	l.fail = func(op string) failure {
		if op == "insert" {
			select {
			case <-refuse:
			default:
				return refused
			}
		}
		return fine
	}
	ms := make([]string, 10_000)
	for i := range ms {
		ms[i] = fmt.Sprintf("id-%d agent-1 %d", i, int64(9e14)+int64(i))
	}
	tp := newTape(10, ms...)
	cfg := config(l)
	cfg.NewDeduper = nil
	w, _ := New(cfg)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context(), tp) }()
	for {
		l.mu.Lock()
		n := len(l.rows)
		l.mu.Unlock()
		if n > 0 {
			t.Fatal("rows were stored")
		}
		if testutil.ToFloat64(w.cfg.Metrics.retries.WithLabelValues("insert")) >= 4 {
			break
		}
		<-time.After(time.Millisecond)
	}
	// One block at the writer, one open, and the batches on their way.
	if n := testutil.ToFloat64(w.cfg.Metrics.events); n > 100 {
		t.Errorf("%v events were taken in while nothing could be stored", n)
	}
	close(refuse)
	for {
		l.mu.Lock()
		n := len(l.rows)
		l.mu.Unlock()
		if n == len(ms) {
			break
		}
		<-time.After(time.Millisecond)
	}
	tp.stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestStateThatCannotBeRestoredStartsAnew(t *testing.T) {
	l := newLedger()
	l.checkpoints = []Checkpoint{{Topic: "agent.events", Partition: 3, Epoch: 1, Offset: 0}}
	l.states = []savedState{{key: "agent-1", data: "", offset: 0}}
	cfg := config(l)
	runToEnd(t, cfg, l, newTape(5, fmt.Sprintf("id agent-1 %d", int64(9e14))))
	if len(l.rows) != 1 {
		t.Fatal("the event was not stored")
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	_, err := New(Config{})
	if err == nil || !strings.Contains(err.Error(), "Store") {
		t.Fatal(err)
	}
}

// Window answers like a set of the last n distinct values.
func TestWindowIsASetOfTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		w := NewWindow(n)
		var last []uint64
		for i := range rapid.IntRange(0, 400).Draw(t, "steps") {
			// Few values and multiples of a power of two, so that probe sequences overlap.
			h := uint64(rapid.IntRange(1, 40).Draw(t, "value")) << rapid.SampledFrom([]uint{0, 40, 60}).Draw(t, "shift")
			if h == 0 {
				continue
			}
			want := slices.Contains(last, h)
			if got := w.Seen(h); got != want {
				t.Fatalf("step %d: Seen(%x) is %v, want %v", i, h, got, want)
			}
			if !want {
				if last = append(last, h); len(last) > n {
					last = last[1:]
				}
			}
		}
	})
}

func TestDeadLettersAreCutAndRedacted(t *testing.T) {
	l := newLedger()
	cfg := config(l)
	cfg.Redact = func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "hunter2", "[secret]")) }
	runToEnd(t, cfg, l, newTape(5, "hunter2"+strings.Repeat("x", MaxDeadLetter)))
	for _, d := range l.dead {
		if len(d.Raw) > MaxDeadLetter || strings.Contains(string(d.Raw), "hunter2") || d.Size != MaxDeadLetter+7 {
			t.Fatalf("%d bytes kept of %d: %.20s", len(d.Raw), d.Size, d.Raw)
		}
	}
	if len(l.dead) != 1 {
		t.Fatal("no dead letter")
	}
}

// A worker without blocks stores no rows; its states, alerts, dead letters and checkpoints are those of one with.
func TestWithoutBlocksNoRowsAreStored(t *testing.T) {
	var ms []string
	for i := range 60 {
		ms = append(ms, fmt.Sprintf("id-%d agent-%d %d", i, i%3, int64(9e14)+int64(i)))
	}
	ms = append(ms, "garbage")
	want, got := newLedger(), newLedger()
	runToEnd(t, config(want), want, newTape(7, ms...))
	cfg := config(got)
	cfg.NewBlock = nil
	runToEnd(t, cfg, got, newTape(7, ms...))
	if len(got.rows) != 0 || len(want.rows) != 60 {
		t.Fatalf("%d rows without blocks, %d with", len(got.rows), len(want.rows))
	}
	if len(got.alerts) == 0 || len(got.dead) != 1 {
		t.Fatalf("%d alerts, %d dead letters", len(got.alerts), len(got.dead))
	}
	if d := gocmp.Diff(want.alerts, got.alerts); d != "" {
		t.Errorf("alerts (-with blocks +without):\n%s", d)
	}
	a, _ := want.newest()
	if b, _ := got.newest(); a.Offset != b.Offset {
		t.Errorf("checkpoint at %d without blocks, at %d with", b.Offset, a.Offset)
	}
}

// blocksOf returns how many rows each block had that a worker made of n events, fetched one by one.
func blocksOf(t *testing.T, n int, change func(cfg *Config)) []int {
	t.Helper()
	var ms []string
	for i := range n {
		ms = append(ms, fmt.Sprintf("id-%d agent-%d %d", i, i, int64(9e14)+int64(i)))
	}
	l, tp := newLedger(), newTape(1, ms...)
	cfg := config(l)
	cfg.BlockAge, cfg.AlertAge, cfg.CheckpointEvery, cfg.BlockRows = time.Hour, time.Hour, 1<<60, n
	var blocks []int
	seen := 0
	cfg.Failpoint = func(point string) {
		if point == AfterBlock {
			l.mu.Lock()
			defer l.mu.Unlock()
			blocks = append(blocks, len(l.rows)-seen)
			if seen = len(l.rows); seen == n {
				tp.stop()
			}
		}
	}
	change(&cfg)
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Run(ctx, tp); err != nil {
		t.Fatal(err)
	}
	return blocks
}

// However many rows a block may have, it is stored when it has become large.
func TestBlocksAreBoundedInBytes(t *testing.T) {
	for i, rows := range blocksOf(t, 60, func(cfg *Config) { cfg.BlockBytes = 450 }) {
		if rows != 5 {
			t.Errorf("block %d has %d rows of 100 bytes, want 5", i, rows)
		}
	}
}

// A worker that is far behind does not store small blocks for their age's sake; one that has nearly caught up does.
func TestFarBehindBlocksMayWait(t *testing.T) {
	blocks := blocksOf(t, 60, func(cfg *Config) {
		// Each look at the clock finds it an age later.
		now := time.Unix(1e9, 0)
		var mu sync.Mutex
		cfg.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(cfg.BlockAge)
			return now
		}
		cfg.Wall = func() time.Time { return time.Unix(2e9, 0) }
		cfg.BlockRows = 20
	})
	seen := 0
	var far, near []int
	for _, rows := range blocks {
		if seen += rows; seen < 40 {
			far = append(far, rows)
		} else if seen > 45 {
			near = append(near, rows)
		}
	}
	if len(far) == 0 || len(near) == 0 || slices.Max(far) < 2 || slices.Max(near) > 1 {
		t.Errorf("far behind blocks of %d rows were stored, later of %d", far, near)
	}
}

// What is kept of a rejected message's headers is bounded, without secrets, and tells whether it is all.
func TestDeadLettersKeepHeaders(t *testing.T) {
	many := make([]kafka.Header, 100)
	for i := range many {
		many[i] = kafka.Header{Key: "k", Value: []byte("v")}
	}
	redactor := event.NewRedactor(nil)
	p := &partition{cfg: Config{Redact: redactor.Bytes}}
	for name, c := range map[string]struct {
		in, want []kafka.Header
		size     int
	}{
		"none":   {nil, nil, 0},
		"a few":  {[]kafka.Header{{Key: "ce_id", Value: []byte("1")}, {Key: "ce_id", Value: nil}}, []kafka.Header{{Key: "ce_id", Value: []byte("1")}, {Key: "ce_id"}}, 11},
		"many":   {many, many[:MaxHeaders], 200},
		"large":  {[]kafka.Header{{Key: "a", Value: make([]byte, MaxHeaderBytes)}, {Key: "b"}}, nil, MaxHeaderBytes + 2},
		"secret": {[]kafka.Header{{Key: "authorization", Value: []byte("Basic aGVsbG86d29ybGQxMjM0")}}, []kafka.Header{{Key: "authorization"}}, 39},
	} {
		got := p.deadLetter(&kafka.Message{Headers: c.in}, errors.New("x"))
		if got.HeadersSize != c.size || len(got.Headers) != len(c.want) {
			t.Errorf("%s: %d of %d bytes, %d headers; want %d, %d", name, got.HeadersSize, c.size, len(got.Headers), c.size, len(c.want))
			continue
		}
		for i, h := range got.Headers {
			if h.Key != c.want[i].Key || name != "secret" && string(h.Value) != string(c.want[i].Value) {
				t.Errorf("%s: header %d is %q: %q", name, i, h.Key, h.Value)
			}
			if name == "secret" && (strings.Contains(string(h.Value), "aGVsbG86") || !strings.Contains(string(h.Value), "[secret:")) {
				t.Errorf("the secret is kept: %q", h.Value)
			}
		}
	}
}
