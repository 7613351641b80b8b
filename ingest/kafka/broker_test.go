package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/astray-dev/astray/deploy/embedded/kraft"
)

// The tests of this file run against Apache Kafka, all against one broker, each with topics and groups of its own. They run when
// ASTRAY_TEST_KAFKA is set, as make test-kafka does.

var cluster = struct {
	sync.Mutex
	*kraft.Cluster
	dir string
	err error
}{}

type withBroker struct{ m *testing.M }

// Run stops the broker before anyone looks for goroutines that are left.
func (w withBroker) Run() int {
	code := w.m.Run()
	if cluster.Cluster != nil {
		cluster.Kill()
	}
	os.RemoveAll(cluster.dir)
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(withBroker{m}) }

// apache returns the broker, starting it if it is not there yet.
func apache(t *testing.T) *kraft.Cluster {
	t.Helper()
	if os.Getenv("ASTRAY_TEST_KAFKA") == "" {
		t.Skip("make test-kafka runs it")
	}
	cluster.Lock()
	defer cluster.Unlock()
	if cluster.Cluster == nil && cluster.err == nil {
		if cluster.dir, cluster.err = os.MkdirTemp("", "astray-kafka-"); cluster.err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			cluster.Cluster, cluster.err = kraft.Start(ctx, kraft.Options{Dir: cluster.dir})
		}
	}
	if errors.Is(cluster.err, kraft.ErrNotHere) {
		t.Skipf("SKIPPED: %v", cluster.err)
	}
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
	return cluster.Cluster
}

// topic makes a topic of the test's own and returns a configuration to read and write it.
func topic(t *testing.T, partitions int, settings map[string]string) Config {
	t.Helper()
	c := apache(t)
	name := strings.NewReplacer("/", "-", "Test", "").Replace(t.Name())
	cfg := Config{Brokers: c.Brokers(kraft.Plain), Group: "group." + name, Topic: "topic." + name, FetchMaxWait: 50 * time.Millisecond,
		HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: 10 * time.Second, PartitionWatch: 200 * time.Millisecond}
	if err := CreateTopics(t.Context(), cfg, TopicSpec{Name: cfg.Topic, Partitions: partitions, Settings: settings}); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func admin(t *testing.T, cfg Config) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// transactional returns a producer with a transactional id of its own.
func transactional(t *testing.T, cfg Config, id string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.TransactionalID(t.Name()+id), kgo.DefaultProduceTopic(cfg.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// begin, write and end are for producers of transactions.
func begin(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, cl *kgo.Client, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func end(t *testing.T, cl *kgo.Client, how kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.EndTransaction(t.Context(), how); err != nil {
		t.Fatal(err)
	}
}

// numbers are the values that produce writes to partition p of n.
func numbers(first, count int, p, n int32) (out []string) {
	for i := first; i < first+count; i++ {
		if int32(i)%n == p {
			out = append(out, strconv.Itoa(i))
		}
	}
	return out
}

func request[R kmsg.Response](t *testing.T, cl *kgo.Client, req kmsg.Request) R {
	t.Helper()
	res, err := cl.Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.(R)
}

func deleteTopic(t *testing.T, cfg Config) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &cfg.Topic
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{cfg.Topic}
	for _, t0 := range request[*kmsg.DeleteTopicsResponse](t, admin(t, cfg), req).Topics {
		if err := kerr.ErrorForCode(t0.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
}

func grow(t *testing.T, cfg Config, partitions int32) {
	t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = cfg.Topic, partitions
	req.Topics = append(req.Topics, topic)
	for _, t0 := range request[*kmsg.CreatePartitionsResponse](t, admin(t, cfg), req).Topics {
		if err := kerr.ErrorForCode(t0.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n != int(partitions); { // a broker learns of them a little later
		var err error
		if n, err = Partitions(t.Context(), cfg, cfg.Topic); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListeners(t *testing.T) {
	c := apache(t)
	certs := c.Certificates
	base := topic(t, 1, nil)
	produce(t, base, 0, 10, 1)
	secure := TLS{Enabled: true, CAFile: certs.CA}
	for _, l := range []struct {
		listener kraft.Listener
		tls      TLS
		sasl     SASL
		refused  string // empty: it works
	}{
		{kraft.Plain, TLS{}, SASL{}, ""},
		{kraft.TLS, secure, SASL{}, ""},
		{kraft.TLS, TLS{Enabled: true, CAFile: certs.StrangerCA}, SASL{}, "unknown authority"},
		{kraft.TLS, TLS{Enabled: true, CAFile: certs.CA, ServerName: "kafka.elsewhere"}, SASL{}, "kafka.elsewhere"},
		{kraft.MTLS, TLS{Enabled: true, CAFile: certs.CA, CertFile: certs.ClientCert, KeyFile: certs.ClientKey}, SASL{}, ""},
		{kraft.MTLS, secure, SASL{}, "bad certificate"},
		{kraft.MTLS, TLS{Enabled: true, CAFile: certs.CA, CertFile: certs.StrangerCert, KeyFile: certs.StrangerKey}, SASL{}, "bad certificate"},
		{kraft.SASL, secure, SASL{"PLAIN", kraft.User, kraft.Password}, ""},
		{kraft.SASL, secure, SASL{"PLAIN", kraft.User, "wrong"}, "Authentication"},
		{kraft.SCRAM, TLS{}, SASL{"SCRAM-SHA-512", kraft.User, kraft.Password}, ""},
		{kraft.SCRAM, TLS{}, SASL{"SCRAM-SHA-512", kraft.User, "wrong"}, "Authentication"},
		{kraft.SCRAM, TLS{}, SASL{"PLAIN", kraft.User, kraft.Password}, "Mechanism"},
	} {
		cfg := base
		cfg.Brokers, cfg.TLS, cfg.SASL, cfg.Group = c.Brokers(l.listener), l.tls, l.sasl, base.Group+string(l.listener)
		cfg.Timeout, cfg.DialTimeout = 5*time.Second, 5*time.Second
		name := fmt.Sprintf("%s %+v %+v", l.listener, l.tls, l.sasl)
		if l.refused != "" {
			err := CreateTopics(t.Context(), cfg, TopicSpec{Name: cfg.Topic})
			if err == nil || !strings.Contains(err.Error(), l.refused) {
				t.Errorf("%s: making a topic: %v, want an error that says %q", name, err, l.refused)
			}
			lead := newLeader(cfg.withDefaults(), cfg.Topic, 0)
			if err := lead.find(t.Context()); err == nil {
				t.Errorf("%s: the partition's leader is told", name)
			}
			lead.close()
			continue
		}
		p, err := NewProducer(cfg, cfg.Topic)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := p.Produce(t.Context(), Message{Value: []byte(l.listener)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Close(); err != nil {
			t.Error(name, err)
		}
		c := newCollector(11)
		stop := start(t, cfg, c.handle)
		wait(t, c.done, name)
		stop()
	}
}

func TestCompression(t *testing.T) {
	cfg := topic(t, 2, nil)
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for i, codec := range codecs {
		produce(t, cfg, i*1000, 1000, 2, kgo.ProducerBatchCompression(codec))
	}
	c := newCollector(len(codecs) * 1000)
	stop := start(t, cfg, c.handle)
	wait(t, c.done, "records")
	stop()
	for p := range int32(2) {
		if !slices.Equal(c.got[p], numbers(0, len(codecs)*1000, p, 2)) {
			t.Errorf("partition %d: %d records, or out of order", p, len(c.got[p]))
		}
	}
}

// Partitions that are added while the topic is read are read from their first record on, whatever Reset says.
func TestPartitionsAreAddedWhileReading(t *testing.T) {
	for _, reset := range []Reset{Earliest, Latest} {
		t.Run(string(reset), func(t *testing.T) {
			cfg := topic(t, 1, nil)
			cfg.Reset = reset
			produce(t, cfg, 0, 10, 1)
			want := 10 + 30
			if reset == Latest {
				want = 30
			}
			c := newCollector(want)
			begun := make(chan struct{})
			once := sync.OnceFunc(func() { close(begun) })
			stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
				// As a worker does when it takes over: the group knows from here on.
				from, err := a.Start(ctx)
				if err != nil {
					return err
				}
				if err := a.Commit(ctx, from); err != nil {
					return err
				}
				a.committed = from
				once()
				return c.handle(ctx, a)
			})
			wait(t, begun, "assignment")
			grow(t, cfg, 3)
			produce(t, cfg, 10, 30, 3)
			wait(t, c.done, "records")
			stop()
			// And those that are added while nobody reads.
			grow(t, cfg, 4)
			produce(t, cfg, 40, 40, 4)
			c = newCollector(40)
			stop = start(t, cfg, c.handle)
			wait(t, c.done, "records")
			stop()
			if !slices.Equal(c.got[3], numbers(40, 40, 3, 4)) {
				t.Errorf("partition 3: %q", c.got[3])
			}
		})
	}
}

// reader reads partition 0 from where it is told, and remembers which topic it read, as whoever keeps checkpoints does.
type reader struct {
	next int64
	of   TopicID
	gaps []Gap
}

func (r *reader) read(t *testing.T, cfg Config, want int, meanwhile func(n int)) (out []string) {
	t.Helper()
	done := make(chan struct{})
	stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
		f := a.Open(r.next, r.of)
		defer f.Close()
		var b Batch
		for len(out) < want {
			if err := f.Fetch(ctx, &b); err != nil {
				return err
			}
			r.next, r.of = b.Next, b.Topic
			if b.Gap != nil {
				r.gaps = append(r.gaps, *b.Gap)
			}
			for _, m := range b.Messages {
				out = append(out, string(m.Value))
			}
			meanwhile(len(out))
		}
		close(done)
		<-a.Done()
		return nil
	})
	wait(t, done, "records")
	stop()
	return out
}

// A topic that is deleted and made anew has offsets that begin again. Those of the new one are read from the first on, even
// if there are more of them by then than the old one had.
func TestTopicIsDeletedAndMadeAnew(t *testing.T) {
	again := func(t *testing.T, cfg Config) {
		t.Helper()
		deleteTopic(t, cfg)
		for {
			err := CreateTopics(t.Context(), cfg, TopicSpec{Name: cfg.Topic})
			if err != nil {
				t.Fatal(err)
			}
			// The answer may have been that the old one is still there.
			if n, err := Partitions(t.Context(), cfg, cfg.Topic); err == nil && n == 1 {
				break
			}
		}
		produce(t, cfg, 100, 150, 1)
	}
	all := func(n int) {}
	for name, c := range map[string]func(t *testing.T, cfg Config, r *reader) []string{
		"while nobody reads": func(t *testing.T, cfg Config, r *reader) []string {
			out := r.read(t, cfg, 100, all)
			again(t, cfg)
			return append(out, r.read(t, cfg, 150, all)...)
		},
		"while it is read": func(t *testing.T, cfg Config, r *reader) []string {
			once := sync.OnceFunc(func() { again(t, cfg) })
			return r.read(t, cfg, 250, func(n int) {
				if n == 100 {
					once()
				}
			})
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			cfg := topic(t, 1, nil)
			cfg.Metrics = NewMetrics(nil)
			cfg.PartitionWatch = time.Minute // the generation is to go on
			produce(t, cfg, 0, 100, 1)
			var r reader
			if out := c(t, cfg, &r); !slices.Equal(out, numbers(0, 250, 0, 1)) {
				t.Errorf("read %d records, 250 were written; from %v to %v", len(out), out[0], out[len(out)-1])
			}
			if want := []Gap{{From: 100, To: 0, Restarted: true}}; !slices.Equal(r.gaps, want) {
				t.Errorf("gaps %+v, want %+v", r.gaps, want)
			}
			if n := testutil.ToFloat64(cfg.Metrics.gaps.WithLabelValues(cfg.Topic, "recreated")); n != 1 {
				t.Errorf("counted %v", n)
			}
		})
	}
}

func TestApacheStartFollowsReset(t *testing.T) {
	cfg := topic(t, 1, nil)
	produce(t, cfg, 0, 10, 1)
	group := cfg.Group
	for reset, want := range map[Reset]int64{Earliest: 0, Latest: 10} {
		cfg.Reset, cfg.Group = reset, group+string(reset)
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

func TestApacheRetentionOvertakesAReaderThatStopped(t *testing.T) {
	cfg := topic(t, 1, nil)
	cfg.Metrics = NewMetrics(nil)
	produce(t, cfg, 0, 100, 1)
	r := reader{}
	r.read(t, cfg, 100, func(int) {})
	produce(t, cfg, 100, 100, 1)
	deleteRecords(t, cfg, 160)
	if out := r.read(t, cfg, 40, func(int) {}); !slices.Equal(out, numbers(160, 40, 0, 1)) {
		t.Errorf("read %q", out)
	}
	if want := []Gap{{From: 100, To: 160}}; !slices.Equal(r.gaps, want) {
		t.Errorf("gaps %+v, want %+v", r.gaps, want)
	}
	if n := testutil.ToFloat64(cfg.Metrics.gaps.WithLabelValues(cfg.Topic, "retention")); n != 60 {
		t.Errorf("counted %v missing records, 60 are", n)
	}
}

// A message may be larger than a fetch is to be; one that is larger than the topic takes is refused by name.
func TestLargeMessages(t *testing.T) {
	cfg := topic(t, 1, map[string]string{"max.message.bytes": "4000000"})
	cfg.FetchMaxBytes = 64 << 10
	large := strings.Repeat("x", 3_000_000)
	produce(t, cfg, 0, 3, 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.DefaultProduceTopic(cfg.Topic), kgo.ProducerBatchMaxBytes(4_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	write(t, cl, large)
	produce(t, cfg, 3, 3, 1)
	var r reader
	if out := r.read(t, cfg, 7, func(int) {}); !slices.Equal(out, []string{"0", "1", "2", large, "3", "4", "5"}) {
		t.Errorf("read %d records: %.20q", len(out), out)
	}
	small := cfg
	small.Topic += ".small"
	if err := CreateTopics(t.Context(), small, TopicSpec{Name: small.Topic, MaxBytes: 10_000}); err != nil {
		t.Fatal(err)
	}
	p, err := NewProducer(small, small.Topic)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Produce(t.Context(), Message{Value: noise(20_000)})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message larger than the topic takes: %v", err)
	}
	if err := p.Produce(t.Context(), Message{Value: []byte("next")}); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestApacheTransactionMarkersAndTombstones(t *testing.T) {
	cfg := topic(t, 1, nil)
	cl := transactional(t, cfg, "")
	for i := range 3 {
		begin(t, cl)
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: strconv.AppendInt(nil, int64(i), 10)}, &kgo.Record{Key: []byte("k")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		end(t, cl, kgo.TryCommit)
	}
	var r reader
	if out, want := r.read(t, cfg, 6, func(int) {}), []string{"0", "", "1", "", "2", ""}; !slices.Equal(out, want) {
		t.Errorf("read %q, want %q", out, want)
	}
}

func TestAbortedTransactionsAreNotRead(t *testing.T) {
	cfg := topic(t, 1, nil)
	a, b := transactional(t, cfg, "a"), transactional(t, cfg, "b")
	// Two producers whose transactions overlap: one gives its up, the other does not.
	begin(t, a)
	write(t, a, "a1 aborted")
	begin(t, b)
	write(t, b, "b1")
	write(t, a, "a2 aborted")
	end(t, a, kgo.TryAbort)
	write(t, b, "b2")
	begin(t, a)
	write(t, a, "a3")
	end(t, a, kgo.TryCommit)
	end(t, b, kgo.TryCommit)
	produce(t, cfg, 4, 1, 1)
	var r reader
	if out, want := r.read(t, cfg, 4, func(int) {}), []string{"b1", "b2", "a3", "4"}; !slices.Equal(out, want) {
		t.Errorf("read %q, want %q", out, want)
	}
	// A reader that has seen only what was aborted is beyond it all the same.
	begin(t, a)
	write(t, a, "a4 aborted", "a5 aborted")
	end(t, a, kgo.TryAbort)
	produce(t, cfg, 5, 1, 1)
	if out, want := r.read(t, cfg, 1, func(int) {}), []string{"5"}; !slices.Equal(out, want) {
		t.Errorf("read %q, want %q", out, want)
	}
}

// What was written after an open transaction began cannot be read. Whoever waits for it is told so.
func TestOpenTransactionIsToldOf(t *testing.T) {
	cfg := topic(t, 1, nil)
	cfg.Metrics, cfg.StallAfter = NewMetrics(nil), 400*time.Millisecond
	a := transactional(t, cfg, "a")
	begin(t, a)
	write(t, a, "a1")
	produce(t, cfg, 2, 1, 1)
	stalls := cfg.Metrics.stalls.WithLabelValues(cfg.Topic, stalledTransaction)
	var r reader
	told := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for testutil.ToFloat64(stalls) == 0 {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
		close(told)
		if err := a.EndTransaction(context.WithoutCancel(t.Context()), kgo.TryCommit); err != nil {
			t.Error(err)
		}
	}()
	if out, want := r.read(t, cfg, 2, func(int) {}), []string{"a1", "2"}; !slices.Equal(out, want) {
		t.Errorf("read %q, want %q", out, want)
	}
	<-told
	<-over
}
