package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// FloodCode is the code of a dead letter that stands for many: beyond the limit of an hour messages are counted by
// reason, and neither their text nor a row for each is kept. Its field holds the code they share.
const FloodCode = "flood"

// dam bounds what dead letters may take of the disk. What is beyond the limit of an hour becomes one letter for each
// partition, reason and batch, which says how many there were and where they stand in their topic.
type dam struct {
	rows  int
	bytes int64
	now   func() time.Time
	log   *slog.Logger

	mu        sync.Mutex
	hour      time.Time
	usedRows  int
	usedBytes int64
	told      bool
	last      map[place]folded // what became of the batch that came last, for it may be written again

	foldedTotal prometheus.Counter
}

type place struct {
	topic     string
	partition int32
}

type folded struct {
	first event.Position
	n     int
	out   []pipeline.DeadLetter
}

func newDam(rows int, bytes int64, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) *dam {
	d := &dam{rows: rows, bytes: bytes, now: now, log: log, last: map[place]folded{},
		foldedTotal: prometheus.NewCounter(prometheus.CounterOpts{Name: "astray_dead_letters_folded_total",
			Help: "Rejected messages beyond the hourly limit, counted and not kept."})}
	reg.MustRegister(d.foldedTotal)
	return d
}

// letThrough returns what is kept of the letters of one partition. Asked about the same ones again it answers the same.
func (d *dam) letThrough(letters []pipeline.DeadLetter) []pipeline.DeadLetter {
	if len(letters) == 0 {
		return letters
	}
	first := letters[0].Position
	at := place{first.Topic, first.Partition}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l, ok := d.last[at]; ok && l.first == first && l.n == len(letters) {
		return l.out
	}
	if hour := d.now().Truncate(time.Hour); hour != d.hour {
		d.hour, d.usedRows, d.usedBytes, d.told = hour, 0, 0, false
	}
	var out []pipeline.DeadLetter
	over := map[string]int{} // code -> index in out of the letter that stands for it
	counts := map[string]int{}
	for _, l := range letters {
		size := int64(len(l.Raw) + len(l.Key) + len(l.Reason))
		for _, h := range l.Headers {
			size += int64(len(h.Key) + len(h.Value))
		}
		if d.usedRows < d.rows && d.usedBytes+size <= d.bytes {
			d.usedRows++
			d.usedBytes += size
			out = append(out, l)
			continue
		}
		d.foldedTotal.Inc()
		counts[l.Code]++
		i, ok := over[l.Code]
		if !ok {
			over[l.Code] = len(out)
			i = len(out)
			out = append(out, pipeline.DeadLetter{Position: l.Position, Code: FloodCode, Field: l.Code, Time: l.Time})
		}
		f := &out[i]
		f.Size += l.Size
		f.Reason = fmt.Sprintf("%d messages rejected as %s, offsets %d to %d, were not kept: the limit of an hour was reached (dead_letters.rows_per_hour, dead_letters.bytes_per_hour)",
			counts[l.Code], l.Code, f.Position.Offset, l.Position.Offset)
	}
	if len(over) > 0 && !d.told {
		d.told = true
		d.log.Warn("dead letters: the limit of this hour is reached; further ones are counted by reason and not kept. Look at what the producer sends (astray dead-letters list), or raise dead_letters.rows_per_hour and dead_letters.bytes_per_hour",
			"rows", d.usedRows, "bytes", d.usedBytes)
	}
	d.last[at] = folded{first, len(letters), out}
	return out
}

// dammedStore is a store that keeps only what the dam lets through.
type dammedStore struct {
	store
	dam *dam
}

// store is what the pipeline wants of a store.
type store interface {
	pipeline.Store
	pipeline.Recaller
	pipeline.Historian
	pipeline.Returner
	pipeline.Registrar
}

func (s dammedStore) WriteDeadLetters(ctx context.Context, letters []pipeline.DeadLetter) error {
	return s.store.WriteDeadLetters(ctx, s.dam.letThrough(letters))
}
