package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// Message is one record of the log.
type Message struct {
	Offset  int64
	Time    int64 // the record's timestamp, microseconds since the epoch; 0 when it has none
	Key     []byte
	Value   []byte // nil for a tombstone
	Headers []Header
}

// Header is a record header.
type Header = kafkago.Header

// Gap is a stretch of the log that cannot be read.
type Gap struct {
	From, To int64 // the first offset that is missing, and the one at which reading goes on
	// Restarted says that the log ended before From: it was cut, or the topic was deleted and made anew, so that
	// offsets mean other records than before. Otherwise the broker deleted old records before they were read.
	Restarted bool
}

// Records is how many records are missing, 0 when nobody can know.
func (g *Gap) Records() int64 {
	if g.Restarted {
		return 0
	}
	return g.To - g.From
}

// Batch is what one fetch brought. It may be empty.
type Batch struct {
	Messages []Message // in offset order; their bytes belong to the batch until it is given to Fetch again
	Start    int64     // the offset that was asked for
	Next     int64     // the offset to read next; Fetch goes on there
	End      int64     // the end of the log: the offset its next record will get
	Gap      *Gap      // the gap before Messages, nil nearly always
}

// Lag is the number of records in the log behind the batch.
func (b *Batch) Lag() int64 { return max(b.End-b.Next, 0) }

// Fetcher reads one partition in offset order. It belongs to one goroutine.
type Fetcher struct {
	topic     string
	partition int32
	next      int64
	cfg       Config
	dialer    *kafkago.Dialer
	log       *slog.Logger
	conn      *kafkago.Conn
	cut       func() bool // stops the watch that closes conn when its context ends
	fails     int

	records, bytes, errors prometheus.Counter
	lag                    prometheus.Gauge
}

// Open returns a fetcher that begins at offset. Close it.
func (a *Assignment) Open(offset int64) *Fetcher {
	m := a.cfg.Metrics
	return &Fetcher{
		topic: a.Topic, partition: a.Partition, next: offset, cfg: a.cfg, dialer: a.dialer,
		log:     a.cfg.Log.With("topic", a.Topic, "partition", a.Partition),
		records: m.records.WithLabelValues(a.Topic), bytes: m.bytes.WithLabelValues(a.Topic),
		errors: m.fetchErrors.WithLabelValues(a.Topic), lag: m.lag.WithLabelValues(a.Topic, a.partitionLabel()),
	}
}

// Close ends the fetcher's connection.
func (f *Fetcher) Close() error {
	if f.conn == nil {
		return nil
	}
	f.cut()
	err := f.conn.Close()
	f.conn = nil
	return err
}

// Fetch reads what comes next into b, which may be reused: it returns after one answer of the broker, which may
// be empty when nothing was written for Config.FetchMaxWait. Broker and network errors are logged, counted and
// retried with growing pauses; the only error is that of ctx.
func (f *Fetcher) Fetch(ctx context.Context, b *Batch) error {
	for {
		clear(b.Messages)
		*b = Batch{Messages: b.Messages[:0], Start: f.next, Next: f.next}
		err := f.fetch(ctx, b)
		if ctx.Err() != nil {
			f.Close()
			return ctx.Err()
		}
		if err == nil || len(b.Messages) > 0 {
			if err != nil { // what came before the error is good
				f.log.Debug("kafka: fetch broke off", "offset", f.next, "err", err)
				f.Close()
			}
			f.fails = 0
			f.lag.Set(float64(b.Lag()))
			f.records.Add(float64(len(b.Messages)))
			return nil
		}
		f.Close()
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			if err = f.reposition(ctx, b); err == nil && b.Gap != nil {
				return nil
			}
			if err == nil {
				continue // the leader that answered was behind; ask again
			}
		}
		f.fails++
		f.errors.Inc()
		pause := backoff(f.fails, 100*time.Millisecond, 10*time.Second)
		f.log.Warn("kafka: fetch failed, trying again", "offset", f.next, "attempt", f.fails, "pause", pause, "err", err)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// fetch asks the broker once. On an error the messages read before it are in b and count.
func (f *Fetcher) fetch(ctx context.Context, b *Batch) error {
	if f.conn == nil {
		conn, err := dialLeader(ctx, f.dialer, f.cfg, f.topic, f.partition)
		if err != nil {
			return err
		}
		f.conn = conn
		f.cut = context.AfterFunc(ctx, func() { conn.Close() })
	}
	if _, err := f.conn.Seek(f.next, kafkago.SeekAbsolute|kafkago.SeekDontCheck); err != nil {
		return err
	}
	if err := f.conn.SetDeadline(time.Now().Add(f.cfg.FetchMaxWait + f.cfg.Timeout)); err != nil {
		return err
	}
	batch := f.conn.ReadBatchWith(kafkago.ReadBatchConfig{MinBytes: 1, MaxBytes: f.cfg.FetchMaxBytes, MaxWait: f.cfg.FetchMaxWait})
	var size int
	for {
		m, err := batch.ReadMessage()
		if err != nil {
			break // Close tells whether it was the end or an error
		}
		f.next = m.Offset + 1
		size += len(m.Key) + len(m.Value)
		if control(m.Key, m.Value) {
			continue
		}
		b.Messages = append(b.Messages, Message{Offset: m.Offset, Time: micros(m.Time), Key: m.Key, Value: m.Value, Headers: m.Headers})
	}
	f.bytes.Add(float64(size))
	end, reached := batch.HighWaterMark(), batch.Offset()
	err := batch.Close()
	if errors.Is(err, kafkago.RequestTimedOut) || errors.Is(err, io.EOF) {
		err = nil // an empty answer
	}
	if err == nil {
		f.next = max(f.next, reached) // beyond records that were compacted away at the batch's end
	}
	b.Next, b.End = f.next, max(end, f.next)
	return err
}

// control reports whether a record is a transaction marker, which the library hands out like any other. A marker's
// key is a version and a type, two bytes each, its value a version and a coordinator epoch in six bytes. No
// event looks like that.
func control(key, value []byte) bool {
	return len(key) == 4 && key[0] == 0 && key[2] == 0 && key[3] <= 1 && len(value) == 6 && value[0] == 0
}

func micros(t time.Time) int64 {
	if us := t.UnixMicro(); us > 0 {
		return us
	}
	return 0
}

// reposition finds out why the offset is out of range and goes where reading can go on, noting the gap in b.
func (f *Fetcher) reposition(ctx context.Context, b *Batch) error {
	first, last, err := bounds(ctx, f.dialer, f.cfg, f.topic, f.partition)
	if err != nil {
		return err
	}
	switch {
	case f.next < first:
		b.Gap = &Gap{From: f.next, To: first}
		f.cfg.Metrics.gaps.WithLabelValues(f.topic, "retention").Add(float64(b.Gap.Records()))
		f.log.Error("kafka: records were deleted before they were read; lengthen the topic's retention or add instances",
			"from", b.Gap.From, "to", b.Gap.To, "records", b.Gap.Records())
	case f.next > last:
		to := first
		if f.cfg.Reset == Latest {
			to = last
		}
		b.Gap = &Gap{From: f.next, To: to, Restarted: true}
		f.cfg.Metrics.gaps.WithLabelValues(f.topic, "log_end").Inc()
		f.log.Error("kafka: the log ends before the offset to be read; was the topic deleted and made anew?",
			"from", b.Gap.From, "log_start", first, "log_end", last, "to", to)
	default:
		return nil
	}
	f.next = b.Gap.To
	b.Next, b.End = f.next, last
	return nil
}

func (a *Assignment) bounds(ctx context.Context) (first, last int64, err error) {
	return bounds(ctx, a.dialer, a.cfg, a.Topic, a.Partition)
}

// bounds asks for the offsets of the oldest record and of the end of a partition's log.
func bounds(ctx context.Context, d *kafkago.Dialer, cfg Config, topic string, partition int32) (first, last int64, err error) {
	conn, err := dialLeader(ctx, d, cfg, topic, partition)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(cfg.Timeout)); err != nil {
		return 0, 0, err
	}
	return conn.ReadOffsets()
}

// dialLeader connects to the leader of a partition through whichever of the configured brokers answers.
func dialLeader(ctx context.Context, d *kafkago.Dialer, cfg Config, topic string, partition int32) (*kafkago.Conn, error) {
	var all error
	for _, broker := range cfg.Brokers {
		conn, err := func() (*kafkago.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
			defer cancel()
			return d.DialLeader(ctx, "tcp", broker, topic, int(partition))
		}()
		if err == nil {
			return conn, nil
		}
		all = errors.Join(all, fmt.Errorf("%s: %w", broker, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("leader of %s/%d: %w", topic, partition, all)
}
