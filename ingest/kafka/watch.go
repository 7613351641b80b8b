package kafka

import (
	"context"
	"sync"
	"time"
)

// progress is how far the reader of a partition is and what it does, for the watchdog. A nil one is watched by nobody.
type progress struct {
	now func() time.Time

	mu      sync.Mutex
	open    bool // a fetcher is open
	next    int64
	since   time.Time // when next changed last, or the fetcher was opened, or the watchdog did something about it
	inside  bool      // Fetch was called and has not returned
	left    time.Time // when Fetch returned last
	kick    bool      // connections are to be made anew
	abandon context.CancelFunc
	kicks   chan struct{}
}

func newProgress(now func() time.Time) *progress {
	return &progress{now: now, kicks: make(chan struct{}, 1)}
}

func (p *progress) set(f func()) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *progress) reading(offset int64) {
	p.set(func() { p.open, p.next, p.since = true, offset, p.now() })
}
func (p *progress) closed() { p.set(func() { p.open = false }) }
func (p *progress) enter()  { p.set(func() { p.inside = true }) }
func (p *progress) leave()  { p.set(func() { p.inside, p.left = false, p.now() }) }

func (p *progress) at(offset int64) {
	p.set(func() {
		if p.next != offset {
			p.next, p.since = offset, p.now()
		}
	})
}

// request returns a context for a request that the watchdog can break off.
func (p *progress) request(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	p.set(func() { p.abandon = cancel })
	return ctx, func() {
		p.set(func() { p.abandon = nil })
		cancel()
	}
}

// kicked reports whether the watchdog wants new connections, and forgets it.
func (p *progress) kicked() (kick bool) {
	p.set(func() { kick, p.kick = p.kick, false })
	return kick
}

// wait sleeps for d, or until the watchdog wants another attempt, and reports whether ctx let it.
func (p *progress) wait(ctx context.Context, d time.Duration) bool {
	if p == nil {
		return sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.kicks:
		return true
	case <-ctx.Done():
		return false
	}
}

// push makes the fetcher begin anew with new connections.
func (p *progress) push() {
	p.set(func() {
		p.kick = true
		if p.abandon != nil {
			p.abandon()
		}
		select {
		case p.kicks <- struct{}{}:
		default:
		}
	})
}

// look returns where reading is, whether it has been there for at least d while a fetcher was open, and whether it is
// the broker that is waited for, rather than the reader's caller, who then has not asked for more for half of d.
func (p *progress) look(d time.Duration) (next int64, stuck, inside bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	return p.next, p.open && now.Sub(p.since) >= d, p.inside || now.Sub(p.left) < d/2
}

// touch makes look wait for another d.
func (p *progress) touch() { p.set(func() { p.since = p.now() }) }

// Why a partition stands still although there are records to be read.
const (
	stalledTransaction = "transaction" // an open transaction holds back what was written after it began
	stalledFetch       = "fetch"       // the broker does not give the records
	stalledHandler     = "handler"     // whoever asked for records does not take any more
)

// watch looks after one partition until ctx ends: a reader that stands still although there is something to be read is
// told of, counted, and set going again. restart ends the generation.
func (c *consumer) watch(ctx context.Context, a *Assignment, tick <-chan time.Time, restart func()) {
	l := newLeader(c.cfg, a.Topic, a.Partition)
	defer l.close()
	log := c.log.With("partition", a.Partition)
	for {
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
		next, stuck, inside := a.progress.look(c.cfg.StallAfter)
		if !stuck {
			continue
		}
		_, stable, end, err := l.bounds(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Warn("kafka: no record has been read for a while, and the broker does not tell whether there are any", "offset", next, "for", c.cfg.StallAfter, "err", err)
			l.close()
			continue
		}
		if now, _, _ := a.progress.look(0); now != next {
			continue // it went on meanwhile
		}
		a.progress.touch()
		if end <= next {
			continue // there is nothing to be read
		}
		reason := stalledHandler
		switch {
		case inside && stable <= next:
			reason = stalledTransaction
			log.Error("kafka: an open transaction holds back what was written after it began; end it, or wait for the brokers to (transaction.max.timeout.ms)",
				"offset", next, "log_end", end, "for", c.cfg.StallAfter)
		case inside:
			reason = stalledFetch
			log.Error("kafka: reading stands still although there are records; connecting anew", "offset", next, "log_end", end, "for", c.cfg.StallAfter)
			a.progress.push()
		default:
			log.Error("kafka: the records read are not being worked off; the partition is taken over anew", "offset", next, "log_end", end, "for", c.cfg.StallAfter)
			restart()
		}
		c.cfg.Metrics.stalls.WithLabelValues(a.Topic, reason).Inc()
	}
}
