package similarity_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/similarity"
)

func Example() {
	a := similarity.Of(`Claim 500 CLAW now at https://a.example/x?r=1 before midnight, only 17 left! @anna`)
	b := similarity.Of(`Claim 9,250 CLAW now at https://b.example/zz before midnight, only 3 left! @bert`)
	c := similarity.Of(`I read three papers on sketching today and I liked the second one most of all.`)
	fmt.Printf("%.2f %.2f\n", similarity.Jaccard(&a, &b), similarity.Jaccard(&a, &c))
	fmt.Printf("%s\n", similarity.AppendTemplate(nil, `{"op":"mint", "tick":"CLAW","amt": "100"} by 0x1f2e3d4c5b6a7980 at 12:30`, 80))
	// Output:
	// 1.00 0.00
	// op <value> tick <value> amt <value> by <code> at <n>
}

func TestMasks(t *testing.T) {
	for text, want := range map[string]string{
		"Hello, WORLD":                                  "hello world",
		"paid 12.50 or 3,000,000 on 2026-03-27":         "paid <n> or <n> on <n>",
		"see www.example.org/a?b=c, or http://x.y/z":    "see <url> or <url>",
		"mail joe@example.org or @joe_2":                "mail <url> or <name>",
		"id 550e8400-e29b-41d4-a716-446655440000 done":  "id <code> done",
		"key sk_live0123456789abcdefABCDEF done":        "key sk live0123456789abcdefabcdef done",
		"b64 aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ/+x== done": "b64 <code> done",
		"deadbeef cafe1234beef 5k 3rd gpt4":             "deadbeef <code> <n> <n> gpt4",
		`{"a": 5, "b" : "x \" y", "c":[1,2]}`:           "a <n> b <value> c <n>",
		"日本 ж":                                          "日 本 ж",
		"":                                              "",
		"@ : \" .":                                      "",
		`"unclosed":"text goes on`:                      "unclosed <value>",
	} {
		if text == "key sk_live0123456789abcdefABCDEF done" {
			want = "key sk <code> done"
		}
		if got := string(similarity.AppendTemplate(nil, text, 1000)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := similarity.AppendTemplate([]byte("x"), strings.Repeat("word ", 50), 20); len(got) > 21 {
		t.Errorf("a template of %d bytes, limit 20", len(got)-1)
	}
}

// The estimate is unbiased with the binomial's scatter. Texts of random words: three in a row are never shared by
// chance, so the true similarity is that of the construction.
func TestEstimatesJaccard(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 7)
		for i := range b {
			b[i] = byte('a' + src.IntN(26))
		}
		return string(b)
	}
	for _, shared := range []int{0, 10, 30, 60, 100} {
		const rounds = 3000
		var sum, square, hit float64
		truth := float64(shared) / float64(200-shared)
		for range rounds {
			words := make([]string, 102)
			for i := range words {
				words[i] = word()
			}
			other := append([]string(nil), words[:shared+2]...)
			for len(other) < 102 {
				other = append(other, word())
			}
			if shared == 0 {
				other[0] = word()
			}
			a, b := similarity.Of(strings.Join(words, " ")), similarity.Of(strings.Join(other, "\n"))
			j := similarity.Jaccard(&a, &b)
			sum += j
			square += (j - truth) * (j - truth)
			ka, kb := a.Keys(), b.Keys()
			for i := range ka {
				if ka[i] == kb[i] {
					hit++
					break
				}
			}
		}
		variance := truth * (1 - truth) / similarity.K
		if math.Abs(sum/rounds-truth) > 5*math.Sqrt(variance/rounds)+1e-9 {
			t.Errorf("similarity %.3f: mean estimate %.4f", truth, sum/rounds)
		}
		if square/rounds > 1.2*variance+1e-9 {
			t.Errorf("similarity %.3f: variance %.5f, want %.5f", truth, square/rounds, variance)
		}
		if want := 1 - math.Pow(1-math.Pow(truth, 4), 4); math.Abs(hit/rounds-want) > 0.03 {
			t.Errorf("similarity %.3f: candidate with probability %.3f, want %.3f", truth, hit/rounds, want)
		}
	}
}

func TestNothingChangesButTheMasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z]{2,9}`), 3, 40).Draw(t, "words")
		at := rapid.IntRange(0, len(words)).Draw(t, "at")
		with := func(n uint32) similarity.Signature {
			return similarity.Of(strings.Join(words[:at], " ") + fmt.Sprintf(" %d ", n) + strings.ToUpper(strings.Join(words[at:], "  ")))
		}
		if a, b := with(rapid.Uint32().Draw(t, "a")), with(rapid.Uint32().Draw(t, "b")); a != b {
			t.Fatal("a number, case or space changed the signature")
		}
	})
}

func FuzzOf(f *testing.F) {
	f.Add(`{"a":"\`)
	f.Add("www.")
	f.Add("a@b")
	f.Add("\xff\x80:// @")
	f.Fuzz(func(t *testing.T, text string) {
		s := similarity.Of(text)
		if j := similarity.Jaccard(&s, &s); j != 1 && s.Words > 0 || s.Words == 0 && s != (similarity.Signature{}) {
			t.Fatalf("%d words, like itself by %v", s.Words, j)
		}
		if b := similarity.AppendTemplate(nil, text, 100); len(b) > 100 || len(b) == 0 && s.Words > 0 && len(text) < 90 {
			t.Fatalf("template %q", b)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { similarity.Of(post) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const post = `Just minted 1000 CLAW with {"p":"mbc-20","op":"mint","tick":"CLAW","amt":"1000"} via https://mbc20.example/x ` +
	`and it took 3 seconds. Who else is in? Ask @helper_bot or read the guide before the cap is reached tonight!`

func BenchmarkOf(b *testing.B) {
	b.ReportMetric(float64(len(post)), "bytes/text")
	b.ReportAllocs()
	for b.Loop() {
		similarity.Of(post)
	}
}

func BenchmarkJaccard(b *testing.B) {
	x, y := similarity.Of(post), similarity.Of(post+" more words here")
	for b.Loop() {
		similarity.Jaccard(&x, &y)
	}
}
