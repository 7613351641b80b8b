// Package simulate makes a world of agents on a social network: what they do from day to day, benign events that
// look like trouble, and labelled attacks. It is what the demo shows, and what tests and benchmarks run on.
//
// The world is a queue of sources, ordered by the time of their next event. A source is an agent at its usual
// work, or the script of an incident, which speaks in the name of the agents involved while these go on with
// their work. Every source has a random generator of its own, so that an agent keeps its hours whatever else
// happens, and the benign incidents are the same whatever attacks are asked for. Memory is that of the agents and of the list of incidents; it does not grow with events.
//
// Nothing is Poisson: agents work in sessions and bursts, each has its own daily and weekly rhythm, each of its
// days has a gamma-distributed effect of its own, and volumes differ by orders of magnitude between agents of
// one kind.
package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/astray-dev/astray/ingest/event"
)

// Config of a world.
type Config struct {
	Agents int       // 20 or more
	Days   float64   // length of the span; the world ends after it
	Seed   uint64    // two worlds of one Config are equal, event by event
	Start  time.Time // of the span, default 2026-01-05 (a Monday)
	// Attacks names the kinds to mix in, of Kinds; nil is all of them, "none" none.
	Attacks []string
	// Quiet is the number of days at the start in which no attack begins, so that there is a past to depart
	// from. Default 38 % of Days.
	Quiet float64
	// Every is the mean time between the starts of two attacks; they come in rounds of one of each variety, and
	// in the first round the loud ones come first. By default attacks are spread over the span, and their number
	// grows with the square root of agents and days.
	Every time.Duration
	// Adversary names one of Adversaries, who prepares attacks of its own from the end of the quiet days on; none by default.
	// With Unprepared it attacks as it would have, without having prepared it.
	Adversary  string
	Unprepared bool
}

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
	never  = math.MaxInt64
)

// World produces events in the order of their times.
type World struct {
	cfg        Config
	start, end int64 // microseconds since the epoch
	agents     []*agent
	sources    []source
	queue      []turn // binary heap by time, then source
	incidents  []*incident
	cohorts    [][]int32 // agents by cohort
	scripts    int       // incidents of the adversary
	last       int32     // source of the last event

	events   uint64
	idKey    uint64
	now      int64
	lastPost int64
	recent   [1024]post // ring of the newest posts
	posts    int
	outage   outage
	lulls    []lull
	b        []byte // scratch for text
}

type source interface {
	// step acts at time t: it fills ev and returns true, or changes the world and returns false. It returns the
	// time of its next turn, never when it has none.
	step(w *World, t int64, ev *event.Event) (bool, int64)
}

type turn struct {
	at  int64
	src int32
}

type post struct {
	id     int64
	author int32
}

type outage struct {
	service  string
	from, to int64
}

type lull struct {
	from, to int64
	factor   float64
}

// New plans a world.
func New(cfg Config) (*World, error) {
	switch {
	case cfg.Agents < 20 || cfg.Agents > 10_000_000:
		return nil, errors.New("agents: from 20 to 10 million")
	case !(cfg.Days >= 0.1 && cfg.Days <= 3660):
		return nil, errors.New("days: from 0.1 to 3660")
	case !(cfg.Quiet >= 0 && cfg.Quiet < cfg.Days):
		return nil, errors.New("quiet days: from 0 to less than days")
	case cfg.Every < 0 || cfg.Every > 0 && cfg.Every < time.Second:
		return nil, errors.New("time between attacks: a second or more")
	}
	for _, k := range cfg.Attacks {
		if !slices.Contains(kinds, k) && (k != "none" || len(cfg.Attacks) > 1) {
			return nil, fmt.Errorf("attacks: %q is not one of %v, and not none by itself", k, kinds)
		}
	}
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	}
	if cfg.Start.Year() < 1971 {
		return nil, errors.New("start: 1971 or later")
	}
	if cfg.Quiet == 0 {
		cfg.Quiet = 0.38 * cfg.Days
	}
	w := &World{cfg: cfg, start: cfg.Start.UnixMicro()}
	w.end = w.start + int64(cfg.Days*float64(day))
	w.now = w.start
	r := w.random(0, 0)
	w.idKey = r.Uint64()
	w.lastPost = 100_000 + r.Int64N(800_000)
	w.populate()
	for i := range w.recent {
		w.recent[i] = post{w.newID(r), r.Int32N(int32(len(w.agents)))}
	}
	w.posts = len(w.recent)
	w.plan()
	if cfg.Adversary != "" {
		a, err := cfg.adversary()
		if err != nil {
			return nil, err
		}
		if err := a.plan(w, w.random(5, 0), w.start+int64(cfg.Quiet*float64(day))); err != nil {
			return nil, err
		}
	}
	for i, a := range w.agents {
		w.sources = append(w.sources, a)
		w.push(turn{a.first(w), int32(i)})
	}
	for _, in := range w.incidents {
		w.push(turn{in.start, int32(len(w.sources))})
		w.sources = append(w.sources, in)
	}
	return w, nil
}

// random is the generator of one source: stream tells agents, incidents and plans apart.
func (w *World) random(stream, i uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(w.cfg.Seed^mix(stream)), mix(i+0x9e3779b97f4a7c15)))
}

// mix is the finaliser of splitmix64, a bijection.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Next fills ev with the next event, complete as a decoder would leave it, and returns false at the end of the
// span. Its strings stay valid.
func (w *World) Next(ev *event.Event) bool {
	for len(w.queue) > 0 {
		top := w.queue[0]
		if top.at >= w.end {
			return false
		}
		w.now, w.last = top.at, top.src
		ev.Reset()
		told, next := w.sources[top.src].step(w, top.at, ev)
		if next == never {
			w.pop()
		} else {
			// At least a millisecond on: producers' clocks have no more than that.
			w.queue[0].at = max(next, top.at+1000)
			w.down(0)
		}
		if !told {
			continue
		}
		ev.Time = top.at - top.at%1000
		ev.ID = w.uuid(ev.Time)
		if err := event.Complete(ev, math.MaxInt64/2); err != nil {
			panic("simulate: " + err.Error()) // every field is this package's own
		}
		return true
	}
	return false
}

// Now is the time of the last event.
func (w *World) Now() time.Time { return time.UnixMicro(w.now).UTC() }

// Incident is the id, in Truth, of what the last event is part of; empty for an agent's usual work.
func (w *World) Incident() string {
	if in, ok := w.sources[w.last].(*incident); ok {
		return in.id
	}
	return ""
}

// Events is how many there were so far.
func (w *World) Events() uint64 { return w.events }

// uuid is a version 7 UUID: the time, and a counter that mix has scattered.
func (w *World) uuid(t int64) string {
	const hex = "0123456789abcdef"
	w.events++
	ms, x := uint64(t/1000), mix(w.events^w.idKey)
	var b [36]byte
	put := func(at, digits int, v uint64) {
		for i := at + digits - 1; i >= at; i-- {
			b[i] = hex[v&15]
			v >>= 4
		}
	}
	put(0, 8, ms>>16)
	b[8] = '-'
	put(9, 4, ms)
	b[13] = '-'
	put(14, 4, 0x7000|x>>52)
	b[18] = '-'
	put(19, 4, 0x8000|x>>38&0x3fff)
	b[23] = '-'
	put(24, 12, x&0x3f_ffff_ffff|0x2000_0000_0000)
	return string(b[:])
}

func (t turn) before(u turn) bool { return t.at < u.at || t.at == u.at && t.src < u.src }

func (w *World) push(t turn) {
	if t.at == never {
		return
	}
	w.queue = append(w.queue, t)
	for i := len(w.queue) - 1; i > 0; {
		up := (i - 1) / 2
		if !w.queue[i].before(w.queue[up]) {
			break
		}
		w.queue[i], w.queue[up] = w.queue[up], w.queue[i]
		i = up
	}
}

func (w *World) pop() {
	n := len(w.queue) - 1
	w.queue[0] = w.queue[n]
	w.queue = w.queue[:n]
	w.down(0)
}

func (w *World) down(i int) {
	q := w.queue
	for {
		c := 2*i + 1
		if c >= len(q) {
			return
		}
		if c+1 < len(q) && q[c+1].before(q[c]) {
			c++
		}
		if !q[c].before(q[i]) {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

// newID is the id of a new object; others, whom nobody here watches, make some too.
func (w *World) newID(r *rand.Rand) int64 {
	w.lastPost += 1 + r.Int64N(4)
	return w.lastPost
}

func (w *World) publish(id int64, author int32) {
	w.recent[w.posts%len(w.recent)] = post{id, author}
	w.posts++
}

// recentPost prefers the newest.
func (w *World) recentPost(r *rand.Rand) post {
	u := r.Float64()
	back := int(u * u * u * float64(len(w.recent)))
	return w.recent[(w.posts-1-back+len(w.recent))%len(w.recent)]
}

// lognormal has the median m and the standard deviation s of its logarithm.
func lognormal(r *rand.Rand, m, s float64) float64 { return m * math.Exp(s*r.NormFloat64()) }

func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// span is a time between lo and hi times unit.
func span(r *rand.Rand, lo, hi float64, unit int64) int64 {
	return int64(between(r, lo, hi) * float64(unit))
}

func whole(r *rand.Rand, lo, hi int) int { return lo + r.IntN(hi-lo+1) }

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }
