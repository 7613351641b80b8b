package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
	Messages []Message // in offset order, until the batch is given to Fetch again; nobody ever writes to their bytes
	Start    int64     // the offset that was asked for
	Next     int64     // the offset to read next; Fetch goes on there
	End      int64     // the end of the log: the offset its next record will get
	Topic    TopicID   // the topic that Next is an offset of; unknown until the brokers were asked
	Gap      *Gap      // the gap before Messages, nil nearly always
}

// Lag is the number of records in the log behind the batch.
func (b *Batch) Lag() int64 { return max(b.End-b.Next, 0) }

// Fetcher reads one partition in offset order. It belongs to one goroutine.
type Fetcher struct {
	next     int64
	id       TopicID // of the topic that next is an offset of
	cfg      Config
	log      *slog.Logger
	leader   *leader
	unpack   kgo.Decompressor
	room     *room
	fails    int
	progress *progress // nil: nobody watches

	records, bytes, errors prometheus.Counter
	lag                    prometheus.Gauge
}

// Open returns a fetcher that begins at offset. of is the topic that offset belongs to, as Batch.Topic told: if it has been
// deleted and made anew since, the fetcher says so with a Gap and begins at its first record. Close it.
func (a *Assignment) Open(offset int64, of TopicID) *Fetcher {
	m := a.cfg.Metrics
	to := &room{ratio: 4}
	f := &Fetcher{
		next: offset, id: of, cfg: a.cfg, leader: newLeader(a.cfg, a.Topic, a.Partition), unpack: kgo.DefaultDecompressor(to), room: to,
		log:     a.cfg.Log.With("topic", a.Topic, "partition", a.Partition),
		records: m.records.WithLabelValues(a.Topic), bytes: m.bytes.WithLabelValues(a.Topic),
		errors: m.fetchErrors.WithLabelValues(a.Topic), lag: m.lag.WithLabelValues(a.Topic, a.partitionLabel()),
		progress: a.progress,
	}
	f.progress.reading(offset)
	return f
}

// Close ends the fetcher's connections.
func (f *Fetcher) Close() error {
	f.leader.close()
	f.progress.closed()
	return nil
}

// Fetch reads what comes next into b, which may be reused: it returns after one answer of the broker, which may
// be empty when nothing was written for Config.FetchMaxWait. Records of transactions that are open or were aborted are not
// read. Broker and network errors are logged, counted and retried with growing pauses; the only error is that of ctx.
func (f *Fetcher) Fetch(ctx context.Context, b *Batch) error {
	f.progress.enter()
	defer f.progress.leave()
	for {
		clear(b.Messages)
		*b = Batch{Messages: b.Messages[:0], Start: f.next, Next: f.next, End: f.next, Topic: f.id}
		err := f.fetch(ctx, b)
		if ctx.Err() != nil {
			f.leader.close()
			return ctx.Err()
		}
		if err == nil || len(b.Messages) > 0 {
			if err != nil { // what came before the error is good
				f.log.Debug("kafka: fetch broke off", "offset", f.next, "err", err)
				f.leader.forget()
			}
			f.fails = 0
			f.lag.Set(float64(b.Lag()))
			f.records.Add(float64(len(b.Messages)))
			f.progress.at(f.next)
			return nil
		}
		f.leader.forget()
		if errors.Is(err, kerr.OffsetOutOfRange) {
			if err = f.reposition(ctx, b); err == nil && b.Gap != nil {
				f.progress.at(f.next)
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
		if !f.progress.wait(ctx, pause) {
			return ctx.Err()
		}
	}
}

// fetch asks the broker once. On an error the messages read before it are in b and count.
func (f *Fetcher) fetch(ctx context.Context, b *Batch) error {
	if f.progress.kicked() {
		f.leader.close()
	}
	if err := f.leader.find(ctx); err != nil {
		return err
	}
	if f.leader.id != f.id {
		if f.id != (TopicID{}) {
			return f.begin(ctx, b)
		}
		f.id, b.Topic = f.leader.id, f.leader.id
	}
	ask, done := f.progress.request(ctx)
	p, err := f.leader.fetch(ask, f.next)
	done()
	if err != nil {
		return err
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: f.next, IsolationLevel: kgo.ReadCommitted(), Topic: f.leader.topic, Partition: f.leader.partition,
	}, p, f.unpack, nil)
	var size int
	for _, r := range fp.Records {
		size += len(r.Key) + len(r.Value)
		m := Message{Offset: r.Offset, Time: micros(r.Timestamp), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, Header{Key: h.Key, Value: h.Value})
		}
		b.Messages = append(b.Messages, m)
	}
	f.bytes.Add(float64(size))
	f.room.learn(size + recordBytes*len(fp.Records))
	f.next = max(f.next, next) // beyond records that were aborted, or compacted away
	b.Next, b.End = f.next, max(p.HighWatermark, f.next)
	return fp.Err
}

// room is what compressed records are unpacked into: memory of their own, of about the size that it takes, so that nothing is
// copied. It guesses the size by what the fetches before came to.
type room struct {
	ratio float64 // of what is unpacked to what came
	came  int     // bytes, in the fetch at hand
}

const (
	recordBytes = 24       // about what a record takes beside key and value
	maxRoom     = 64 << 20 // beyond that it grows as it must
)

// GetDecompressBytes is kgo.PoolDecompressBytes.
func (r *room) GetDecompressBytes(src []byte, _ kgo.CompressionCodecType) []byte {
	r.came += len(src)
	return make([]byte, 0, min(int(r.ratio*float64(len(src)))+bytes.MinRead, maxRoom))
}

// PutDecompressBytes is never given what is still read.
func (*room) PutDecompressBytes([]byte) {}

// learn takes how much there was in all that came since the last call.
func (r *room) learn(size int) {
	if r.came > 0 {
		r.ratio = max(1.1*float64(size)/float64(r.came), 0.9*r.ratio)
	}
	r.came = 0
}

// begin goes to the first record of a topic that was made anew, noting the gap in b. All of its records are new, whatever
// Config.Reset says.
func (f *Fetcher) begin(ctx context.Context, b *Batch) error {
	first, _, end, err := f.leader.bounds(ctx)
	if err != nil {
		return err
	}
	b.Gap = &Gap{From: f.next, To: first, Restarted: true}
	f.cfg.Metrics.gaps.WithLabelValues(f.leader.topic, "recreated").Inc()
	f.log.Error("kafka: the topic was deleted and made anew; reading begins at its first record, and what the old one held beyond the last record read is lost",
		"from", b.Gap.From, "to", first, "log_end", end)
	f.id, f.next = f.leader.id, first
	b.Topic, b.Next, b.End = f.id, first, end
	return nil
}

func micros(t time.Time) int64 {
	if us := t.UnixMicro(); us > 0 {
		return us
	}
	return 0
}

// reposition finds out why the offset is out of range and goes where reading can go on, noting the gap in b.
func (f *Fetcher) reposition(ctx context.Context, b *Batch) error {
	known := f.id
	if err := f.leader.find(ctx); err != nil {
		return err
	}
	if f.leader.id != known {
		return nil // the topic was made anew; the next fetch sees to it
	}
	first, _, end, err := f.leader.bounds(ctx)
	if err != nil {
		return err
	}
	switch {
	case f.next < first:
		b.Gap = &Gap{From: f.next, To: first}
		f.cfg.Metrics.gaps.WithLabelValues(f.leader.topic, "retention").Add(float64(b.Gap.Records()))
		f.log.Error("kafka: records were deleted before they were read; lengthen the topic's retention or add instances",
			"from", b.Gap.From, "to", b.Gap.To, "records", b.Gap.Records())
	case f.next > end:
		to := first
		if f.cfg.Reset == Latest {
			to = end
		}
		b.Gap = &Gap{From: f.next, To: to, Restarted: true}
		f.cfg.Metrics.gaps.WithLabelValues(f.leader.topic, "log_end").Inc()
		f.log.Error("kafka: the log ends before the offset to be read; was it cut, or the topic deleted and made anew?",
			"from", b.Gap.From, "log_start", first, "log_end", end, "to", to)
	default:
		return nil
	}
	f.next = b.Gap.To
	b.Next, b.End = f.next, end
	return nil
}
