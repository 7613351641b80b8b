package clickhouse_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// halfway hands on what comes to it, until half of the first rows of an insert have got through. From then on nothing does, and
// no connection ends: that is how a frozen client looks to its server.
func halfway(t *testing.T, server string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended); l.Close() })
	serve := func(in net.Conn) {
		defer in.Close()
		out, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer out.Close()
		go func() { _, _ = io.Copy(in, out) }() // until either is closed
		buf, statement := make([]byte, 1<<20), false
		for {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			if statement {
				_, _ = out.Write(buf[:n/2]) // what becomes of it is what the test looks at
				<-ended
				return
			}
			statement = bytes.Contains(buf[:n], []byte("INSERT INTO events "))
			if _, err := out.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go serve(in)
		}
	}()
	return l.Addr().String()
}

// A client that was frozen in the middle of a row does not keep the server in it: no KILL QUERY ends that wait.
func TestAnInsertCutOffInARowEnds(t *testing.T) {
	dsn, conn, _ := database(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = halfway(t, u.Host)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	store, err := clickhouse.OpenWith(ctx, clickhouse.Options{DSN: u.String(), InsertTimeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b := store.NewBlock(pipeline.Checkpoint{Topic: "t", Epoch: 1})
	defer b.Close()
	for i := range int64(1000) {
		b.Append(&event.Event{ID: "e", AgentID: "a", Time: 1_767_225_500_000_000}, event.Position{Topic: "t", Offset: i}, false)
	}
	if err := b.Flush(ctx); err == nil {
		t.Fatal("the rows arrived")
	}
	// The client has given up, and the server does not know.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for waits := uint64(1); waits > 0; {
		if err := conn.QueryRow(ctx, "SELECT count() FROM system.processes WHERE startsWith(query, 'INSERT INTO events')").Scan(&waits); err != nil {
			t.Fatalf("the insert has not ended: %v", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the insert has not ended")
		}
	}
	var rows uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM events").Scan(&rows); err != nil || rows > 0 {
		t.Fatalf("%d rows, %v", rows, err)
	}
}
