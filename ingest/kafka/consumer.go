package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Handler works on one assigned partition until a.Done is closed or ctx is cancelled. After Done it finishes what
// it has begun and commits; after ctx it returns at once. Returning an error, or returning while the partition
// is still assigned, ends the generation: the group is joined again after a pause.
type Handler func(ctx context.Context, a *Assignment) error

// Run joins the group and calls handler for every partition it is assigned, in a goroutine each, over as many
// generations as there are, until stop is closed (the handlers drain, then the group is left, and Run returns
// nil) or ctx is cancelled (the handlers' contexts are cancelled, and Run returns the context's error once they
// are gone). Errors of brokers and handlers are logged and retried; an error comes back only for a configuration
// that cannot work.
func Run(ctx context.Context, stop <-chan struct{}, cfg Config, handler Handler) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Group == "" || cfg.Topic == "" {
		return errors.New("kafka: group and topic: both are needed to read")
	}
	dialer, err := cfg.dialer()
	if err != nil {
		return err
	}
	c := &consumer{cfg: cfg, dialer: dialer, handler: handler, stop: stop, log: cfg.Log.With("group", cfg.Group, "topic", cfg.Topic)}
	// Next must not wait on while the process is to stop.
	next, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-next.Done():
		}
	}()
	if err := c.survey(next); err != nil { // it was told to stop
		return ctx.Err()
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: cfg.Group, Brokers: cfg.Brokers, Dialer: dialer, Topics: []string{cfg.Topic},
		HeartbeatInterval: cfg.HeartbeatInterval, SessionTimeout: cfg.SessionTimeout,
		RebalanceTimeout: cfg.RebalanceTimeout, JoinGroupBackoff: time.Second,
		WatchPartitionChanges: true, PartitionWatchInterval: cfg.PartitionWatch, Timeout: cfg.Timeout,
		// The offsets of partitions nobody committed yet; resolved by Assignment.Start.
		StartOffset: kafkago.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("kafka: group %s: %w", cfg.Group, err)
	}
	for {
		gen, err := group.Next(next)
		if next.Err() != nil {
			break
		}
		if err != nil {
			if errors.Is(err, kafkago.RebalanceInProgress) {
				c.log.Debug("kafka: joining again", "err", err)
			} else {
				c.log.Warn("kafka: cannot join the group, trying again", "err", err)
			}
			continue
		}
		c.running.Add(1)
		gen.Start(func(genCtx context.Context) {
			c.generation(ctx, genCtx, gen)
			c.running.Done()
			// When a function of a generation returns, the group is joined again. Who is about to leave waits
			// for the group to be closed instead, and heartbeats go on until then.
			if ctx.Err() != nil || closed(stop) {
				<-genCtx.Done()
			}
		})
	}
	c.running.Wait()
	left := make(chan struct{})
	go func() { group.Close(); close(left) }()
	if ctx.Err() == nil {
		select {
		case <-left:
			return nil
		case <-ctx.Done():
		}
	}
	// Leaving the group is a courtesy that must not hold up a hard stop when the brokers do not answer.
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-left:
	case <-t.C:
	}
	return ctx.Err()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type consumer struct {
	cfg     Config
	dialer  *kafkago.Dialer
	handler Handler
	stop    <-chan struct{}
	log     *slog.Logger
	running sync.WaitGroup
	old     int // partitions below this number were there before the group read the topic
	fails   int // generations in a row that a handler ended with an error; used by one generation at a time
}

// survey finds out which partitions were there before the group began to read the topic. It matters to those who begin with
// what is written from now on: a partition that is added later holds nothing else, and its first records are written
// before anybody knows of it. It tries until ctx ends.
func (c *consumer) survey(ctx context.Context) error {
	if c.cfg.Reset != Latest {
		return nil
	}
	for attempt := 1; ; attempt++ {
		old, err := oldPartitions(ctx, c.cfg)
		if err == nil {
			c.old = old
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.log.Warn("kafka: cannot look up what the group has read, trying again", "err", err)
		if !sleep(ctx, backoff(attempt, 100*time.Millisecond, 5*time.Second)) {
			return ctx.Err()
		}
	}
}

// generation runs the handlers of one generation and returns when all are gone.
func (c *consumer) generation(parent context.Context, genCtx context.Context, gen *kafkago.Generation) {
	parts := gen.Assignments[c.cfg.Topic]
	ids := make([]int32, 0, len(parts))
	for _, p := range parts {
		ids = append(ids, int32(p.ID))
	}
	slices.Sort(ids)
	c.log.Info("kafka: partitions assigned", "generation", gen.ID, "member", gen.MemberID, "partitions", ids)
	c.cfg.Metrics.generations.Inc()
	c.cfg.Metrics.assigned.Set(float64(len(parts)))
	defer c.cfg.Metrics.assigned.Set(0)

	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	failed := make(chan struct{})
	var once sync.Once
	fail := func() { once.Do(func() { close(failed) }) }
	watching, endWatch := context.WithCancel(ctx)
	var watches sync.WaitGroup
	defer watches.Wait()
	defer endWatch()
	done := make(chan struct{})
	allGone := make(chan struct{})
	go func() { // ends with allGone at the latest
		select {
		case <-genCtx.Done():
		case <-c.stop:
		case <-failed:
		case <-ctx.Done():
		case <-allGone:
			return
		}
		close(done)
		t := time.NewTimer(c.cfg.DrainTimeout)
		defer t.Stop()
		select {
		case <-t.C:
			c.log.Warn("kafka: handlers did not finish in time and are cut off", "generation", gen.ID, "timeout", c.cfg.DrainTimeout)
			cancel()
		case <-ctx.Done():
		case <-allGone:
		}
	}()

	var wg sync.WaitGroup
	var mu sync.Mutex
	var bad error
	for _, p := range parts {
		a := &Assignment{Topic: c.cfg.Topic, Partition: int32(p.ID), Generation: gen.ID, Beside: ids, committed: p.Offset, done: done,
			gen: gen, cfg: c.cfg, grown: p.ID >= c.old, progress: newProgress(time.Now)}
		watches.Go(func() {
			tick := time.NewTicker(c.cfg.StallAfter / 4)
			defer tick.Stop()
			c.watch(watching, a, tick.C, fail)
		})
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := c.handler(ctx, a)
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				bad = errors.Join(bad, fmt.Errorf("partition %d: %w", a.Partition, err))
				mu.Unlock()
				c.log.Error("kafka: handler failed", "partition", a.Partition, "generation", gen.ID, "err", err)
			}
			fail()
			c.cfg.Metrics.lag.DeleteLabelValues(c.cfg.Topic, a.partitionLabel())
		}()
	}
	if len(parts) == 0 { // a spare member: wait for the next generation
		select {
		case <-genCtx.Done():
		case <-c.stop:
		case <-ctx.Done():
		}
	}
	wg.Wait()
	close(allGone)
	if bad == nil {
		c.fails = 0
		return
	}
	// A handler that fails at once must not spin the whole group through rebalances.
	c.fails++
	t := time.NewTimer(backoff(c.fails, 500*time.Millisecond, 30*time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-genCtx.Done():
	case <-c.stop:
	case <-ctx.Done():
	}
}

// backoff doubles from lo at the first attempt up to hi, and takes a random part of the upper half of that.
func backoff(attempt int, lo, hi time.Duration) time.Duration {
	d := lo << min(attempt-1, 20)
	if d <= 0 || d > hi {
		d = hi
	}
	return d/2 + rand.N(d/2+1)
}

// Assignment is one partition for the time of one generation.
type Assignment struct {
	Topic      string
	Partition  int32
	Generation int32
	Beside     []int32 // all partitions that this member has in the generation, this one among them, in order

	committed int64
	done      <-chan struct{}
	gen       *kafkago.Generation
	cfg       Config
	grown     bool      // the partition came to be while the group was reading the topic
	progress  *progress // what the watchdog looks at
}

// Done is closed when the handler is to finish.
func (a *Assignment) Done() <-chan struct{} { return a.done }

// Source names the partition.
func (a *Assignment) Source() (topic string, partition int32) { return a.Topic, a.Partition }

// Start is the offset to begin at for someone who has no checkpoint of their own: the group's committed offset,
// else what Config.Reset says. It asks the broker and retries until ctx ends.
func (a *Assignment) Start(ctx context.Context) (int64, error) {
	if a.committed >= 0 {
		return a.committed, nil
	}
	l := newLeader(a.cfg, a.Topic, a.Partition)
	defer l.close()
	for attempt := 1; ; attempt++ {
		first, stable, _, err := l.bounds(ctx)
		if err == nil {
			if a.cfg.Reset == Latest && !a.grown {
				return stable, nil
			}
			return first, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		a.cfg.Log.Warn("kafka: cannot look up offsets, trying again", "topic", a.Topic, "partition", a.Partition, "err", err)
		if !sleep(ctx, backoff(attempt, 100*time.Millisecond, 5*time.Second)) {
			return 0, ctx.Err()
		}
	}
}

// Commit tells the group that every record before offset has been dealt with. It fails once the generation is
// no longer the group's; whoever keeps checkpoints elsewhere may ignore that.
func (a *Assignment) Commit(ctx context.Context, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := a.gen.CommitOffsets(map[string]map[int]int64{a.Topic: {int(a.Partition): offset}})
	if err != nil {
		a.cfg.Metrics.commitErrors.WithLabelValues(a.Topic).Inc()
		return fmt.Errorf("kafka: commit %s/%d at %d: %w", a.Topic, a.Partition, offset, err)
	}
	return nil
}

func (a *Assignment) partitionLabel() string { return fmt.Sprint(a.Partition) }

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
