package kafka

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that gives no records although it has some is asked anew over new connections.
func TestReadingThatStandsStillIsSetGoing(t *testing.T) {
	c, cfg := brokerAnd(t, 1)
	cfg.Log, cfg.Metrics, cfg.StallAfter = nil, NewMetrics(nil), 200*time.Millisecond
	produce(t, cfg, 0, 10, 1)
	stalls := cfg.Metrics.stalls.WithLabelValues(cfg.Topic, stalledFetch)
	c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if testutil.ToFloat64(stalls) > 0 {
			return nil, nil, false
		}
		// Nothing, though the log ends at 10.
		in := req.(*kmsg.FetchRequest)
		out := in.ResponseKind().(*kmsg.FetchResponse)
		for _, t := range in.Topics {
			ot := kmsg.NewFetchResponseTopic()
			ot.Topic, ot.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				op := kmsg.NewFetchResponseTopicPartition()
				op.Partition, op.HighWatermark, op.LastStableOffset = p.Partition, 10, 10
				ot.Partitions = append(ot.Partitions, op)
			}
			out.Topics = append(out.Topics, ot)
		}
		return out, nil, true
	})
	got := newCollector(10)
	stop := start(t, cfg, got.handle)
	wait(t, got.done, "records")
	stop()
	if n := testutil.ToFloat64(stalls); n < 1 {
		t.Errorf("counted %v stalls", n)
	}
}

// A handler that takes no more records has its partition taken over anew.
func TestHandlerThatStandsStillIsStartedAnew(t *testing.T) {
	cfg := broker(t, 1)
	cfg.Log, cfg.Metrics, cfg.StallAfter, cfg.DrainTimeout = nil, NewMetrics(nil), 200*time.Millisecond, 100*time.Millisecond
	produce(t, cfg, 0, 10, 1)
	got := newCollector(10)
	var calls atomic.Int32
	stop := start(t, cfg, func(ctx context.Context, a *Assignment) error {
		if calls.Add(1) > 1 {
			return got.handle(ctx, a)
		}
		f := a.Open(0, TopicID{})
		defer f.Close()
		<-ctx.Done()
		return ctx.Err()
	})
	wait(t, got.done, "records")
	stop()
	if n := testutil.ToFloat64(cfg.Metrics.stalls.WithLabelValues(cfg.Topic, stalledHandler)); n != 1 {
		t.Errorf("counted %v stalls", n)
	}
}

// Who has read everything does not stand still.
func TestNothingToReadIsNoStall(t *testing.T) {
	cfg := broker(t, 1)
	cfg.Metrics = NewMetrics(nil)
	produce(t, cfg, 0, 10, 1)
	var hours atomic.Int64
	p := newProgress(func() time.Time { return time.Unix(0, 0).Add(time.Duration(hours.Load()) * time.Hour) })
	p.reading(10)
	c := &consumer{cfg: cfg.withDefaults(), log: cfg.withDefaults().Log}
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.watch(ctx, &Assignment{Topic: cfg.Topic, progress: p}, tick, func() { t.Error("restarted") })
	}()
	for range 3 {
		hours.Add(1)
		tick <- time.Time{}
	}
	cancel()
	<-ended
	if n := testutil.CollectAndCount(cfg.Metrics.stalls); n != 0 {
		t.Errorf("%d kinds of stalls were counted", n)
	}
}
