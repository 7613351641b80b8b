package pipeline

import (
	"context"
	"maps"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// Registrar is a Store that can be asked which ids it has, so that an id that comes again is found within its whole day,
// long after a Window has forgotten it.
type Registrar interface {
	// Known yields the index of every doubt whose id was stored for the same day at a lower position of the partition.
	Known(ctx context.Context, cp Checkpoint, doubts []Doubt, yield func(i int)) error
	// Hashes yields xxHash64 and day of the ids of the events that were stored before cp.Offset, of the newest days.
	Hashes(ctx context.Context, cp Checkpoint, days int, yield func(hash uint64, day int32)) error
}

// Doubt is an event whose id may have been there before.
type Doubt struct {
	ID       string
	Day      int32 // of event time, days since 1970
	Position event.Position
}

// days remembers the ids of the newest days in filters of fixed size (blocked Bloom filters: Putze, Sanders, Singler
// 2007): eight bits of one cache line for each id. What was there is always found; what was not is taken for it with a
// probability of about 10⁻⁴ at 24 bits an id and 2 % at ten. So a filter does not decide: it tells of which ids the store
// must be asked. Events of older days are all asked about. What it answers depends on the events alone.
type days struct {
	size    int // words of a filter, a power of two, at least eight
	filters map[int32][]uint64
	newest  int32
	blind   bool // the past could not be read: everything is asked about
}

// keepDays is for how many days of event time there are filters.
const keepDays = 3

func newDays(bytes int64) *days {
	size := 8
	for int64(size)*16*keepDays <= bytes {
		size *= 2
	}
	return &days{size: size, filters: map[int32][]uint64{}, newest: -1 << 30}
}

// filter returns that of the day, nil for a day that is too old.
func (d *days) filter(day int32) []uint64 {
	if f := d.filters[day]; f != nil {
		return f
	}
	if day <= d.newest-keepDays {
		return nil
	}
	d.newest = max(d.newest, day)
	var f []uint64
	for old, g := range d.filters {
		if old <= d.newest-keepDays {
			delete(d.filters, old)
			f = g
		}
	}
	if f == nil {
		f = make([]uint64, d.size)
	}
	clear(f)
	d.filters[day] = f
	return f
}

// suspect reports whether the id may have been there before, and remembers it.
func (d *days) suspect(hash uint64, day int32) bool {
	f := d.filter(day)
	if f == nil {
		return true
	}
	line := (hash >> 32) & uint64(d.size/8-1) * 8
	seen := true
	h := hash * 0x9e3779b97f4a7c15
	for range 8 {
		i, bit := line+h>>61, uint64(1)<<(h>>55&63)
		seen = seen && f[i]&bit != 0
		f[i] |= bit
		h = h<<9 | h>>55
	}
	return seen || d.blind
}

// seedDays fills the filters with the ids that were stored before the checkpoint.
func (p *partition) seedDays(ctx context.Context) {
	st, ok := p.cfg.Store.(Registrar)
	if !ok || p.cfg.DuplicateMemory <= 0 || p.cfg.rowless {
		return
	}
	p.registrar, p.days = st, newDays(p.cfg.DuplicateMemory)
	lim, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	t0, n := p.cfg.Now(), 0
	err := st.Hashes(lim, p.claim, keepDays, func(hash uint64, day int32) {
		p.days.suspect(hash, day)
		n++
	})
	if err != nil && ctx.Err() == nil {
		p.days.blind = true
		p.log.Warn("pipeline: the ids of the last days cannot be read; the store is asked about every id until the partition is taken over again", "err", err)
		return
	}
	p.log.Debug("pipeline: ids of the last days are known", "ids", n, "seconds", p.cfg.Now().Sub(t0).Seconds())
}

// duplicates marks the events of the batch that were there before, and returns how many.
func (p *partition) duplicates(ctx context.Context, b *batch) (n int, err error) {
	if p.dedupe == nil {
		return 0, nil
	}
	var doubts []Doubt
	var at []int
	w, _ := p.dedupe.(*Window)
	for i := range b.events {
		ev, r := &b.events[i], &b.refs[i]
		hash, day := xxhash.Sum64String(ev.ID), dayOf(ev.Time)
		if w != nil && w.Seen(fingerprint(hash, day)) || w == nil && p.dedupe.Duplicate(ev) {
			r.skip = true
			n++
		} else if p.days != nil && p.days.suspect(hash, day) {
			doubts = append(doubts, Doubt{ev.ID, day, event.Position{Topic: p.topic, Partition: p.part, Offset: r.offset + p.base, Index: r.index}})
			at = append(at, i)
		}
	}
	if len(doubts) == 0 {
		return n, nil
	}
	p.m.doubted.Add(float64(len(doubts)))
	known := map[int]struct{}{}
	err = p.retry(ctx, "known_ids", func(ctx context.Context) error {
		clear(known)
		return p.registrar.Known(ctx, p.claim, doubts, func(i int) { known[i] = struct{}{} })
	})
	for i := range maps.Keys(known) {
		b.refs[at[i]].skip = true
		n++
	}
	return n, err
}
