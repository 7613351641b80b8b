package pipeline

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
)

// batch is what one fetch brought, decoded. Batches go round: read fills one, Run works it off and releases it,
// and there are no more than batchesInFlight, which bounds memory.
type batch struct {
	in     kafka.Batch
	events []event.Event
	refs   []ref // one for each event
	dead   []DeadLetter
	home   chan<- *batch
}

// ref is where an event came from and what becomes of it.
type ref struct {
	offset     int64
	time       int64 // the record's timestamp
	index      uint32
	skip, late bool
}

const batchesInFlight = 4

func (b *batch) release() { b.home <- b }

// read starts fetching and decoding, each in its own goroutine, so that both run ahead of detection. The stages
// end with ctx; wg counts them.
func (p *partition) read(ctx context.Context, wg *sync.WaitGroup) <-chan *batch {
	free := make(chan *batch, batchesInFlight)
	for range batchesInFlight {
		free <- &batch{home: free}
	}
	fetched, decoded := make(chan *batch, 1), make(chan *batch, 1)
	of := p.of
	wg.Go(func() {
		f := p.src.Open(p.pos-p.base, of)
		defer f.Close()
		for {
			var b *batch
			select {
			case b = <-free:
			case <-ctx.Done():
				return
			}
			asked := p.cfg.Now().UnixMicro()
			if f.Fetch(ctx, &b.in) != nil {
				return
			}
			if b.in.Next >= b.in.End {
				p.atEndSince.Store(asked)
				p.atEnd.Store(b.in.Next)
			} else {
				p.atEnd.Store(-1)
			}
			if len(b.in.Messages) == 0 && b.in.Gap == nil && b.in.Next == b.in.Start && b.in.Topic == of {
				free <- b
				continue
			}
			of = b.in.Topic
			select {
			case fetched <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Go(func() {
		turn := p.cfg.NewDecode()
		for {
			select {
			case b := <-fetched:
				t0 := time.Now()
				p.decode(turn, b)
				p.m.decodeSeconds.Add(time.Since(t0).Seconds())
				select {
				case decoded <- b:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return decoded
}

// decode turns the messages of b into events and dead letters.
func (p *partition) decode(turn Decode, b *batch) {
	wall := p.clock()
	before := len(b.events)
	b.events, b.refs, b.dead = b.events[:cap(b.events)], b.refs[:0], b.dead[:0]
	if short := len(b.in.Messages) - len(b.events); short > 0 { // most messages are an event
		b.events = append(slices.Grow(b.events, short), make([]event.Event, short)...)
	}
	b.events = b.events[:0]
	var m *kafka.Message
	var now int64 // m's
	var first int // of m's events
	next := func() *event.Event {
		n := len(b.events)
		if n < cap(b.events) {
			b.events = b.events[:n+1] // with the capacity of its slices
		} else {
			b.events = append(b.events, event.Event{})
		}
		b.refs = append(b.refs, ref{offset: m.Offset, time: now, index: uint32(n - first)})
		return &b.events[n]
	}
	for i := range b.in.Messages {
		m = &b.in.Messages[i]
		// Event times are judged by the record's timestamp, so that the verdict on a message is the same when it
		// is read again after a crash; the clock only stands in where there is none, or where it is ahead.
		now = wall
		if m.Time > 0 && m.Time < wall {
			now = m.Time
		}
		first = len(b.events)
		err := turn(m, now, next)
		if err != nil {
			for k := first; k < len(b.events); k++ {
				b.events[k].Reset() // what was read of it is not to be kept either
			}
			b.events, b.refs = b.events[:first], b.refs[:first]
			if !errors.Is(err, decode.ErrNone) {
				b.dead = append(b.dead, p.deadLetter(m, err))
			}
		}
	}
	// Events of the batch before that none has taken the place of would keep its memory.
	for i := len(b.events); i < before; i++ {
		b.events[:before][i].Reset()
	}
}

// deadLetter describes a rejected message. The error's text is the decoder's; it names fields and rules.
func (p *partition) deadLetter(m *kafka.Message, err error) DeadLetter {
	d := DeadLetter{
		Position: event.Position{Topic: p.topic, Partition: p.part, Offset: m.Offset},
		Code:     "rejected", Reason: err.Error(), Size: len(m.Value), Time: m.Time,
	}
	var r *event.Rejection
	if errors.As(err, &r) {
		d.Code, d.Field = r.Code, strings.Clone(r.Field) // a key may be the message's own
	}
	if p.cfg.Redact != nil {
		// Redaction looks at no more than it takes to fill what is kept.
		d.Raw = cut(p.cfg.Redact(cut(m.Value)))
		d.Key = cut(p.cfg.Redact(cut(m.Key)))
	}
	size := 0
	for _, h := range m.Headers {
		d.HeadersSize += len(h.Key) + len(h.Value)
		if p.cfg.Redact == nil || len(d.Headers) == MaxHeaders || d.HeadersSize > MaxHeaderBytes {
			continue
		}
		if h = redactHeader(p.cfg.Redact, h); size+len(h.Key)+len(h.Value) <= MaxHeaderBytes {
			d.Headers = append(d.Headers, h)
			size += len(h.Key) + len(h.Value)
		}
	}
	return d
}

// redactHeader is a header without its secrets, in memory of its own. Its name counts as it would in a text of the form name: value.
func redactHeader(redact func([]byte) []byte, h kafka.Header) kafka.Header {
	text := append(append([]byte(h.Key), ": "...), h.Value...)
	clean := redact(text)
	if value, ok := bytes.CutPrefix(clean, text[:len(h.Key)+2]); ok {
		return kafka.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(value)}
	}
	return kafka.Header{Key: "redacted", Value: bytes.Clone(clean)}
}
