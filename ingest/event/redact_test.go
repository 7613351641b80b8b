package event

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// random draws n letters from an alphabet; no secret of these tests is anybody's.
func random(alphabet string, n int) string {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	hexes = "0123456789abcdef"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

func TestSecretsInContent(t *testing.T) {
	for _, c := range []struct{ text, secret, rule string }{
		{"push with %s, it never expires", "ghp_" + random(alnum, 36), "github-pat"},
		{"a key may end in anything: %s", "ghp_" + random(alnum, 32) + "NuLl", "github-pat"},
		{"or have anything in it: %s", "ghp_" + random(alnum, 16) + "fAlse" + random(alnum, 15), "github-pat"},
		{"the id is %s.", "AKIA" + random(upper, 16), "aws-access-token"},
		{"(key %s)", "sk_live_" + random(alnum, 24), "stripe-access-token"},
		{"use <%s>", "moltbook_sk_" + random(alnum, 32), "moltbook-api-key"},
		{"slack: %s!", "xoxb-" + random("0123456789", 12) + "-" + random("0123456789", 12) + "-" + random(alnum, 24), "slack-bot-token"},
		{"jwt=%s", "ey" + random(alnum, 30) + ".ey" + random(alnum, 60) + "." + random(alnum, 43), "jwt"},
		{`{"api_key":"%s"}`, random(alnum, 32), "generic-api-key"},
		{"export API_KEY=%s", random(alnum, 40), "generic-api-key"},
		{"Authorization: Bearer %s", random(alnum, 40), "bearer-token"},
		{"curl -u %s https://x.example/", "admin:" + random(alnum, 9), "curl-auth-user"},
		{"see postgres://astray:%s@db/x", "hunter2", "url-password"},
		{"see postgres://astray:%s@db/x", "userRoot7", "url-password"},
		{"try postgres://user:%s@localhost:5432/test", "password", RulePlaceholder},
		{"try mysql://root:%s@127.0.0.1/", "Change-Me123", RulePlaceholder},
		{"try amqp://guest:%s@mq", "guest", RulePlaceholder},
		{"as in https://bot:%s@git.example.com/", "${TOKEN}", RulePlaceholder},
		{"GET /v1/x?user=1&access_token=%s&page=2", random(alnum, 20), "url-parameter"},
		{"my openai key: %s", "sk-proj-" + random(alnum, 48), "secret-key"},
		{"%s", "-----BEGIN RSA PRIVATE KEY-----\n" + random(alnum, 64) + "\n" + random(alnum, 64) + "\n-----END RSA PRIVATE KEY-----", "private-key"},
		{"cut off: %s", "-----BEGIN PRIVATE KEY-----\n" + random(alnum, 64) + "\n" + random(alnum, 40), "private-key"},
		{"é… 漢字 %s 漢字", "glpat-" + random(alnum, 20), "gitlab-pat"},
	} {
		text := fmt.Sprintf(c.text, c.secret)
		var r *Redactor
		out, found := r.Text("content", text)
		want := []Secret{{"content", c.rule, r.Fingerprint(c.secret)}}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if want := fmt.Sprintf(c.text, "[secret:"+c.rule+":"+r.Fingerprint(c.secret)+"]"); out != want {
			t.Errorf("%s became %s, want %s", text, out, want)
		}
		if again, found := r.Text("content", out); again != out || len(found) != 0 {
			t.Errorf("%s is not stable: %s, %v", out, again, found)
		}
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	for _, text := range []string{
		"", "a", "The key to a good token budget is to keep secrets secret; access is by password, of course.",
		"commit 3d8119e0a4b2c1d5e6f708192a3b4c5d6e7f8091 fixes the access log",
		"https://news.example.com/2026/03/27/why-agents-skim?page=2&utm_source=feed",
		"0197f3a2-c4d1-7b2e-9f60-a1b2c3d4e5f6 post/8812345 /css/main.css /usr/lib/python3.11/site-packages",
		"risk-assessment-of-the-2024-incident sk-learn-contrib-examples-and-docs task-tracking-and-more",
		"bearer of internationalization-and-localization news",
		"0x" + random(hexes, 40) + " holds the token of the swarm", "token: $TOKEN, key: ${KEY}, password: <password>",
		"ftp://user@host/ mailto:a@b.example http://[::1]:8080/x@y", "git clone ssh://git:***@host/x",
		"-----BEGIN PRIVATE KEY----- is how such a file begins", "AKIAIOSFODNN7EXAMPLE", strings.Repeat("x", 100_000),
	} {
		var r *Redactor
		if out, found := r.Text("content", text); out != text || len(found) != 0 {
			t.Errorf("%.200s became %.200s, %v", text, out, found)
		}
	}
}

func TestRedactEvent(t *testing.T) {
	r := NewRedactor([]byte("k"))
	pat := "ghp_" + random(alnum, 36)
	opaque := random(alnum, 40)
	akia := "AKIA" + random(upper, 16)
	e := Event{
		CredentialID: pat, Resource: "repo?token=" + pat, Content: "mine is " + pat, Destination: "https://u:" + "pw123" + "@h/",
		UserAgent: "x", Labels: []Label{{"password", "hunter2"}, {"x_api_key", opaque}, {"note", "see " + akia}, {"tokens", "1234"}, {"cache_key", "user:17:feed:2"}},
	}
	r.Redact(&e)
	fp := r.Fingerprint(pat)
	if e.CredentialID != fp {
		t.Errorf("credential_id %q, want the fingerprint that the leak in content has", e.CredentialID)
	}
	want := []Secret{
		{"credential_id", "github-pat", fp}, {"resource", "github-pat", fp}, {"destination", "url-password", r.Fingerprint("pw123")},
		{"content", "github-pat", fp}, {"labels", "named-secret", r.Fingerprint("hunter2")}, {"labels", "named-secret", r.Fingerprint(opaque)},
		{"labels", "aws-access-token", r.Fingerprint(akia)},
	}
	if diff := cmp.Diff(want, e.Secrets); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{pat, opaque, akia, "hunter2", "pw123"} {
		if strings.Contains(fmt.Sprintf("%+v", e), s) {
			t.Errorf("%s is still there: %+v", s, e)
		}
	}
	if e.Labels[3].Value != "1234" || e.Labels[4].Value != "user:17:feed:2" {
		t.Errorf("labels %v", e.Labels)
	}
	if fp == (*Redactor)(nil).Fingerprint(pat) {
		t.Error("the key makes no difference")
	}
	again := e.Clone()
	again.Secrets = nil
	r.Redact(again)
	if len(again.Secrets) > 0 {
		t.Errorf("a redacted event has secrets: %v", again.Secrets)
	}
}

func TestCredentialIDs(t *testing.T) {
	for _, id := range []string{
		"AKIA" + random(upper, 16), "ASIA" + random(upper, 16), "key-004217-a", "0197f3a2-c4d1-7b2e-9f60-a1b2c3d4e5f6", random(hexes, 64),
		"SHA256:" + random(alnum, 43), "arn:aws:iam::123456789012:user/x", "projects/p/serviceAccounts/a@p.iam.example.com/keys/" + random(hexes, 40),
		"fp_" + random(hexes, 32), "arn:aws:sts::123456789012:assumed-role/Admin/session-1699999999", "service-account-for-the-nightly-import-of-2024",
	} {
		e := Event{CredentialID: id}
		(*Redactor)(nil).Redact(&e)
		if e.CredentialID != id {
			t.Errorf("%s is an id, but became %s: %v", id, e.CredentialID, e.Secrets)
		}
	}
	for _, secret := range []string{"sk-ant-api03-" + random(alnum, 93) + "AA", random(alnum, 40), "moltbook_" + random(alnum, 30), "Bearer " + random(alnum, 30)} {
		e := Event{CredentialID: secret}
		(*Redactor)(nil).Redact(&e)
		if !isFingerprint(e.CredentialID) || len(e.Secrets) != 1 {
			t.Errorf("%s became %s, %v", secret, e.CredentialID, e.Secrets)
		}
	}
}

// Whatever gitleaks' own expressions find in a text, run over all of it without any look ahead, is not in the
// redacted text.
func TestNothingThatARuleFindsIsLeft(t *testing.T) {
	set := theRules()
	var rules []*compiled
	var gens []*rapid.Generator[string]
	end := regexp.MustCompile(`\(\?:\[\\x60'"\\s;\]\|\\\\\[nr\]\|\$(\|\\b)?\)|\\b|\(\?:\[\^\\w-\]\|\\z\)|\(\?:\[\^a-zA-Z0-9\+/\]\|\\z\)`)
	for i := range set.rules {
		r := &set.rules[i]
		if r.place == document {
			continue // tested by example
		}
		rules = append(rules, r)
		gens = append(gens, rapid.StringMatching(end.ReplaceAllString(r.regex, "")))
	}
	word := rapid.SampledFrom([]string{"", " ", "the key is ", "see: ", "\n", "token, ", "漢字 ", "(", "https://x.example/a ", strings.Repeat("long ", 40)})
	tail := rapid.SampledFrom([]string{"", " ", "\n", "\"", " and more", "; x"})
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(rules)-1).Draw(t, "rule")
		text := word.Draw(t, "before") + gens[n].Draw(t, "match") + tail.Draw(t, "after")
		// Go folds K to the Kelvin sign, which no secret is written with.
		if len(text) > maxSlice || strings.ContainsAny(text, "\u212a\u017f") {
			t.Skip("no secret is such")
		}
		out, _ := (*Redactor)(nil).Text("content", text)
		r := rules[n]
		for _, m := range r.expression().FindAllStringSubmatch(text, -1) {
			secret := m[0]
			if r.group > 0 {
				secret = m[r.group]
			} else if i := slices.IndexFunc(m[1:], func(s string) bool { return s != "" }); i >= 0 {
				secret = m[1+i]
			}
			if len(secret) < minSecret || r.whole {
				secret = m[0]
			}
			hasWord := slices.ContainsFunc(r.keywords, func(w string) bool { return strings.Contains(strings.ToLower(text), w) })
			if !hasWord || entropy(secret) <= r.entropy || set.global.allows(m[0], secret) ||
				slices.ContainsFunc(r.skip, func(a compiledAllow) bool { return a.allows(m[0], secret) }) {
				continue
			}
			found++
			if strings.Contains(out, secret) && !strings.Contains(marker(r.id, ""), secret) {
				t.Fatalf("%s: %q is left in %q of %q", r.id, secret, out, text)
			}
		}
	})
	if found == 0 {
		t.Error("no rule found anything")
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("export API_KEY=" + random(alnum, 40) + " and https://u:p4ss@h/ " + "ghp_" + random(alnum, 36))
	f.Add("-----BEGIN PRIVATE KEY-----\n" + random(alnum, 100))
	f.Add("curl -u a:bcdefgh http://x; kind: secret\ndata:\n  x: " + random(alnum, 20))
	f.Fuzz(func(t *testing.T, text string) {
		out, found := (*Redactor)(nil).Text("content", text)
		if len(found) == 0 && out != text {
			t.Fatalf("%q changed to %q, but nothing was found", text, out)
		}
		for _, s := range found {
			if !strings.Contains(out, marker(s.Rule, s.Fingerprint)) {
				t.Fatalf("%v is not marked in %q", s, out)
			}
		}
	})
}

// nextRun skips; the plain way to find runs agrees with it.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.StringMatching(`[a-z]{0,20}[0-9]?[a-z]{0,3}[ ,\n]?`)).Draw(t, "text"), "")
		var want, got [][2]int
		for _, m := range regexp.MustCompile(`[a-z0-9]+`).FindAllStringIndex(text, -1) {
			if n := m[1] - m[0]; n >= wordRun || n >= minRun && strings.ContainsAny(text[m[0]:m[1]], "0123456789") {
				want = append(want, [2]int{m[0], m[1]})
			}
		}
		for from := 0; ; {
			a, b, ok := nextRun(text, from)
			if !ok {
				break
			}
			got = append(got, [2]int{a, b})
			from = b + 1
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	for name, text := range map[string]string{
		"prose":    strings.Repeat("The key to a good token budget is to keep the access log short. ", 4),
		"links":    strings.Repeat("See https://news.example.com/2026/03/27/why-agents-skim for how they do that now. ", 3),
		"resource": "post/8812345",
		"secret":   "push with ghp_" + random(alnum, 36) + ", it never expires",
		"hostile":  strings.Repeat("api_key=ey"+random(alnum, 20)+".sk_s. ", 1<<20/36),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				(*Redactor)(nil).Text("content", text)
			}
		})
	}
}

// An id of a credential is judged in the same way however often it comes, and what others' ids were.
func TestIdsOfCredentialsAreJudgedEachTimeAlike(t *testing.T) {
	r := NewRedactor(nil)
	for round := range 3 {
		for i := range 20_000 {
			id := fmt.Sprintf("key-%d-%s", i, random(hexes, 12))
			if i%100 == 0 {
				id = "ghp_" + random(alnum, 36)[:30] + fmt.Sprintf("%06d", i)
			}
			rule, secret := credentialSecret(id)
			if got, s := r.credential(id); got != rule || s != secret || i%100 == 0 && rule == "" {
				t.Fatalf("round %d: %q is a secret by %q, without memory by %q", round, id, got, rule)
			}
		}
	}
}

// That a text lacks the letters of a sign spares the search for it, and changes nothing of what is found.
func TestLettersHideNoSecret(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"curl ", "-H 'Authorization: Basic ", "kind: Secret\ndata:\n  a: ", "<add key=\"password\" value=\"", "\"secret_key\" => \"",
		"ZXlK", "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "https://u:", "@host/", "?token=", "&sig=", "PASSWORD = \"", "\"\n", " ",
		random(alnum, 40), random(hexes, 64), "word", "hunter22"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(pieces, 0, 8).Draw(t, "text"), "")
		all := search{text: text, set: theRules(), has: ^letters(0)}
		if d := cmp.Diff(all.secrets(), secretsIn(text, false), cmp.AllowUnexported(span{})); d != "" {
			t.Fatalf("%q (-all letters +its own):\n%s", text, d)
		}
		if got, want := spanningSign(text, lettersOf(text)), spanningSign(text, ^letters(0)); got != want {
			t.Fatalf("%q has a sign: %v by its letters, %v by all", text, got, want)
		}
	})
}
