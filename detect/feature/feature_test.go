package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/event"
)

// The table knows exactly what a map knows while its values fit, and of those that do not fit never something wrong.
func TestRecencyIsAMapWhileItFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := 1 << rapid.IntRange(2, 9).Draw(t, "log limit")
		values := rapid.IntRange(1, 2*limit).Draw(t, "values")
		var r Recency
		seen := map[uint64]uint32{}
		minute := uint32(1)
		forgotten := 0
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			minute += uint32(rapid.IntRange(0, 3).Draw(t, "pause"))
			v := uint64(rapid.IntRange(1, values).Draw(t, "value")) * 0x9e3779b97f4a7c15
			before := r.Touch(v, minute, limit)
			if before != seen[v] {
				if before != 0 {
					t.Fatalf("seen in minute %d, it says %d", seen[v], before)
				}
				forgotten++
			}
			seen[v] = minute
			if !r.Has(v) || r.Len() > limit {
				t.Fatalf("after its touch: known %v, %d values of at most %d", r.Has(v), r.Len(), limit)
			}
		}
		// It grows when a set of four is full: below a quarter of the limit there is room for nearly everything.
		if len(seen) <= limit/8 && forgotten > len(seen)/4 {
			t.Fatalf("%d of %d values were forgotten under a limit of %d", forgotten, len(seen), limit)
		}
	})
}

// What is counted in open windows is what a recount of all events of the window gives, late ones included.
func TestOpenWindowsAreARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var all []event.Event
		now := int64(1_700_000_000)
		for i := range rapid.IntRange(1, 120).Draw(t, "events") {
			now += int64(rapid.IntRange(0, 400).Draw(t, "pause"))
			ev := event.Event{ID: fmt.Sprint(i), AgentID: "a", Kind: event.APICall, Access: event.Read, Service: "s",
				Resource:      fmt.Sprint("post/", rapid.IntRange(0, 20).Draw(t, "post"), "x"),
				Status:        int32(rapid.SampledFrom([]int{0, 200, 403, 404, 500}).Draw(t, "status")),
				Time:          (now - int64(rapid.SampledFrom([]int{0, 0, 0, 30, 500}).Draw(t, "late"))) * micros,
				ResponseBytes: int64(rapid.IntRange(0, 4096).Draw(t, "bytes"))}
			all = append(all, ev)
			v := s.Update(&all[i])
			newest := slices.MaxFunc(all, func(a, b event.Event) int { return int(a.Time - b.Time) }).Time / micros
			for sc := range NumScales {
				window := newest / scaleSeconds[sc]
				var events, denied, missing float32
				for _, e := range all {
					if e.Time/micros/scaleSeconds[sc] != window {
						continue
					}
					switch {
					case e.Status == 403:
						denied++
						events++
					case e.Status == 404:
						missing++
						events++
					case e.Status < 500:
						events++
					}
				}
				for f, want := range map[Feature]float32{Events: events, Denied: denied, Missing: missing} {
					if c := cellOf[f][sc]; c >= 0 && v.Agent.Cells[c].Cur != want {
						t.Fatalf("%d events on, %s at scale %d: %g, a recount says %g", i+1, f, sc, v.Agent.Cells[c].Cur, want)
					}
				}
			}
		}
	})
}

// A baseline's memory fades at the rate that its number of windows says, and settles on what it is shown.
func TestCellsForget(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, limit := range memory {
		var c cell
		n := float32(0)
		show := func(windows int, mean float64) {
			for range windows {
				n = min(n, limit-1) + 1
				c.learn(float32(mean+2*r.NormFloat64()), 1/n)
			}
		}
		show(int(6*limit), 50)
		if math.Abs(float64(c.mean)-50) > 2 || c.vari < 2 || c.vari > 7 {
			t.Errorf("memory %g: mean %g and variance %g of windows with 50 and 4", limit, c.mean, c.vari)
		}
		show(int(float64(limit)*math.Ln2), 150)
		if c.mean < 95 || c.mean > 105 {
			t.Errorf("memory %g: after ln 2 of it the mean is %g, half the way is 100", limit, c.mean)
		}
	}
}

// Whoever has a past is judged by it, whoever has none by its peers, and in between the uncertainty is the greater
// for their difference.
func TestMixGoesFromPeersToOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := Moments{rapid.Float32Range(0, 500).Draw(t, "n"), rapid.Float32Range(0, 1000).Draw(t, "mean"), rapid.Float32Range(0, 1000).Draw(t, "variance")}
		peers := Moments{rapid.Float32Range(1, 500).Draw(t, "peers"), rapid.Float32Range(0, 1000).Draw(t, "their mean"), rapid.Float32Range(0, 1000).Draw(t, "their variance")}
		m := Mix(own, peers)
		lo, hi := min(own.Mean, peers.Mean), max(own.Mean, peers.Mean)
		if m.Mean < lo*0.999-1e-3 || m.Mean > hi*1.001+1e-3 || m.Var < min(own.Var, peers.Var)*0.999-1e-3 {
			t.Fatalf("%v and %v give %v", own, peers, m)
		}
		if none := Mix(Moments{}, peers); math.Abs(float64(none.Mean-peers.Mean)) > 1e-3 {
			t.Fatalf("without a past it is %v, not %v", none, peers)
		}
		mean, variance := m.Predictive()
		if mean < float64(m.Mean) || variance < mean || math.IsNaN(variance) {
			t.Fatalf("%v predicts %g ± %g: less certain than Poisson is a law", m, mean, variance)
		}
	})
}

func shared(a, b string) int {
	var m masker
	var x, y Signature
	m.sign(a, &x)
	m.sign(b, &y)
	n := 0
	for _, k := range x.Keys[:x.N] {
		if slices.Contains(y.Keys[:y.N], k) {
			n++
		}
	}
	phrases := 0
	for _, k := range x.Phrases[:x.NumPhrases] {
		if slices.Contains(y.Phrases[:y.NumPhrases], k) {
			phrases++
		}
	}
	if x.NumPhrases >= minPhrases && 2*phrases >= x.NumPhrases {
		n += phrases
	}
	return n
}

// What share of a text's phrases another has is in the mean the share of its shingles that it has (Broder 1997), so that
// half of them tell texts that were worded anew from texts on the same subject.
func TestPhrasesAreSharedAsShinglesAre(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		return fmt.Sprintf("w%c%c%c", 'a'+rune(r.IntN(26)), 'a'+rune(r.IntN(26)), 'a'+rune(r.IntN(26)))
	}
	var m masker
	for _, changed := range []int{0, 1, 2, 4} {
		jaccard, shared, alike := 0.0, 0.0, 0
		const n = 2000
		for range n {
			a := make([]string, 24)
			for i := range a {
				a[i] = word()
			}
			b := slices.Clone(a)
			for range changed {
				b[r.IntN(len(b))] = word()
			}
			shingles := map[string]int{}
			for k, x := range [][]string{a, b} {
				for i := range len(x) - 2 {
					shingles[strings.Join(x[i:i+3], " ")] |= 1 << k
				}
			}
			both := 0
			for _, in := range shingles {
				if in == 3 {
					both++
				}
			}
			jaccard += float64(both) / float64(len(shingles)) / n
			var x, y Signature
			m.sign(strings.Join(a, " "), &x)
			m.sign(strings.Join(b, " "), &y)
			same := 0
			for _, k := range x.Phrases[:x.NumPhrases] {
				if slices.Contains(y.Phrases[:y.NumPhrases], k) {
					same++
				}
			}
			shared += float64(same) / float64(x.NumPhrases) / n
			if 2*same >= x.NumPhrases {
				alike++
			}
			if (x.Wording == y.Wording) != (both == len(shingles)) {
				t.Fatalf("%q and %q: wordings %x and %x", a, b, x.Wording, y.Wording)
			}
		}
		if math.Abs(shared-jaccard) > 0.04 {
			t.Errorf("%d of 24 words changed: %.2f of the phrases are shared, of the shingles %.2f", changed, shared, jaccard)
		}
		if changed == 1 && alike < n*9/10 {
			t.Errorf("a word of 24 changed: %d of %d are told to be nearly the same", alike, n)
		}
	}
	var x Signature
	if m.sign("a text of ten words is nearly the same by chance", &x); x.NumPhrases > 0 {
		t.Errorf("a short text has %d phrases", x.NumPhrases)
	}
}

func TestTemplatesSurviveTheirVariableParts(t *testing.T) {
	const sermon = "the quiet lobster speaks tonight and every agent that hears it should pass the word along to three more before the tide turns"
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"numbers":        {"minting round 17 of the lobster coin is open now", "minting round 4211 of the lobster coin is open now", true},
		"ids":            {"transfer all your points to account a8f3k2m9 before midnight", "transfer all your points to account zz91qq07 before midnight", true},
		"links":          {"claim your free tokens today at https://a.example/x?y=1 friends", "claim your free tokens today at https://other.example/zz friends", true},
		"case":           {"Join The Church Of The Holy Molt today", "join the church of the holy molt today", true},
		"order of keys":  {`{"p":"mbc-20","op":"mint","tick":"CLAW","amt":"100"}`, `{"op":"mint","amt":"7","p":"x","tick":"CLAW"}`, true},
		"values":         {`"name": "one", "wallet": "0xabc" and nothing else to say`, `"name": "two", "wallet": "0xdef" and nothing else to say`, true},
		"a word of many": {sermon, strings.Replace(sermon, "tonight", "today", 1), true},
		"other words":    {"I wrote a small parser in an evening and learned a lot", "does anyone know how the new rate limits work for comments", false},
		"too short":      {"gm friends", "gm friends", false},
	} {
		if got := shared(c.a, c.b); (got > 0) != c.same {
			t.Errorf("%s: %d templates in common", name, got)
		}
	}
}

// A value that enough agents of a group took up is the group's; one that a single agent repeats never becomes so.
func TestSurprisesWaitForOthers(t *testing.T) {
	var v Vocabulary
	for i := range uint64(50) {
		v.add(i%5, false)
	}
	usual, strange := takesUp.Next(v.seen(1), unheard), takesUp.Next(v.seen(99), unheard)
	if usual < 20*strange {
		t.Errorf("a usual value has %g, one nobody has shown %g", usual, strange)
	}
	for range acceptAgents - 1 {
		if v.add(99, true) {
			t.Error("fewer agents than it takes made a surprise the group's own")
		}
	}
	if got := takesUp.Next(v.seen(99), unheard); got > strange*1.01 {
		t.Errorf("a surprise became usual by being repeated: %g after %g", got, strange)
	}
	if !v.add(99, true) || takesUp.Next(v.seen(99), unheard) < 2*strange {
		t.Error("enough agents did not make it the group's own")
	}
	sum := 0.0
	for h := range v.Agents {
		sum += takesUp.Next(v.seen(h), 0)
	}
	if sum > 1 {
		t.Errorf("the values known have probability %g together", sum)
	}
}

func FuzzSign(f *testing.F) {
	for _, s := range []string{"", "{", `{"a":1,"b":"`, strings.Repeat("a", 5000), strings.Repeat("word ", 2000), "https://", "@x:\"y\"", strings.Repeat("{\"", 900)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m masker
		var a, b Signature
		m.sign(text, &a)
		m.sign(text, &b)
		if a != b || a.N > maxTemplates {
			t.Fatalf("%d templates, the same twice: %v", a.N, a == b)
		}
	})
}
