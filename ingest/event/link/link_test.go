package link_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/event/link"
)

func TestFramesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := link.Frame{Group: rapid.String().Draw(t, "group"), Source: rapid.Int32Min(0).Draw(t, "source"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			Watermark: rapid.Int64().Draw(t, "watermark"), Sent: rapid.Int64().Draw(t, "sent")}
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			want.Records = append(want.Records, link.Record{Offset: rapid.Int64Range(0, 1<<60).Draw(t, "offset"),
				Index: rapid.Uint32().Draw(t, "index"), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")})
		}
		b := want.Append(nil)
		var got link.Frame
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })); d != "" {
			t.Fatal(d)
		}
		if n := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); got.Decode(b[:n]) == nil {
			t.Fatalf("a frame cut to %d of %d bytes was accepted", n, len(b))
		}
	})
}

func FuzzFrame(f *testing.F) {
	whole := link.Frame{Source: 3, Epoch: 7, Watermark: 9, Records: []link.Record{{Offset: 5, Data: []byte("x")}}}
	f.Add(whole.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		var a, b link.Frame
		if a.Decode(src) != nil {
			return
		}
		if err := b.Decode(a.Append(nil)); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}
