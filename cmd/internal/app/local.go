package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/astray-dev/astray/ingest/event/link"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// localLinks judges what crosses agents within the process: the frames that go over a topic otherwise stand in a log in
// memory, and a worker of the same kind reads it. It lasts for a generation of the group, as the workers of the
// partitions do that feed it.
//
// Nothing is lost with the memory. A partition's checkpoint waits (Settle) until the exchange has one itself behind all
// that the partition has sent, so that whoever takes over begins with an exchange that has it, and sends what came
// later once more; see ingest/PROTOCOL.md.
type localLinks struct {
	topic, group string
	total        int // partitions of events when this process began
	worker       func(sources int) (*pipeline.Worker, error)
	log          *slog.Logger

	mu  sync.Mutex
	now *localLog // of the present generation, nil between two
}

// run works on a partition of events as handler does, beside an exchange.
func (l *localLinks) run(ctx context.Context, a *kafka.Assignment, handler kafka.Handler) error {
	log, err := l.join(ctx, a)
	if err != nil {
		return err
	}
	defer l.leave(log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-log.ended:
			cancel() // without an exchange there are no checkpoints
		case <-ctx.Done():
		}
	}()
	err = handler(ctx, a)
	select {
	case <-log.ended:
		return errors.Join(err, log.err)
	default:
		return err
	}
}

// join takes part in the exchange of the assignment's generation, which the first one starts.
func (l *localLinks) join(ctx context.Context, a *kafka.Assignment) (*localLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.now.members++
		return l.now, nil
	}
	// Whoever has all partitions waits for all. The others' links are not heard here, and of what this instance has
	// the entities are kept apart from those of other sets.
	total := max(l.total, int(a.Beside[len(a.Beside)-1])+1)
	sources := total
	if len(a.Beside) < total {
		sources = 0
		l.log.Error("app: detect.links is local, but other instances have partitions too: what crosses the agents of two instances is not judged. Run one instance, or set detect.links to topic",
			"partitions", a.Beside, "of", total)
	}
	w, err := l.worker(sources)
	if err != nil {
		return nil, err
	}
	log := newLocalLog(l.topic, a.Beside[0])
	log.members = 1
	go func() {
		log.err = w.Run(ctx, log)
		if log.err == nil && !closed(log.done) {
			log.err = errors.New("app: the exchange ended by itself")
		}
		close(log.ended)
	}()
	l.now = log
	return log, nil
}

// leave ends the exchange when the last partition has been worked on: it writes down what it has and stops.
func (l *localLinks) leave(log *localLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if log.members--; log.members > 0 {
		return
	}
	close(log.done)
	<-log.ended
	l.now = nil
}

func (l *localLinks) present() *localLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Partitions is one: there is one goroutine that judges.
func (l *localLinks) Partitions() int { return 1 }

// Send hands frames to the exchange, waiting while it has too much to do.
func (l *localLinks) Send(ctx context.Context, frames []link.Frame) error {
	log := l.present()
	if log == nil {
		return errNoExchange
	}
	for i := range frames {
		frames[i].Group = l.group
		size := 64
		for _, r := range frames[i].Records {
			size += len(r.Data) + 8
		}
		if err := log.append(ctx, frames[i].Append(make([]byte, 0, size))); err != nil {
			return err
		}
	}
	return nil
}

// Settle waits until everything that was sent is under a checkpoint of the exchange.
func (l *localLinks) Settle(ctx context.Context, _ int32) error {
	log := l.present()
	if log == nil {
		return errNoExchange
	}
	return log.settle(ctx)
}

var errNoExchange = errors.New("app: there is no exchange in this process")

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// maxLocal is how many bytes of frames wait in memory.
const maxLocal = 32 << 20

// localLog is a log of frames in memory with one reader; it is the pipeline's source and log. Its first record has the
// offset that the reader begins at.
type localLog struct {
	topic     string
	partition int32
	done      chan struct{} // closed when the reader is to finish
	ended     chan struct{} // closed when it has, after err was set
	err       error
	members   int // partitions of events that feed it; localLinks' mutex guards it

	mu      sync.Mutex
	changed chan struct{} // closed and made anew with every change
	queue   [][]byte      // appended and not fetched
	bytes   int           // of queue
	opened  bool
	first   int64 // the offset of the first record, once opened
	sent    int64 // records appended
	fetched int64
	settled int64 // records under a checkpoint
	wanted  int64 // records that somebody waits for being so
}

func newLocalLog(topic string, partition int32) *localLog {
	return &localLog{topic: topic, partition: partition, done: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{})}
}

// change wakes whoever waits. The mutex is held.
func (l *localLog) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait blocks until ready, which is called with the mutex held, is true; then it returns with the mutex held.
func (l *localLog) wait(ctx context.Context, ready func() bool) error {
	l.mu.Lock()
	for !ready() {
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-l.ended:
			return fmt.Errorf("app: the exchange has ended: %w", errors.Join(l.err, errNoExchange))
		case <-ctx.Done():
			return ctx.Err()
		}
		l.mu.Lock()
	}
	return nil
}

func (l *localLog) append(ctx context.Context, frame []byte) error {
	if err := l.wait(ctx, func() bool { return l.bytes == 0 || l.bytes+len(frame) <= maxLocal }); err != nil {
		return err
	}
	defer l.mu.Unlock()
	l.queue = append(l.queue, frame)
	l.bytes += len(frame)
	l.sent++
	l.change()
	return nil
}

func (l *localLog) settle(ctx context.Context) error {
	l.mu.Lock()
	target := l.sent
	l.wanted = max(l.wanted, target)
	l.mu.Unlock()
	if err := l.wait(ctx, func() bool { return l.settled >= target }); err != nil {
		return err
	}
	l.mu.Unlock()
	return nil
}

// What follows is pipeline.Source, pipeline.Wanter and pipeline.Log.

func (l *localLog) Source() (topic string, partition int32) { return l.topic, l.partition }

// Start is 0: who has no checkpoint has read nothing.
func (l *localLog) Start(context.Context) (int64, error) { return 0, nil }

func (l *localLog) Open(offset int64, _ kafka.TopicID) pipeline.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened, l.first = true, offset
	return l
}

// Commit comes after each checkpoint.
func (l *localLog) Commit(_ context.Context, offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened {
		l.settled = max(l.settled, offset-l.first)
		l.change()
	}
	return nil
}

func (l *localLog) Done() <-chan struct{} { return l.done }

func (l *localLog) Wanted() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + l.wanted
}

func (l *localLog) Close() error { return nil }

// Fetch takes what there is, waiting for something.
func (l *localLog) Fetch(ctx context.Context, b *kafka.Batch) error {
	if err := l.wait(ctx, func() bool { return len(l.queue) > 0 }); err != nil {
		<-ctx.Done() // the worker is ending
		return ctx.Err()
	}
	defer l.mu.Unlock()
	clear(b.Messages)
	at := l.first + l.fetched
	*b = kafka.Batch{Messages: b.Messages[:0], Start: at}
	now := time.Now().UnixMicro()
	for _, frame := range l.queue {
		b.Messages = append(b.Messages, kafka.Message{Offset: at, Time: now, Value: frame})
		at++
	}
	l.fetched += int64(len(l.queue))
	clear(l.queue)
	l.queue, l.bytes = l.queue[:0], 0
	b.Next, b.End = at, at
	l.change()
	return nil
}
