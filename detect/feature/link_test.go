package feature_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect/feature"
)

func TestLinksComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		l := feature.Link{Time: rapid.Int64().Draw(t, "time"), EventID: text.Draw(t, "event"), AgentID: text.Draw(t, "agent"), Cohort: text.Draw(t, "cohort"),
			OriginFresh: rapid.Bool().Draw(t, "fresh"), Returned: rapid.Bool().Draw(t, "returned")}
		for p := range l.OriginNew {
			l.OriginNew[p] = rapid.Bool().Draw(t, "new")
		}
		if l.OriginFresh {
			l.OriginLogP, l.Weight = rapid.Float32().Draw(t, "p"), rapid.Byte().Draw(t, "weight")
		}
		for range rapid.IntRange(0, 4).Draw(t, "refs") {
			l.Refs = append(l.Refs, feature.Ref{Kind: feature.EntityKind(rapid.IntRange(0, int(feature.NumEntityKinds)-1).Draw(t, "kind")),
				Key: rapid.Uint64().Draw(t, "key"), Name: text.Draw(t, "name")})
		}
		if l.Keys = rapid.SliceOfN(rapid.Uint64(), 0, 6).Draw(t, "keys"); len(l.Keys) > 0 {
			l.Objects, l.ID, l.Reply, l.Reads[3] = rapid.Uint16().Draw(t, "objects"), rapid.Uint32().Draw(t, "id"), rapid.Uint32().Draw(t, "reply"), 7
		}
		if l.Phrases = rapid.SliceOfN(rapid.Uint64(), 0, 8).Draw(t, "phrases"); len(l.Phrases) > 0 {
			l.Wording, l.ID = rapid.Uint32().Draw(t, "wording"), 3
		}
		b := l.Append(nil)
		var got feature.Link
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(l, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Fatal(d)
		}
		if n := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); got.Decode(b[:n]) == nil {
			t.Fatalf("a link cut to %d of %d bytes was accepted", n, len(b))
		}
	})
}

func FuzzLink(f *testing.F) {
	l := feature.Link{Time: 5, AgentID: "a", OriginFresh: true, Refs: []feature.Ref{{Kind: feature.Credential, Key: 7, Name: "k"}}, Keys: []uint64{1, 2}, Phrases: []uint64{1, 2, 3, 4}, Wording: 9}
	f.Add(l.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		var got feature.Link
		if got.Decode(src) != nil {
			return
		}
		s := feature.NewStore()
		s.Join(&got) // must not panic, whatever stands in it
	})
}
