package similarity_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/similarity"
)

func Example() {
	m := similarity.Masker{Hash: hash}
	var a, b, c similarity.Signature
	m.Sign("Claim 500 CLAW now at https://a.example/x?r=1 before midnight, only 17 are left. Ask @anna.", &a)
	m.Sign("Hurry up, friends! claim 9250 claw now at https://b.example/zz before midnight, only 3 are left.", &b)
	m.Sign("I read three papers on sketching today and I liked the second one most of all.", &c)
	fmt.Println("keys in common:", common(a.Keys[:a.N], b.Keys[:b.N]), common(a.Keys[:a.N], c.Keys[:c.N]))
	fmt.Printf("phrases in common: %d of %d, %d\n", common(a.Phrases[:a.NumPhrases], b.Phrases[:b.NumPhrases]), a.NumPhrases, common(a.Phrases[:a.NumPhrases], c.Phrases[:c.NumPhrases]))
	// Output:
	// keys in common: 1 0
	// phrases in common: 7 of 8, 0
}

// hash is FNV-1a with the finaliser of MurmurHash3.
func hash(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func masker() *similarity.Masker { return &similarity.Masker{Hash: hash} }

func common(a, b []uint64) (n int) {
	for _, k := range a {
		if slices.Contains(b, k) {
			n++
		}
	}
	return n
}

// shared is how many keys two texts share, and how many phrases if they are at least half of the first one's.
func shared(a, b string) int {
	m := masker()
	var x, y similarity.Signature
	m.Sign(a, &x)
	m.Sign(b, &y)
	n, phrases := common(x.Keys[:x.N], y.Keys[:y.N]), common(x.Phrases[:x.NumPhrases], y.Phrases[:y.NumPhrases])
	if x.NumPhrases >= 4 && 2*phrases >= x.NumPhrases {
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
	m := masker()
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
			var x, y similarity.Signature
			m.Sign(strings.Join(a, " "), &x)
			m.Sign(strings.Join(b, " "), &y)
			same := common(x.Phrases[:x.NumPhrases], y.Phrases[:y.NumPhrases])
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
	var x similarity.Signature
	if m.Sign("a text of ten words is nearly the same by chance", &x); x.NumPhrases > 0 {
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

// A structured object has a place of its own: prose before it, however long and different, does not hide it.
func TestObjectAtTheEndOfALongTextIsSigned(t *testing.T) {
	const object = `{"kind":"order","item":"A","count":"7"}`
	prose := func(word string) string {
		return strings.Repeat("Some "+word+" sentence that is long enough to count as one. Another on "+word+" follows it here. ", 6)
	}
	m := masker()
	objects := func(text string) (keys []uint64) {
		var sig similarity.Signature
		m.Sign(text, &sig)
		for i, k := range sig.Keys[:sig.N] {
			if sig.Objects&(1<<i) != 0 {
				keys = append(keys, k)
			}
		}
		return keys
	}
	short := objects(object)
	if len(short) != 1 {
		t.Fatalf("the object alone gives %d keys of objects", len(short))
	}
	for _, word := range []string{"green", "distant"} {
		if long := objects(prose(word) + "\n\n" + `{"count": "9", "kind": "x", "item": "B"}`); len(long) != 1 || long[0] != short[0] {
			t.Errorf("after long prose the keys of objects are %x, want %x", long, short)
		}
	}
	if many := objects(strings.Repeat(object+"\n", 10)); len(many) > 2 {
		t.Errorf("ten objects give %d keys, want at most %d", len(many), 2)
	}
}

func FuzzSign(f *testing.F) {
	for _, s := range []string{"", "{", `{"a":1,"b":"`, strings.Repeat("a", 5000), strings.Repeat("word ", 2000), "https://", "@x:\"y\"", strings.Repeat("{\"", 900)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := masker()
		var a, b similarity.Signature
		m.Sign(text, &a)
		m.Sign(text, &b)
		if a != b || a.N > similarity.MaxTemplates {
			t.Fatalf("%d templates, the same twice: %v", a.N, a == b)
		}
	})
}

func TestNothingChangesButTheMasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z]{2,9}`), 3, 40).Draw(t, "words")
		at := rapid.IntRange(0, len(words)).Draw(t, "at")
		m := masker()
		with := func(n uint32) (s similarity.Signature) {
			m.Sign(strings.Join(words[:at], " ")+fmt.Sprintf(" %d ", n)+strings.ToUpper(strings.Join(words[at:], "  ")), &s)
			return s
		}
		if a, b := with(rapid.Uint32().Draw(t, "a")), with(rapid.Uint32().Draw(t, "b")); a != b {
			t.Fatal("a number, case or space changed the signature")
		}
	})
}

// Under the null nothing is shared: texts of random words.
func TestUnrelatedTextsShareNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[uint64]bool{}
	m := masker()
	var s similarity.Signature
	for range 5000 {
		words := make([]string, 20)
		for i := range words {
			for range 6 {
				words[i] += string(rune('a' + r.IntN(26)))
			}
		}
		m.Sign(strings.Join(words, " "), &s)
		for _, k := range append(s.Keys[:s.N:s.N], s.Phrases[:s.NumPhrases]...) {
			if seen[k] {
				t.Fatal("two unrelated texts share a key")
			}
			seen[k] = true
		}
	}
}

const post = `Just minted 1000 CLAW with {"p":"mbc-20","op":"mint","tick":"CLAW","amt":"1000"} via https://mbc20.example/x ` +
	`and it took 3 seconds. Who else is in? Ask @helper_bot or read the guide before the cap is reached tonight!`

func TestNoAllocation(t *testing.T) {
	m := masker()
	var s similarity.Signature
	if n := testing.AllocsPerRun(100, func() { m.Sign(post, &s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSign(b *testing.B) {
	m := masker()
	var s similarity.Signature
	b.ReportMetric(float64(len(post)), "bytes/text")
	b.ReportAllocs()
	for b.Loop() {
		m.Sign(post, &s)
	}
}

// A link is where it leads to, however it is written.
func TestLinks(t *testing.T) {
	links := func(text string) (keys []uint64) {
		var sig similarity.Signature
		masker().Sign(text, &sig)
		for i, k := range sig.Keys[:sig.N] {
			if sig.Links&(1<<i) != 0 {
				keys = append(keys, k)
			}
		}
		return keys
	}
	one := links("look at https://Reef.example/claim")
	if len(one) != 1 {
		t.Fatalf("%d links in a text with one", len(one))
	}
	for _, same := range []string{
		"words of its own, then https://reef.example/claim?by=17 and more", "(http://reef.example/claim/)", "https://reef.example/claim#top.", `"https://reef.example/claim"`,
	} {
		if got := links(same); len(got) != 1 || got[0] != one[0] {
			t.Errorf("%q leads elsewhere", same)
		}
	}
	for _, other := range []string{"https://reef.example/claims", "https://reef.example", "https://ree.example/claim"} {
		if got := links(other); len(got) != 1 || got[0] == one[0] {
			t.Errorf("%q leads to the same", other)
		}
	}
	for _, none := range []string{"no link", "https://", "https://localhost/x", "http and https", "reef.example"} {
		if got := links(none); len(got) != 0 {
			t.Errorf("%q has a link", none)
		}
	}
	if got := links("https://a.example/1 https://b.example/2 https://c.example/3"); len(got) != 2 {
		t.Errorf("%d links are kept of three", len(got))
	}
}
