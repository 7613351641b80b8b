package app_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/deploy/embedded/kraft"
	"github.com/astray-dev/astray/ingest/kafka"
)

// Brokers of Apache Kafka are killed with SIGKILL and started again while engines work and the stream goes on. The tables are
// in the end those of an engine that nobody disturbed.
func TestFaultsOfBrokers(t *testing.T) {
	if underRace || os.Getenv(faultsEnv) == "" {
		t.Skip("make test-faults runs it, without the race detector, under which engines start too slowly")
	}
	for _, f := range []struct {
		name           string
		brokers, times int
	}{
		{"broker-killed", 1, short(3, 1)},
		{"broker-of-three-killed", 3, short(6, 2)},
	} {
		t.Run(f.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			bus, err := kraft.Start(ctx, kraft.Options{Dir: t.TempDir(), Brokers: f.brokers})
			if errors.Is(err, kraft.ErrNotHere) {
				t.Skipf("SKIPPED: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(bus.Kill)
			s := newStageWith(t, ctx, bus)
			l := life{Brokers: s.brokers, DSN: s.database(t, ctx, "disturbed"), Group: "disturbed"}
			s.produce(t, ctx, 2000, -1)
			s.finish(t, ctx, "disturbed", l) // the engine knows its agents from here on
			during(t, ctx, s, l, func(*process) {
				for n := range f.times {
					s.more(t, ctx)
					lasting(ctx, rand.N(500*time.Millisecond))
					id := n%f.brokers + 1
					bus.KillBroker(id)
					if f.brokers > 1 {
						s.more(t, ctx) // the others carry on
					} else {
						lasting(ctx, rand.N(time.Second))
					}
					if err := bus.StartBroker(ctx, id); err != nil {
						t.Fatal(err)
					}
					inSync(t, ctx, bus, f.brokers)
				}
				s.more(t, ctx)
			})
			s.produce(t, ctx, 30, rand.IntN(killAgents))
			s.finish(t, ctx, "disturbed", l)
			calm := life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"}
			s.finish(t, ctx, "calm", calm)
			s.compare(t, ctx, f.name, "calm", "disturbed")
		})
	}
}

// newStageWith is newStage with Apache Kafka.
func newStageWith(t *testing.T, ctx context.Context, bus *kraft.Cluster) *stage {
	t.Helper()
	s := &stage{start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), minutes: map[int64]uint64{}, brokers: bus.Brokers(kraft.Plain)}
	var err error
	s.server = embeddedtest.ClickHouse(ctx, t, embedded.Options{Restart: true})
	opt, err := native.ParseDSN(s.server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	s.door = newGate(t, opt.Addr[0], true)
	s.conn = embeddedtest.Connect(t, s.server.DSN())
	cfg := kafka.Config{Brokers: s.brokers, Timeout: 5 * time.Second}
	var topics []kafka.TopicSpec
	for _, name := range []string{app.Events, app.Alerts, app.Dead} {
		topics = append(topics, kafka.TopicSpec{Name: name, Partitions: 3})
	}
	if err := kafka.CreateTopics(ctx, cfg, topics...); err != nil {
		t.Fatal(err)
	}
	if s.producer, err = kafka.NewProducer(cfg, app.Events); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.producer.Close() })
	return s
}

// inSync waits until every broker holds every partition: one that is killed before the others have caught up would take
// what they lack with it.
func inSync(t *testing.T, ctx context.Context, bus *kraft.Cluster, brokers int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bus.Brokers(kraft.Plain)...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		all := false
		if res, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl); err == nil {
			all = len(res.Brokers) == brokers && len(res.Topics) > 0
			for _, topic := range res.Topics {
				for _, p := range topic.Partitions {
					all = all && len(p.ISR) == brokers
				}
			}
		}
		if all {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("the brokers did not catch up in %v", patience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
