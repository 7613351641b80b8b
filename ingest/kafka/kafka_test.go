package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker starts an in-process broker with one topic.
func broker(t testing.TB, partitions int32, opts ...kfake.Opt) Config {
	t.Helper()
	_, cfg := brokerAnd(t, partitions, opts...)
	return cfg
}

// brokerAnd returns the broker too, for tests that make it misbehave.
func brokerAnd(t testing.TB, partitions int32, opts ...kfake.Opt) (*kfake.Cluster, Config) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, "agent.events"),
		kfake.GroupMinSessionTimeout(time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, Config{Brokers: c.ListenAddrs(), Group: "astray", Topic: "agent.events", FetchMaxWait: 20 * time.Millisecond,
		HeartbeatInterval: 50 * time.Millisecond, SessionTimeout: 5 * time.Second, Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(b))
	return len(b), nil
}

// produce writes n records numbered from first, spread over the partitions by number.
func produce(t testing.TB, cfg Config, first, n int, partitions int32, opts ...kgo.Opt) {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(cfg.Topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for i := first; i < first+n; i++ {
		records = append(records, &kgo.Record{Partition: int32(i) % partitions, Key: []byte{byte(i)}, Value: fmt.Appendf(nil, "%d", i)})
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// collector is a handler that notes what it reads and stops once it has seen want records.
type collector struct {
	mu   sync.Mutex
	got  map[int32][]string
	all  int
	want int
	done chan struct{}
	gaps []Gap
}

func newCollector(want int) *collector {
	return &collector{got: map[int32][]string{}, want: want, done: make(chan struct{})}
}

func (c *collector) handle(ctx context.Context, a *Assignment) error {
	from, err := a.Start(ctx)
	if err != nil {
		return err
	}
	f := a.Open(from, TopicID{})
	defer f.Close()
	read, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.Done():
			cancel()
		case <-read.Done():
		}
	}()
	var b Batch
	next := int64(-1)
	for f.Fetch(read, &b) == nil {
		c.mu.Lock()
		if b.Gap != nil {
			c.gaps = append(c.gaps, *b.Gap)
		}
		before := c.all
		for _, m := range b.Messages {
			c.got[a.Partition] = append(c.got[a.Partition], string(m.Value))
			c.all++
		}
		if before < c.want && c.all >= c.want {
			close(c.done)
		}
		c.mu.Unlock()
		next = b.Next
	}
	if next >= 0 && ctx.Err() == nil {
		return a.Commit(ctx, next)
	}
	return nil
}

// start runs a consumer and returns its graceful stop, which waits for it.
func start(t testing.TB, cfg Config, h Handler) (stop func()) {
	t.Helper()
	ch := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- Run(context.Background(), ch, cfg, h) }()
	return sync.OnceFunc(func() {
		close(ch)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s in 30 s", what)
	}
}

func TestReadsEveryRecordInOrderAndGoesOnWhereItCommitted(t *testing.T) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		cfg := broker(t, 3)
		produce(t, cfg, 0, 3000, 3, kgo.ProducerBatchCompression(codec))
		c := newCollector(3000)
		stop := start(t, cfg, c.handle)
		wait(t, c.done, "records")
		stop()
		for p := range int32(3) {
			var want []string
			for i := int(p); i < 3000; i += 3 {
				want = append(want, fmt.Sprint(i))
			}
			if !slices.Equal(c.got[p], want) {
				t.Fatalf("partition %d: %d records of %d, or out of order", p, len(c.got[p]), len(want))
			}
		}
		produce(t, cfg, 3000, 30, 3)
		c = newCollector(30)
		stop = start(t, cfg, c.handle)
		wait(t, c.done, "records")
		stop()
		if c.all != 30 {
			t.Fatalf("read %d records after the restart, 30 were new", c.all)
		}
	}
}

func TestSecondMemberTakesPartitionsOverAndGivesThemBack(t *testing.T) {
	cfg := broker(t, 4)
	var mu sync.Mutex
	owned := map[string]map[int32]bool{}
	changed := make(chan struct{}, 100)
	count := func(member string) int { mu.Lock(); defer mu.Unlock(); return len(owned[member]) }
	h := func(member string) Handler {
		return func(ctx context.Context, a *Assignment) error {
			mu.Lock()
			for m, ps := range owned {
				if m != member && ps[a.Partition] {
					t.Errorf("%s got partition %d while %s works on it", member, a.Partition, m)
				}
			}
			if owned[member] == nil {
				owned[member] = map[int32]bool{}
			}
			owned[member][a.Partition] = true
			mu.Unlock()
			changed <- struct{}{}
			<-a.Done()
			mu.Lock()
			delete(owned[member], a.Partition)
			mu.Unlock()
			return nil
		}
	}
	until := func(cond func() bool) {
		t.Helper()
		for !cond() {
			wait(t, changed, "assignment")
		}
	}
	stopA := start(t, cfg, h("a"))
	defer stopA()
	until(func() bool { return count("a") == 4 })
	stopB := start(t, cfg, h("b"))
	defer stopB()
	until(func() bool { return count("a") == 2 && count("b") == 2 })
	stopB()
	until(func() bool { return count("a") == 4 })
}

func TestGapOfRetentionIsToldAndCounted(t *testing.T) {
	cfg := broker(t, 1)
	reg := prometheus.NewRegistry()
	cfg.Metrics = NewMetrics(reg)
	cfg.Log = nil
	produce(t, cfg, 0, 100, 1)
	deleteRecords(t, cfg, 60)
	c := newCollector(40)
	stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
		a.committed = 10 // as if committed before the broker deleted records
		return c.handle(ctx, a)
	})
	wait(t, c.done, "records")
	stop()
	if want := []Gap{{From: 10, To: 60}}; !slices.Equal(c.gaps, want) {
		t.Fatalf("gaps %v, want %v", c.gaps, want)
	}
	if c.all != 40 || c.got[0][0] != "60" {
		t.Fatalf("read %d records from %s", c.all, c.got[0][0])
	}
	if n := testutil.ToFloat64(cfg.Metrics.gaps.WithLabelValues(cfg.Topic, "retention")); n != 50 {
		t.Fatalf("counted %v missing records, 50 are", n)
	}
}

func deleteRecords(t *testing.T, cfg Config, before int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 1000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: cfg.Topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: before}}}}
	if _, err := req.RequestWith(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
}

func TestLogThatEndsBeforeTheOffsetIsToldAsRestarted(t *testing.T) {
	cfg := broker(t, 1)
	cfg.Log = nil
	produce(t, cfg, 0, 100, 1)
	for reset, from := range map[Reset]int64{Earliest: 0, Latest: 100} {
		cfg.Reset = reset
		c := newCollector(1)
		gap := make(chan Gap, 1)
		stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
			f := a.Open(5000, TopicID{})
			defer f.Close()
			var b Batch
			if err := f.Fetch(ctx, &b); err != nil {
				return err
			}
			if b.Gap != nil {
				gap <- *b.Gap
			} else {
				gap <- Gap{}
			}
			<-a.Done()
			return nil
		})
		_ = c
		if g, want := <-gap, (Gap{From: 5000, To: from, Restarted: true}); g != want {
			t.Errorf("%s: gap %+v, want %+v", reset, g, want)
		}
		stop()
	}
}

func TestStartFollowsReset(t *testing.T) {
	cfg := broker(t, 1)
	produce(t, cfg, 0, 10, 1)
	for reset, want := range map[Reset]int64{Earliest: 0, Latest: 10} {
		cfg.Reset, cfg.Group = reset, "g-"+string(reset)
		got := make(chan int64, 1)
		stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
			n, err := a.Start(ctx)
			got <- n
			<-a.Done()
			return err
		})
		if n := <-got; n != want {
			t.Errorf("%s starts at %d, want %d", reset, n, want)
		}
		stop()
	}
}

func TestTransactionMarkersAndTombstones(t *testing.T) {
	cfg := broker(t, 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic(cfg.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range 3 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, "%d", i)}, &kgo.Record{Key: []byte("k")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	c := newCollector(6)
	stop := start(t, cfg, c.handle)
	wait(t, c.done, "records")
	stop()
	if want := []string{"0", "", "1", "", "2", ""}; !slices.Equal(c.got[0], want) {
		t.Fatalf("read %q, want %q", c.got[0], want)
	}
}

func TestHardStopDoesNotWaitForHandlersToFinish(t *testing.T) {
	cfg := broker(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, nil, cfg, func(ctx context.Context, a *Assignment) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	wait(t, entered, "assignment")
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still running")
	}
}

func TestHandlerThatFailsIsCalledAgain(t *testing.T) {
	cfg := broker(t, 1)
	cfg.Log = nil
	calls := make(chan int, 10)
	n := 0
	stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
		n++
		calls <- n
		if n < 3 {
			return errors.New("broken")
		}
		<-a.Done()
		return nil
	})
	for want := 1; want <= 3; want++ {
		select {
		case got := <-calls:
			if got != want {
				t.Fatal(got)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("call %d did not come", want)
		}
	}
	stop()
}

func TestProducerKeepsKeysTogetherAndWaitsForAcks(t *testing.T) {
	cfg := broker(t, 4)
	p, err := NewProducer(cfg, cfg.Topic)
	if err != nil {
		t.Fatal(err)
	}
	var ms []Message
	for i := range 400 {
		ms = append(ms, Message{Key: fmt.Appendf(nil, "agent-%d", i%7), Value: fmt.Appendf(nil, "%d %d", i%7, i)})
	}
	if err := p.Produce(t.Context(), ms...); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c := newCollector(400)
	stop := start(t, cfg, c.handle)
	wait(t, c.done, "records")
	stop()
	home, last := map[int]int32{}, map[int]int{}
	for part, values := range c.got {
		for _, v := range values {
			var key, n int
			fmt.Sscanf(v, "%d %d", &key, &n)
			if h, ok := home[key]; ok && h != part {
				t.Fatalf("key %d is in partitions %d and %d", key, h, part)
			}
			if home[key] = part; n < last[key] {
				t.Fatalf("key %d: %d after %d", key, n, last[key])
			}
			last[key] = n
		}
	}
}

func TestCreateTopicsLeavesExistingOnesAlone(t *testing.T) {
	cfg := broker(t, 3)
	for range 2 {
		err := CreateTopics(t.Context(), cfg, TopicSpec{Name: "agent.alerts", Partitions: 2, Replicas: 1, MaxBytes: 2 << 20},
			TopicSpec{Name: cfg.Topic, Partitions: 9, Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSASL(t *testing.T) {
	for mechanism, method := range map[string]string{"PLAIN": "PLAIN", "SCRAM-SHA-256": "SCRAM-SHA-256", "SCRAM-SHA-512": "SCRAM-SHA-512"} {
		cfg := broker(t, 1, kfake.EnableSASL(), kfake.Superuser(method, "astray", "secret"))
		cfg.SASL = SASL{Mechanism: mechanism, User: "astray", Password: "secret"}
		p, err := NewProducer(cfg, cfg.Topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Produce(t.Context(), Message{Value: []byte("x")}); err != nil {
			t.Fatal(mechanism, err)
		}
		p.Close()
		c := newCollector(1)
		stop := start(t, cfg, c.handle)
		wait(t, c.done, mechanism)
		stop()
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	ok := Config{Brokers: []string{"127.0.0.1:9"}}
	for want, change := range map[string]func(*Config){
		"kafka: brokers: at least one host:port is needed":                                func(c *Config) { c.Brokers = nil },
		`kafka: reset: "middle" is neither "earliest" nor "latest"`:                       func(c *Config) { c.Reset = "middle" },
		"kafka: sasl: mechanism: needed with a user or password":                          func(c *Config) { c.SASL.Password = "x" },
		"kafka: sasl: user: needed with a mechanism":                                      func(c *Config) { c.SASL.Mechanism = "PLAIN" },
		`kafka: sasl: mechanism: "GSSAPI" is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`: func(c *Config) { c.SASL = SASL{"GSSAPI", "u", "p"} },
		"kafka: tls: cert_file and key_file go together":                                  func(c *Config) { c.TLS.KeyFile = "k" },
	} {
		c := ok
		change(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkFetch(b *testing.B) {
	for name, codec := range map[string]kgo.CompressionCodec{"plain": kgo.NoCompression(), "lz4": kgo.Lz4Compression()} {
		b.Run(name, func(b *testing.B) {
			cfg := broker(b, 1)
			cfg.FetchMaxBytes = 1 << 20 // so that there are many
			const n = 200_000
			cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.DefaultProduceTopic(cfg.Topic), kgo.ProducerBatchCompression(codec), kgo.MaxBufferedRecords(n))
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				cl.Produce(b.Context(), &kgo.Record{Value: fmt.Appendf(nil, `{"id":"evt-%012d","time":1700000000000,"kind":"api_call","agent_id":"agent-%d","action":"feed.list","service":"social","resource":"post/%d","status":200,"response_bytes":%d}%200s`, i, i%400, i*7919%100000, i%5000, "")}, nil)
			}
			if err := cl.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			cl.Close()
			// What both need is there before the clock starts: a Fetcher, and for comparison a connection of kafka-go.
			b.Run("fetcher", func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					b.StopTimer()
					f := (&Assignment{Topic: cfg.Topic, cfg: cfg.withDefaults()}).Open(0, TopicID{})
					if err := f.leader.find(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					var batch Batch
					for batch.Next < n {
						if err := f.Fetch(b.Context(), &batch); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					f.Close()
					b.StartTimer()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
			b.Run("conn", func(b *testing.B) {
				b.ReportAllocs()
				buf := make([]byte, 1<<20)
				for range b.N {
					b.StopTimer()
					conn, err := kafkago.DialLeader(b.Context(), "tcp", cfg.Brokers[0], cfg.Topic, 0)
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					for read := 0; read < n; {
						batch := conn.ReadBatchWith(kafkago.ReadBatchConfig{MinBytes: 1, MaxBytes: cfg.withDefaults().FetchMaxBytes, MaxWait: 250 * time.Millisecond})
						for {
							if _, err := batch.Read(buf); err != nil {
								break
							}
							read++
						}
						if err := batch.Close(); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					conn.Close()
					b.StartTimer()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		})
	}
}
