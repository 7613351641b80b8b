package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// write stores units one after the other until there are no more or ctx ends. The order within a unit is the
// protocol: an alert's events are stored before the alert, and a checkpoint comes after everything it stands for.
func (p *partition) write(ctx context.Context) error {
	for u := range p.units {
		if err := p.writeUnit(ctx, u); err != nil {
			if !errors.Is(err, context.Canceled) {
				p.log.Error("pipeline: writing ended", "err", err)
			}
			return err
		}
	}
	return nil
}

func (p *partition) writeUnit(ctx context.Context, u unit) error {
	st := p.cfg.Store
	if u.block != nil {
		rows := u.block.Rows()
		p.point(BeforeBlock)
		t0 := time.Now()
		err := p.retry(ctx, "insert", u.block.Flush)
		if err != nil {
			return err
		}
		p.m.blockSeconds.Observe(time.Since(t0).Seconds())
		p.m.blockRows.Observe(float64(rows))
		p.m.stored.Add(float64(rows))
		p.blocks <- u.block
		p.point(AfterBlock)
	}
	if len(u.dead) > 0 {
		p.point(BeforeDead)
		if err := p.owned(ctx, "dead_letters", func(ctx context.Context) error { return st.WriteDeadLetters(ctx, u.dead) }); err != nil {
			return err
		}
		p.point(AfterDead)
		p.copyDead(ctx, u.dead)
	}
	if len(u.alerts) > 0 {
		p.point(BeforeAlerts)
		if err := p.owned(ctx, "alerts", func(ctx context.Context) error { return st.WriteAlerts(ctx, u.alerts) }); err != nil {
			return err
		}
		p.point(AfterAlerts)
		if p.cfg.Sink != nil {
			if err := p.retry(ctx, "alert_topic", func(ctx context.Context) error { return p.cfg.Sink.Alerts(ctx, u.alerts) }); err != nil {
				return err
			}
		}
		p.point(AfterAlertTopic)
	}
	if len(u.frames) > 0 {
		// Links of an owner that was replaced are void by their epoch: nobody has to ask who owns the partition.
		p.point(BeforeLinks)
		if err := p.retry(ctx, "links", func(ctx context.Context) error { return p.cfg.Exchange.Send(ctx, u.frames) }); err != nil {
			return err
		}
		p.m.links.Add(float64(u.linked))
		p.point(AfterLinks)
	}
	if len(u.baselines) > 0 {
		if err := p.owned(ctx, "baselines", func(ctx context.Context) error { return st.WriteBaselines(ctx, u.baselines) }); err != nil {
			return err
		}
	}
	if len(u.states) > 0 {
		cp := p.claim
		cp.Offset = u.at
		p.point(BeforeStates)
		if err := p.retry(ctx, "states", func(ctx context.Context) error { return st.SaveStates(ctx, cp, u.states) }); err != nil {
			return err
		}
		p.point(AfterStates)
		p.m.states.Add(float64(len(u.states)))
		for _, s := range u.states {
			p.m.statesBytes.Add(float64(len(s.Data)))
		}
	}
	if u.cp == nil {
		return nil
	}
	if p.cfg.Exchange != nil {
		if err := p.retry(ctx, "links_settled", func(ctx context.Context) error { return p.cfg.Exchange.Settle(ctx, p.part) }); err != nil {
			return err
		}
	}
	p.point(BeforeCheckpoint)
	if err := p.retry(ctx, "checkpoint", func(ctx context.Context) error { return st.SaveCheckpoint(ctx, *u.cp) }); err != nil {
		return err
	}
	p.savedCalls.Store(u.saves)
	p.point(AfterCheckpoint)
	p.m.checkpointSeconds.Observe(p.cfg.Now().Sub(u.began).Seconds())
	// The group's offset is for people and for lag monitors. The checkpoint is the truth, so a commit that fails,
	// as it does when the group is between two generations, is not tried again.
	p.point(BeforeCommit)
	if err := p.src.Commit(ctx, u.cp.Offset-u.base); err != nil && ctx.Err() == nil {
		p.log.Debug("pipeline: offset not committed to the group", "err", err)
	}
	p.point(AfterCommit)
	select {
	case p.saved <- struct{}{}:
	default:
	}
	return nil
}

// owned is retry for writes that the store does not refuse by itself: before every attempt it makes sure that nobody else
// has claimed the partition. A process that was frozen and has been replaced finds out here, or by its next block.
func (p *partition) owned(ctx context.Context, op string, f func(context.Context) error) error {
	return p.retry(ctx, op, func(ctx context.Context) error {
		cp, ok, err := p.cfg.Store.Load(ctx, p.topic, p.part)
		if err != nil {
			return fmt.Errorf("look up the owner: %w", err)
		}
		if ok && cp.Epoch > p.claim.Epoch {
			return ErrLost
		}
		return f(ctx)
	})
}

// copyDead copies dead letters to the topic, for a bounded time: the store has them. Once that has failed, only one attempt
// is made for each unit until one succeeds, so that a topic that stays away does not slow the stream down.
func (p *partition) copyDead(ctx context.Context, dead []DeadLetter) {
	if p.cfg.Sink == nil {
		return
	}
	limit := p.cfg.SinkTimeout
	if p.copyFailed {
		limit /= 10
	}
	lim, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	attempt := func(ctx context.Context) error { return p.cfg.Sink.DeadLetters(ctx, dead) }
	var err error
	if p.copyFailed {
		err = attempt(lim)
	} else {
		err = p.retry(lim, "dead_letter_topic", attempt)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		p.m.uncopied.Add(float64(len(dead)))
		p.log.Error("pipeline: dead letters are in the store but could not be copied to the topic", "letters", len(dead), "err", err)
		p.copyFailed = true
	case err == nil && p.copyFailed:
		p.log.Info("pipeline: dead letters are copied to the topic again")
		p.copyFailed = false
	}
}
