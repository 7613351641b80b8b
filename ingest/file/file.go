// Package file reads events from NDJSON files, plain or compressed, for replay. A line is a message of any JSON format.
package file

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

// Open opens a file for reading, "-" for stdin; names that end in .gz and .zst are decompressed.
func Open(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &both{z, []io.Closer{z, f}}, nil
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &both{z, []io.Closer{z.IOReadCloser(), f}}, nil
	}
	return f, nil
}

type both struct {
	io.Reader
	closers []io.Closer
}

func (b *both) Close() error {
	var err error
	for _, c := range b.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

const (
	batchLines = 512
	batchBytes = 512 << 10 // and a line more
	maxLine    = event.MaxMessage + 2
	maxWorkers = 8
)

// Batch is a run of consecutive lines: the events of those accepted, and why the others were not.
type Batch struct {
	Events   []event.Event
	Rejected []error // each names its line

	text  []byte // the lines as they were read, decoded by whoever is free
	lines []lineEnd
	first int64 // number of the first of them
	ready chan struct{}
	err   error // of reading, after these lines
}

// lineEnd is where a line of a batch ends. One that was too long has no text.
type lineEnd struct {
	at   int
	long bool
}

// Batches reads lines, has them decoded by several goroutines ahead of the caller, by a bounded number of batches, and
// calls use with each batch in the order of the file. A batch is valid until use returns; the strings of its events stay.
// now is the receiver's clock, microseconds.
func Batches(r io.Reader, now int64, use func(*Batch) error) error {
	workers := min(max(runtime.GOMAXPROCS(0)-1, 1), maxWorkers)
	inFlight := 2*workers + 4
	free, work, ordered := make(chan *Batch, inFlight), make(chan *Batch, inFlight), make(chan *Batch, inFlight)
	for range inFlight {
		free <- &Batch{ready: make(chan struct{}, 1)}
	}
	stop := make(chan struct{})
	go read(r, free, work, ordered, stop)
	for range workers {
		go func() {
			var dec decode.Formats
			for {
				select {
				case b, more := <-work:
					if !more {
						return
					}
					b.decode(&dec, now)
					b.ready <- struct{}{}
				case <-stop:
					return
				}
			}
		}()
	}
	// When use gave up, the reader may be stuck in a read that nothing can interrupt (a terminal, a pipe): it is
	// told to stop and not waited for. Otherwise it has closed its channels, and all are done.
	defer close(stop)
	for b := range ordered {
		<-b.ready
		if err := use(b); err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
		free <- b
	}
	return nil
}

// read fills batches with lines and hands each to the workers and, in order, to the caller.
func read(r io.Reader, free <-chan *Batch, work, ordered chan<- *Batch, stop <-chan struct{}) {
	defer close(ordered)
	defer close(work)
	in := bufio.NewReaderSize(r, maxLine)
	for line, last := int64(1), false; !last; {
		var b *Batch
		select {
		case b = <-free:
		case <-stop:
			return
		}
		b.text, b.lines, b.first, b.err = b.text[:0], b.lines[:0], line, nil
		for len(b.lines) < batchLines && len(b.text) < batchBytes {
			text, err := in.ReadSlice('\n')
			long := errors.Is(err, bufio.ErrBufferFull)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			if !long {
				b.text = append(b.text, text...)
			}
			b.lines = append(b.lines, lineEnd{len(b.text), long})
			if err != nil {
				if !errors.Is(err, io.EOF) {
					b.err = fmt.Errorf("line %d: %w", line, err)
				}
				last = true
				break
			}
			line++
		}
		// There is room for every batch in both.
		work <- b
		ordered <- b
	}
}

// decode turns the lines of a batch into events.
func (b *Batch) decode(dec *decode.Formats, now int64) {
	b.Events, b.Rejected = b.Events[:0], b.Rejected[:0]
	begin := 0
	for i, l := range b.lines {
		text := b.text[begin:l.at]
		begin = l.at
		if l.long {
			b.Rejected = append(b.Rejected, fmt.Errorf("line %d: longer than 1 MiB (too_large)", b.first+int64(i)))
			continue
		}
		if len(text) == 0 || blank(text) {
			continue
		}
		first := len(b.Events)
		err := dec.Decode(decode.Message{Value: text}, now, func() *event.Event {
			n := len(b.Events)
			if n < cap(b.Events) {
				b.Events = b.Events[:n+1] // with the capacity of its slices
			} else {
				b.Events = append(b.Events, event.Event{}) // an export of many spans
			}
			return &b.Events[n]
		})
		if err != nil {
			b.Events = b.Events[:first]
			if !errors.Is(err, decode.ErrNone) {
				b.Rejected = append(b.Rejected, fmt.Errorf("line %d: %w", b.first+int64(i), err))
			}
		}
	}
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
