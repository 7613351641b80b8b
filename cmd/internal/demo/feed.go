package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/simulate"
)

// feed is what streams events into the topic.
type feed struct {
	produced atomic.Uint64 // messages acknowledged
	skipped  atomic.Uint64 // lines of a file that no topic takes
	until    atomic.Int64  // time of the newest event, microseconds
	lag      atomic.Int64  // records that the engine has yet to read, as it is known
	caughtUp atomic.Bool   // the world's time is the clock's
	history  chan struct{} // closed when all of the history is on the topic
	warm     chan struct{} // to be closed when the engine has worked through it
	stop     chan struct{} // to be closed when it is enough
	ended    chan error    // the outcome of run
}

func newFeed() *feed {
	return &feed{history: make(chan struct{}), warm: make(chan struct{}), stop: make(chan struct{}), ended: make(chan error, 1)}
}

// batch gathers messages and their bytes.
type batch struct {
	messages []kafka.Message
	buf      []byte
}

const (
	batchMessages = 4096
	batchBytes    = 4 << 20
	// mostLag is how far the topic may be ahead of the engine: the embedded broker drops what is too much, read or not.
	mostLag = 200_000
)

func (b *batch) full() bool { return len(b.messages) >= batchMessages || len(b.buf) >= batchBytes }

// errEnough ends a feed that was stopped.
var errEnough = errors.New("it was stopped")

// send writes the batch, unless the feed was stopped. One that was begun is written to its end, so that what is
// counted is what is on the topic.
func (f *feed) send(ctx context.Context, p *kafka.Producer, b *batch) error {
	select {
	case <-f.stop:
		return errEnough
	default:
	}
	for pause := time.Duration(0); f.lag.Load() > mostLag; pause = 50 * time.Millisecond {
		select {
		case <-time.After(pause):
		case <-f.stop:
			return errEnough
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := p.Produce(ctx, b.messages...); err != nil {
		return err
	}
	f.produced.Add(uint64(len(b.messages)))
	b.messages, b.buf = b.messages[:0], nil // the producer may still hold the old bytes
	return nil
}

// world streams a simulated world: its events before live as fast as they are taken, and those after it at speed
// times the pace of the clock, until its time is the clock's. The first done events are on the topic already.
func (f *feed) world(ctx context.Context, p *kafka.Producer, w *simulate.World, live time.Time, speed float64, done uint64, now func() time.Time) error {
	var ev event.Event
	more := w.Next(&ev)
	for ; more && done > 0; done-- {
		more = w.Next(&ev)
	}
	var b batch
	until := func(limit int64) error {
		for ; more && ev.Time <= limit; more = w.Next(&ev) {
			from := len(b.buf)
			b.buf = decode.AppendEvent(b.buf, &ev)
			b.messages = append(b.messages, kafka.Message{Key: []byte(ev.AgentID), Value: b.buf[from : len(b.buf)-1 : len(b.buf)-1]})
			f.until.Store(ev.Time)
			if b.full() {
				if err := f.send(ctx, p, &b); err != nil {
					return err
				}
			}
		}
		return f.send(ctx, p, &b)
	}
	begin := live.UnixMicro()
	if err := until(begin); err != nil {
		return err
	}
	begin = max(begin, f.until.Load())
	close(f.history)
	select {
	case <-f.warm:
	case <-f.stop:
		return errEnough
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for zero := now(); more; {
		clock := now()
		target := begin + int64(speed*float64(clock.Sub(zero).Microseconds()))
		if target >= clock.UnixMicro() {
			target = clock.UnixMicro()
			f.caughtUp.Store(true)
		}
		if err := until(target); err != nil {
			return err
		}
		f.until.Store(max(target, f.until.Load()))
		select {
		case <-tick.C:
		case <-f.stop:
			return errEnough
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lines streams the lines of a file as they are, each under the key of its agent. A line that no decoder takes goes
// to the topic without a key, and from there to the dead letters.
func (f *feed) lines(ctx context.Context, p *kafka.Producer, in io.Reader) error {
	r := bufio.NewReaderSize(in, event.MaxMessage)
	var d decode.Formats
	var b batch
	var ev event.Event
	for {
		line, err := r.ReadSlice('\n')
		long := false
		for errors.Is(err, bufio.ErrBufferFull) {
			long = true
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("--events: %w", err)
		}
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		switch {
		case long: // brokers refuse it
			f.skipped.Add(1)
		case len(line) > 0:
			from := len(b.buf)
			b.buf = append(b.buf, line...)
			m := kafka.Message{Value: b.buf[from:len(b.buf):len(b.buf)]}
			ev.Reset()
			// The error is the engine's to tell; here it only means that there is no key.
			if d.Decode(decode.Message{Value: line}, distantFuture, func() *event.Event { return &ev }) == nil && ev.AgentID != "" {
				m.Key = []byte(ev.AgentID)
				f.until.Store(max(ev.Time, f.until.Load()))
			}
			b.messages = append(b.messages, m)
		}
		if end := err != nil; b.full() || end && len(b.messages) > 0 {
			if err := f.send(ctx, p, &b); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// distantFuture is a clock that no event is ahead of.
const distantFuture = 1 << 62
