package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// BenchmarkState measures what a checkpoint and a take-over cost: 100,000 agents with a past of some days, of which one
// in fifty acted since the last checkpoint.
func BenchmarkState(b *testing.B) {
	ctx := b.Context()
	server := embeddedtest.ClickHouse(ctx, b, embedded.Options{})
	if _, err := clickhouse.Migrate(ctx, server.DSN()); err != nil {
		b.Fatal(err)
	}
	store, err := clickhouse.OpenWith(ctx, clickhouse.Options{DSN: server.DSN(), InsertTimeout: time.Minute, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	const agents = 100_000
	e := detect.New(detect.Config{}, catalog.All()...)
	rng := rand.New(rand.NewPCG(3, 4))
	n := 0
	act := func(agent, day int) {
		n++
		e.Observe(&event.Event{ID: fmt.Sprint("e", n), AgentID: fmt.Sprintf("agent-%06d", agent), Cohort: fmt.Sprint("cohort-", agent%7), Kind: event.APICall, Access: event.Read,
			Action: "post.get", Service: fmt.Sprint("service-", rng.IntN(9)), Resource: fmt.Sprint("post/", rng.IntN(5000)),
			CredentialID: fmt.Sprint("key-", agent), SourceIP: "10.0.0.1", UserAgent: "sdk/1", Time: int64(1_700_000_000+day*86400+n%86400) * 1_000_000})
	}
	for day := range 4 {
		for agent := range agents {
			act(agent, day)
			act(agent, day)
		}
	}
	cp := pipeline.Checkpoint{Topic: "t", Epoch: 1}
	save := func() (states, bytes int) {
		var all []pipeline.State
		flush := func() {
			if err := store.SaveStates(ctx, cp, all); err != nil {
				b.Fatal(err)
			}
			all = all[:0]
		}
		cp.Offset++
		if err := e.Checkpoint(func(key string, data []byte) error {
			all = append(all, pipeline.State{Key: key, Data: append([]byte{}, data...)})
			states, bytes = states+1, bytes+len(data)
			if len(all) == 4000 {
				flush()
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		flush()
		if err := store.SaveCheckpoint(ctx, cp); err != nil {
			b.Fatal(err)
		}
		return states, bytes
	}
	t0 := time.Now()
	states, bytes := save()
	first := time.Since(t0)
	b.Run("first checkpoint of 100k agents", func(b *testing.B) {
		b.ReportMetric(first.Seconds(), "s")
		b.ReportMetric(float64(states), "states")
		b.ReportMetric(float64(bytes)/(1<<20), "MB")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("checkpoint after 2k of them acted", func(b *testing.B) {
		var took time.Duration
		var states, bytes int
		for range b.N {
			for range agents / 50 {
				act(rng.IntN(agents), 4)
			}
			t0 := time.Now()
			states, bytes = save()
			took += time.Since(t0)
		}
		b.ReportMetric(took.Seconds()/float64(b.N), "s")
		b.ReportMetric(float64(states), "states")
		b.ReportMetric(float64(bytes)/(1<<20), "MB")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("restore of 100k agents", func(b *testing.B) {
		for range b.N {
			r := detect.New(detect.Config{}, catalog.All()...)
			if err := store.LoadStates(ctx, cp, r.Restore); err != nil {
				b.Fatal(err)
			}
			if r.Agents() != agents {
				b.Fatalf("%d agents came back", r.Agents())
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
		b.ReportMetric(0, "ns/op")
	})
}
