// Package file reads events from NDJSON files, plain or compressed, for replay. A line is a message of any JSON format.
package file

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
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
	batchSize = 512
	maxLine   = event.MaxMessage + 2
)

// Batch is a run of consecutive lines: the events of those accepted, and why the others were not.
type Batch struct {
	Events   []event.Event
	Rejected []error // each names its line
	err      error
}

// Batches decodes r on another goroutine, ahead of the caller by a bounded number of batches, and calls use
// with each in order. A batch is valid until use returns. now is the receiver's clock, microseconds.
func Batches(r io.Reader, now int64, use func(*Batch) error) error {
	ready, free := make(chan *Batch, 4), make(chan *Batch, 6)
	for range cap(free) {
		free <- &Batch{Events: make([]event.Event, 0, batchSize)}
	}
	stop := make(chan struct{})
	go func() {
		defer close(ready)
		read(r, now, ready, free, stop)
	}()
	// When use gave up, the reader may be stuck in a read that nothing can interrupt (a terminal, a pipe): it is
	// told to stop and not waited for. Otherwise it has closed ready and is done.
	defer close(stop)
	for b := range ready {
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

func read(r io.Reader, now int64, ready chan<- *Batch, free <-chan *Batch, stop <-chan struct{}) {
	in := bufio.NewReaderSize(r, maxLine)
	var dec decode.Formats
	for line := int64(1); ; {
		var b *Batch
		select {
		case b = <-free:
		case <-stop:
			return
		}
		b.Events, b.Rejected, b.err = b.Events[:0], b.Rejected[:0], nil
		last := false
		for lines := 0; lines < batchSize && len(b.Events) < batchSize && len(b.Rejected) < batchSize; lines++ {
			text, err := in.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				b.Rejected = append(b.Rejected, fmt.Errorf("line %d: longer than 1 MiB (too_large)", line))
				for errors.Is(err, bufio.ErrBufferFull) {
					_, err = in.ReadSlice('\n')
				}
				text = nil
			}
			if len(text) > 0 && !blank(text) {
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
						b.Rejected = append(b.Rejected, fmt.Errorf("line %d: %w", line, err))
					}
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					b.err = fmt.Errorf("line %d: %w", line, err)
				}
				last = true
				break
			}
			line++
		}
		select {
		case ready <- b:
		case <-stop:
			return
		}
		if last {
			return
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
