package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

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
	cfg := Config{Brokers: c.Brokers(kraft.Plain), Group: "g-" + t.Name(), Topic: "t-" + t.Name(), FetchMaxWait: 50 * time.Millisecond,
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

func TestAbortedTransactionsAreNotRead(t *testing.T) {
	cfg := topic(t, 1, nil)
	a, b := transactional(t, cfg, "a"), transactional(t, cfg, "b")
	write := func(cl *kgo.Client, values ...string) {
		t.Helper()
		for _, v := range values {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin := func(cl *kgo.Client) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	end := func(cl *kgo.Client, commit kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	// Two producers whose transactions overlap: one gives its up, the other does not.
	begin(a)
	write(a, "a1 aborted")
	begin(b)
	write(b, "b1")
	write(a, "a2 aborted")
	end(a, kgo.TryAbort)
	write(b, "b2")
	begin(a)
	write(a, "a3")
	end(a, kgo.TryCommit)
	end(b, kgo.TryCommit)
	produce(t, cfg, 4, 1, 1)
	c := newCollector(4)
	stop := start(t, cfg, c.handle)
	wait(t, c.done, "records")
	stop()
	if want := []string{"b1", "b2", "a3", "4"}; !slices.Equal(c.got[0], want) {
		t.Errorf("read %q, want %q", c.got[0], want)
	}
}

var _ = fmt.Sprint
var _ kmsg.Request
