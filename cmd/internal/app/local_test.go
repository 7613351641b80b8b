package app

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/astray-dev/astray/ingest/kafka"
)

// What was sent is settled once a checkpoint is behind it, whichever offset the reader began at.
func TestFramesOfTheProcessAreSettledByACheckpoint(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx := t.Context()
	l := newLocalLog("links.local", 0)
	if err := l.settle(ctx); err != nil {
		t.Fatalf("nothing was sent: %v", err)
	}
	for _, frame := range []string{"a", "b", "c"} {
		if err := l.append(ctx, []byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	var b kafka.Batch
	log := l.Open(70, kafka.TopicID{})
	if err := log.Fetch(ctx, &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Messages) != 3 || b.Messages[0].Offset != 70 || string(b.Messages[2].Value) != "c" || b.Next != 73 || b.Lag() != 0 {
		t.Fatalf("fetched %+v", b)
	}
	settled := make(chan error)
	go func() { settled <- l.settle(ctx) }()
	for l.Wanted() != 73 {
		select {
		case err := <-settled:
			t.Fatalf("settled without a checkpoint: %v", err)
		default:
		}
	}
	for offset := int64(71); offset <= 73; offset++ {
		select {
		case err := <-settled:
			t.Fatalf("settled by a checkpoint before offset %d: %v", offset, err)
		default:
		}
		if err := l.Commit(ctx, offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
}

// Whoever sends waits while too much waits to be read, and hears of it when the reader has ended.
func TestFramesOfTheProcessAreBoundedInBytes(t *testing.T) {
	defer goleak.VerifyNone(t)
	l := newLocalLog("links.local", 0)
	if err := l.append(t.Context(), make([]byte, maxLocal+1)); err != nil {
		t.Fatalf("one frame must fit, however large: %v", err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.append(short, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Fatalf("a frame beyond the bound: %v", err)
	}
	sent := make(chan error)
	go func() { sent <- l.append(t.Context(), []byte("x")) }()
	var b kafka.Batch
	if err := l.Open(0, kafka.TopicID{}).Fetch(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	l.err = errors.New("broken")
	close(l.ended)
	if err := l.settle(t.Context()); !errors.Is(err, l.err) || !errors.Is(err, errNoExchange) {
		t.Fatalf("settled behind a reader that has ended: %v", err)
	}
}
