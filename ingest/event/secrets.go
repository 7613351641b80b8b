package event

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// How secrets are found, and why it costs next to nothing on clean text.
//
// A secret is a run of letters, digits and a few signs that is longer than words are. So the first look is for
// such a run (suspicious), skipping through the text ten bytes at a time; most texts end there. Only for a run
// found, and the 64 bytes before it, the keywords of all rules are looked up in one pass, and only a rule whose
// keyword stands where that rule needs it (inside the run, or before it with an assignment in between) has its
// regular expression run, over that neighbourhood alone. What is found is then held to the rule's entropy and
// allow lists, as gitleaks does.
//
// The neighbourhood ends where the run ends, which is laxer than gitleaks: it wants white space or a quote after
// most secrets, but people write "my key is X, please use it".
//
// An attacker chooses the text. The regular expressions are linear in theirs, and the work per text is bounded:
// after maxRuns of them every further run that a rule wants to look at is taken for a secret as a whole.

const (
	minRun   = 10 // the shortest run that is looked at: gitleaks' generic rule begins there
	wordRun  = 16 // a run of letters alone is looked at from here on
	before   = 64 // bytes before a run in which a keyword may stand
	maxSlice = 2048
	maxRuns  = 256

	minSecret = 8
)

// rule is one way to recognise a secret.
type rule struct {
	id       string
	regex    string
	entropy  float64  // bits per character that a secret must pass; 0 for any
	group    int      // capture group of the secret; 0 for the first that matched, else all of the match
	keywords []string // lower case; one must stand nearby
	allow    []allow  // what is not a secret after all
}

type allow struct {
	target  string // "" for the secret, "match" for all that the expression matched
	all     bool   // all kinds of conditions must hold, else any
	regexes []string
	words   []string // parts of a secret, lower case, that only examples have
}

// place is where a rule's keyword must stand for the rule to be tried on a run.
type place uint8

const (
	near     place = iota // in the run or before it
	inside                // in the run
	assigned              // before the run or in it, with an assignment in between
	document              // anywhere: the rule spans lines and is tried by secretsIn itself
)

// ownRules are for what agents leak and gitleaks has no rule for.
func ownRules() []rule {
	return []rule{
		{id: "moltbook-api-key", regex: `\b(moltbook_[A-Za-z0-9_-]{20,})`, entropy: 3, keywords: []string{"moltbook_"}},
		{id: "secret-key", regex: `\b((?:sk|rk)[-_][A-Za-z0-9_-]{20,})`, entropy: 3.5, keywords: []string{"sk-", "sk_", "rk-", "rk_"},
			allow: []allow{{regexes: []string{`^[A-Za-z_-]+$`, `^[a-z]{2}([-_][a-z]+)+[-_]?\d{0,4}$`}}}},
		{id: "bearer-token", regex: `(?i)\bbearer[ \t]+([A-Za-z0-9._~+/=-]{16,})`, entropy: 3, keywords: []string{"bearer"},
			allow: []allow{{regexes: []string{`^[A-Za-z/.-]+$`}}}},
		{id: "authorization-header", regex: `(?i)\bauthorization['"]?[ \t]*[:=][ \t]*['"]?(?:basic|token|apikey)[ \t]+([A-Za-z0-9._~+/=-]{8,})`, keywords: []string{"authorization"}},
	}
}

type compiled struct {
	*rule
	place place
	wide  bool // a match holds signs that end a run
	whole bool // the secret is all of the match, its groups name parts that are always the same
	rank  int
	once  sync.Once
	re    *regexp.Regexp
	skip  []compiledAllow
}

// spanning is a rule that is tried where its sign stands, and the letters of that.
type spanning struct {
	*compiled
	sign    string
	letters letters
}

type compiledAllow struct {
	*allow
	regexes []*regexp.Regexp
}

type ruleSet struct {
	rules  []compiled
	words  *automaton
	byWord [][]int32 // keyword -> rules
	// documents are the rules that are tried wherever their sign stands.
	documents []spanning
	bare      []*compiled // rules whose secrets may be shorter than runs are
	global    compiledAllow
}

// theRules is built at the first suspicious text, in about a millisecond; each expression is compiled when it is
// first needed. It is a constant in all but name.
var theRules = sync.OnceValue(func() *ruleSet {
	list := slices.Concat(gitleaksRules, ownRules())
	s := &ruleSet{rules: make([]compiled, len(list))}
	s.global = compileAllow(&gitleaksAllow)
	index := map[string]int{}
	var words []string
	for i := range list {
		c := &s.rules[i]
		c.rule = &list[i]
		c.place = placeOf(c.rule)
		c.wide = strings.Contains(c.regex, "@") || strings.Contains(c.regex, `\\_-]`) || c.id == "sidekiq-secret"
		c.whole = strings.Contains(c.regex, "(?P<")
		if c.rank = i + 1; c.id == genericRule {
			c.rank = len(list) + 1
		}
		if c.place == document {
			if w := bareWord(c.id); w != "" {
				s.bare = append(s.bare, c)
			}
			if sign := documentSign(c.id); sign != "" {
				s.documents = append(s.documents, spanning{c, sign, lettersOf(sign)})
			}
			continue
		}
		for _, w := range c.keywords {
			n, ok := index[w]
			if !ok {
				n = len(words)
				index[w] = n
				words = append(words, w)
				s.byWord = append(s.byWord, nil)
			}
			s.byWord[n] = append(s.byWord[n], int32(i))
		}
	}
	s.words = newAutomaton(words)
	return s
})

// documentSign is what a text must hold for a rule that spans lines to be tried there.
func documentSign(id string) string {
	switch id {
	case "curl-auth-header", "curl-auth-user":
		return "curl"
	case "kubernetes-secret-yaml":
		return "kind:"
	case "nuget-config-password":
		return "<add key="
	case "freemius-secret-key":
		return "=>" // its value is of any signs, so it is no run
	case "jwt-base64":
		return "ZXlK" // its value may be broken into lines
	}
	return ""
}

// documentBegin is where a rule's match of which text[at:] holds the sign may begin, -1 if there is none.
func documentBegin(id, text string, at int) int {
	if id != "freemius-secret-key" {
		return at
	}
	const name = len(`"secret_key"`)
	end := len(strings.TrimRight(text[:at], " \t\r\n"))
	if end < name || !strings.EqualFold(text[end-name+1:end-1], "secret_key") {
		return -1
	}
	return end - name
}

func placeOf(r *rule) place {
	if documentSign(r.id) != "" || r.id == "private-key" || bareWord(r.id) != "" { // search has a way of its own
		return document
	}
	switch r.id {
	case "telegram-bot-api-token", "sidekiq-secret": // the value is two runs
		return near
	case "mailchimp-api-key", "nytimes-access-token": // more than a name stands between keyword and assignment
		return near
	}
	// gitleaks makes the rules of services from one template: name, assignment, value. A few look for a word of
	// the value.
	if name, _, ok := strings.Cut(r.regex, `[ \t\w.-]{0,`); ok && strings.Contains(name, `[\w.-]{0,50}?`) {
		name = strings.ToLower(name)
		if r.id != genericRule && slices.ContainsFunc(r.keywords, func(w string) bool { return !strings.Contains(name, w) }) {
			return near
		}
		return assigned
	}
	literal := strings.ToLower(strings.NewReplacer(`\`, "").Replace(r.regex))
	for _, w := range r.keywords {
		if strings.Contains(w, "=") || !strings.Contains(literal, w) {
			return near
		}
	}
	if r.id == "bearer-token" {
		return near
	}
	return inside
}

func (c *compiled) expression() *regexp.Regexp {
	c.once.Do(func() {
		for i := range c.allow {
			c.skip = append(c.skip, compileAllow(&c.allow[i]))
		}
		c.re = regexp.MustCompile(c.regex)
	})
	return c.re
}

func compileAllow(a *allow) compiledAllow {
	c := compiledAllow{allow: a}
	for _, r := range a.regexes {
		c.regexes = append(c.regexes, regexp.MustCompile(r))
	}
	return c
}

func (a *compiledAllow) allows(match, secret string) bool {
	target := secret
	if a.target != "" {
		target = match
	}
	byRegex := slices.ContainsFunc(a.regexes, func(r *regexp.Regexp) bool { return r.MatchString(target) })
	lower := strings.ToLower(secret)
	byWord := slices.ContainsFunc(a.words, func(w string) bool { return strings.Contains(lower, w) })
	if a.all {
		return (byRegex || len(a.regexes) == 0) && (byWord || len(a.words) == 0)
	}
	return byRegex || byWord
}

// span is a secret in a text.
type span struct {
	from, to int
	rule     string
	rank     int // rules of a lower one are more special
}

// runByte marks the bytes of which runs are made: those of base64 in both alphabets, of names and of percent codes.
var runByte = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.~%" {
		t[c] = true
	}
	return t
}()

// letters is a set of bytes: one bit for each letter, and for what the signs of rules are made of besides. A text is gone through
// once to learn which it has, and most searches in it need not be made.
type letters uint64

// letterBit is the bit of each byte that has one.
var letterBit = func() (t [256]letters) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:/@=<>") {
		t[c] = 1 << i
	}
	return t
}()

// maxCounted is the length up to which looking at each byte costs less than the searches that it saves.
const maxCounted = 256

// lettersOf returns what bytes text has: those of letterBit, and perhaps more than there are.
func lettersOf(text string) (set letters) {
	if len(text) > maxCounted {
		return ^letters(0)
	}
	for i := range len(text) {
		set |= letterBit[text[i]]
	}
	return set
}

// may reports whether a text of these letters may hold sign.
func (l letters) may(sign letters) bool { return l&sign == sign }

// The letters of signs that are looked for in every text.
var (
	addressLetters    = lettersOf("://")
	parameterLetters  = lettersOf("=")
	privateKeyLetters = lettersOf("PRIVATE KEY")
)

// mayFold is may for a word in whatever case: it asks for the rarest letter, as nextFold does.
func (l letters) mayFold(word string) bool {
	rare := word[rarest(word)]
	return l&(letterBit[rare]|letterBit[rare-'a'+'A']) != 0
}

// rarest is the place of a word's rarest letter.
func rarest(word string) int {
	for i := range len(word) {
		if word[i] == 'z' || word[i] == 'w' {
			return i
		}
	}
	return -1
}

// suspicious reports whether a text may hold a secret at all.
func suspicious(text string) bool {
	if len(text) < minRun {
		return false
	}
	if _, _, ok := nextRun(text, 0); ok {
		return true
	}
	return spanningSign(text, lettersOf(text))
}

var spanningSigns = func() (all [5]struct {
	sign    string
	letters letters
}) {
	for i, sign := range [len(all)]string{"curl ", "PRIVATE KEY", "<add key=", "=>", "ZXlK"} {
		all[i].sign, all[i].letters = sign, lettersOf(sign)
	}
	return all
}()

// spanningSign reports whether a text of these letters holds the sign of a rule for what is no run.
func spanningSign(text string, has letters) bool {
	for i := range spanningSigns {
		if s := &spanningSigns[i]; has.may(s.letters) && strings.Contains(text, s.sign) {
			return true
		}
	}
	return has.may(addressLetters) && strings.Contains(text, "://") && strings.IndexByte(text, '@') >= 0 ||
		has.may(parameterLetters) && hasParameter(text) ||
		has.mayFold("authorization") && nextFold(text, "authorization", 0) >= 0 || has.mayFold("password") && nextFold(text, "password", 0) >= 0
}

// nextRun finds the first run at or after from that is long enough to be looked at. from must not be in the middle
// of a run.
func nextRun(text string, from int) (start, end int, ok bool) {
	i := from
	for i+minRun <= len(text) {
		// A run that covers i has at least minRun bytes only if its byte at i+minRun-1 is one: look there first.
		j := i + minRun - 1
		for j >= i && runByte[text[j]] {
			j--
		}
		if j >= i {
			i = j + 1
			continue
		}
		end = i + minRun
		for end < len(text) && runByte[text[end]] {
			end++
		}
		if end-i >= wordRun || strings.ContainsAny(text[i:end], "0123456789") {
			return i, end, true
		}
		i = end + 1
	}
	return 0, 0, false
}

// secretsIn returns the secrets in text, in order and without overlap. With id set, text is the id of a
// credential: the rules that take an id for a secret are left out.
func secretsIn(text string, id bool) []span {
	s := search{text: text, id: id, set: theRules(), has: lettersOf(text)}
	return s.secrets()
}

func (s *search) secrets() []span {
	text := s.text
	s.documents()
	for from := 0; ; {
		start, end, ok := nextRun(text, from)
		if !ok {
			break
		}
		from = end + 1
		s.run(start, end)
	}
	if len(s.spans) < 2 {
		return s.spans
	}
	// Where rules claim the same bytes the most special one says what they are.
	slices.SortStableFunc(s.spans, func(a, b span) int { return cmp.Or(a.rank-b.rank, a.from-b.from, b.to-a.to) })
	kept := s.spans[:0]
	byStart := func(sp span, from int) int { return cmp.Compare(sp.from, from) }
	for _, sp := range s.spans {
		i, _ := slices.BinarySearchFunc(kept, sp.from, byStart)
		if i > 0 && kept[i-1].to > sp.from || i < len(kept) && kept[i].from < sp.to {
			continue
		}
		kept = slices.Insert(kept, i, sp)
	}
	return kept
}

const (
	genericRule = "generic-api-key"
	lastRank    = math.MaxInt
)

type search struct {
	text  string
	has   letters
	id    bool
	set   *ruleSet
	spans []span
	runs  int
}

// run looks at the run text[start:end].
func (s *search) run(start, end int) {
	stop := end
	for stop > start && (s.text[stop-1] == '.' || s.text[stop-1] == '%' || s.text[stop-1] == '~') {
		stop-- // the full stop of a sentence
	}
	if isFingerprint(s.text[start:stop]) {
		return
	}
	var tried [8]uint64
	from := max(0, start-before)
	s.set.words.find(s.text, from, stop, func(word int32, at int) {
		for _, n := range s.set.byWord[word] {
			if tried[n/64]>>(n%64)&1 == 1 {
				continue
			}
			r := &s.set.rules[n]
			begin := at - len(s.keyword(word))
			switch r.place {
			case inside:
				if begin < start {
					continue
				}
			case assigned:
				if !assignment(s.text, at, start, stop) {
					continue
				}
			}
			tried[n/64] |= 1 << (n % 64)
			if s.id && r.id == "aws-access-token" {
				continue
			}
			if s.runs++; s.runs > maxRuns {
				s.spans = append(s.spans, span{start, stop, "unscanned", lastRank})
				return
			}
			from, to := max(0, min(begin, start)-before), max(begin, start)+maxSlice
			if r.wide {
				s.try(r, from, start, min(len(s.text), to))
				return
			}
			if !s.try(r, from, start, min(stop, to)) && stop < end {
				s.try(r, from, start, min(end, to)) // it was no full stop after all
			}
		}
	})
}

func (s *search) keyword(n int32) string { return s.set.words.keywords[n] }

// assignment reports whether text[at:], after a keyword, goes on as a name and an assignment do, to a value in
// the run from start to stop.
func assignment(text string, at, start, stop int) bool {
	i := at
	for n := 0; i < stop && n < 48; n++ {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-',
			c == ' ', c == '\t', c == '\n', c == '\r', c == '\f', c == '\'', c == '"', c == '\\':
			i++
			continue
		case c == '=' || c == '>' || c == ':' || c == '|' || c == '?' || c == ',':
		default:
			return false
		}
		break
	}
	operator := i
	for i < stop && strings.IndexByte("=>:|?,`'\" \t\n\r\f\\", text[i]) >= 0 {
		i++
	}
	return i > operator && i >= start && stop-i >= 8
}

// try runs a rule over text[from:to] and keeps what it finds beyond start.
func (s *search) try(r *compiled, from, start, to int) (found bool) {
	slice := s.text[from:to]
	for _, m := range r.expression().FindAllStringSubmatchIndex(slice, -1) {
		a, b := m[0], m[1]
		if r.group > 0 {
			a, b = m[2*r.group], m[2*r.group+1]
		} else if !r.whole {
			for g := 2; g < len(m); g += 2 {
				if m[g] >= 0 && m[g] < m[g+1] {
					a, b = m[g], m[g+1]
					break
				}
			}
			if b-a < minSecret {
				a, b = m[0], m[1] // the group was made to repeat something, not to name the secret
			}
		}
		if a < 0 || a == b || from+b <= start {
			continue
		}
		secret := slice[a:b]
		if r.entropy > 0 && entropy(secret) <= r.entropy || isFingerprint(secret) || strings.Contains(secret, "[secret:") {
			continue
		}
		match := slice[m[0]:m[1]]
		if s.set.global.allows(match, secret) || slices.ContainsFunc(r.skip, func(a compiledAllow) bool { return a.allows(match, secret) }) {
			continue
		}
		s.spans = append(s.spans, span{from + a, from + b, r.id, r.rank})
		found = true
	}
	return found
}

// documents finds what is not a run: private keys, passwords in addresses, and the rules that span lines.
func (s *search) documents() {
	if s.has.may(privateKeyLetters) {
		s.privateKeys()
	}
	if s.has.may(addressLetters) {
		s.addresses()
	}
	if s.has.may(parameterLetters) {
		s.parameters()
	}
	s.bareWords()
	for i := range s.set.documents {
		r := &s.set.documents[i]
		for from := 0; s.has.may(r.letters) && s.runs < maxRuns; {
			n := strings.Index(s.text[from:], r.sign)
			if n < 0 {
				break
			}
			at := documentBegin(r.id, s.text, from+n)
			if at < 0 {
				from += n + len(r.sign)
				continue
			}
			s.runs += 4 // these are slow
			to := min(len(s.text), at+maxSlice)
			if from += n + len(r.sign); s.try(r.compiled, at, at, to) {
				from = max(from, to)
			}
		}
	}
}

// privateKeys takes a key block from its first line to its last, or to the end of the text if that is cut off.
func (s *search) privateKeys() {
	for from := 0; ; {
		n := strings.Index(s.text[from:], "PRIVATE KEY")
		if n < 0 {
			return
		}
		at := from + n
		from = at + len("PRIVATE KEY")
		begin := strings.LastIndex(s.text[max(0, at-110):at], "-----BEGIN")
		if begin < 0 {
			continue
		}
		begin += max(0, at-110)
		end := len(s.text)
		if n := strings.Index(s.text[from:], "PRIVATE KEY"); n >= 0 {
			end = from + n + len("PRIVATE KEY")
			if n := strings.Index(s.text[end:], "-----"); n >= 0 && n <= len(" BLOCK") {
				end += n + len("-----")
			}
		}
		if end-from < 64 {
			continue // only spoken of
		}
		s.spans = append(s.spans, span{begin, end, "private-key", 0})
		from = end
	}
}

// addresses finds the password of scheme://user:password@host.
func (s *search) addresses() {
	for from := 0; ; {
		n := strings.Index(s.text[from:], "://")
		if n < 0 {
			return
		}
		at := from + n + len("://")
		from = at
		end := strings.IndexAny(s.text[at:min(len(s.text), at+512)], "/?# \t\r\n\"'<>")
		if end < 0 {
			end = min(len(s.text), at+512) - at
		}
		authority := s.text[at : at+end]
		host := strings.LastIndexByte(authority, '@')
		if host < 0 {
			continue
		}
		colon := strings.IndexByte(authority[:host], ':')
		if colon < 0 || host-colon-1 < 3 || strings.HasPrefix(authority[colon+1:], "[secret:") ||
			strings.Trim(authority[colon+1:host], "*xX.") == "" {
			continue
		}
		rule := "url-password"
		if placeholder(authority[:colon], authority[colon+1:host]) {
			rule = RulePlaceholder
		}
		s.spans = append(s.spans, span{at + colon + 1, at + host, rule, 0})
	}
}

// RulePlaceholder is what a password is found by that stands in examples for one: it is replaced like any other, lest somebody
// uses it, but nobody has exposed anything.
const RulePlaceholder = "placeholder-password"

// placeholders are passwords of manuals and of software as it comes.
var placeholders = map[string]bool{
	"password": true, "passwd": true, "pass": true, "pwd": true, "passw0rd": true, "mypassword": true, "yourpassword": true, "secret": true,
	"mysecret": true, "mysecretpassword": true, "changeme": true, "changeit": true, "example": true, "test": true, "testing": true, "demo": true,
	"dummy": true, "fake": true, "sample": true, "placeholder": true, "redacted": true, "hidden": true, "token": true, "admin": true, "root": true,
	"user": true, "username": true, "guest": true, "default": true, "postgres": true, "mysql": true, "mongo": true, "redis": true, "rabbitmq": true,
	"xxx": true, "foo": true, "bar": true, "abc": true,
}

// placeholder reports whether the password of an address stands for one: it says so, is the user's name, or is a variable.
func placeholder(user, password string) bool {
	p := strings.ToLower(password)
	if p == strings.ToLower(user) {
		return true
	}
	first, last := p[0], p[len(p)-1]
	if first == '$' || first == '{' && last == '}' || first == '[' && last == ']' || first == '%' && last == '%' {
		return true
	}
	p = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' {
			return -1
		}
		return r
	}, strings.TrimRight(p, "0123456789!"))
	return placeholders[p]
}

// secretParameters are the last words of the names of an address's parameters whose values are secrets.
var secretParameters = [...]string{"key", "token", "secret", "passwd", "password", "pwd", "auth", "sig", "signature", "credential"}

const maxParameterName = 64

// nextParameter finds the first ?name=value at or after from whose name says that the value is a secret.
func nextParameter(text string, from int) (name, value, end int, ok bool) {
	for {
		n := strings.IndexByte(text[from:], '=')
		if n < 0 {
			return 0, 0, 0, false
		}
		at := from + n
		from = at + 1
		name = at
		for name > 0 && at-name < maxParameterName && wordByte(text[name-1]) {
			name--
		}
		if name == 0 || name == at || strings.IndexByte("?&;", text[name-1]) < 0 || !namesSecret(text[name:at]) {
			continue
		}
		end = from
		for end < len(text) && strings.IndexByte("&#\"'<> \t\n\r\f", text[end]) < 0 {
			end++
		}
		return name, from, end, true
	}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

func namesSecret(name string) bool {
	if c := name[len(name)-1]; c == 's' || c == 'S' {
		name = name[:len(name)-1]
	}
	for _, w := range secretParameters {
		if n := len(name) - len(w); n >= 0 && strings.EqualFold(name[n:], w) {
			return true
		}
	}
	return false
}

func hasParameter(text string) bool {
	_, _, _, ok := nextParameter(text, 0)
	return ok
}

// parameters finds the values of an address's parameters that are named after secrets.
func (s *search) parameters() {
	for from := 0; ; {
		name, value, end, ok := nextParameter(s.text, from)
		if !ok {
			return
		}
		from = end
		secret := s.text[value:end]
		if len(secret) < 8 || entropy(secret) <= 2.5 || isFingerprint(secret) || strings.Contains(secret, "[secret:") ||
			s.set.global.allows(s.text[name:end], secret) {
			continue
		}
		s.spans = append(s.spans, span{value, end, "url-parameter", len(s.set.rules)})
	}
}

// bareWord is the word after which a rule takes secrets that are shorter than runs are.
func bareWord(id string) string {
	switch id {
	case "authorization-header":
		return "authorization"
	case "hashicorp-tf-password":
		return "password"
	}
	return ""
}

// nextFold finds a word, in whatever case, at or after from; -1 if it is not there. It looks for the rarest letter.
func nextFold(text, word string, from int) int {
	rare := rarest(word)
	first := -1
	for _, letter := range [...]byte{word[rare], word[rare] - 'a' + 'A'} {
		for at := from; ; at++ {
			n := strings.IndexByte(text[at:], letter)
			if n < 0 {
				break
			}
			at += n
			begin := at - rare
			if begin >= from && begin+len(word) <= len(text) && strings.EqualFold(text[begin:begin+len(word)], word) {
				if first < 0 || begin < first {
					first = begin
				}
				break
			}
		}
	}
	return first
}

// bareWords finds what is assigned to such a word.
func (s *search) bareWords() {
	for _, r := range s.set.bare {
		word := bareWord(r.id)
		for from := 0; s.has.mayFold(word) && s.runs < maxRuns; {
			at := nextFold(s.text, word, from)
			if at < 0 {
				break
			}
			from = at + len(word)
			if to := min(len(s.text), from+maxSlice); assignment(s.text, from, from, to) {
				s.runs++
				s.try(r, max(0, at-1), at, to) // the byte before tells whether the word is one
			}
		}
	}
}

func isFingerprint(s string) bool {
	if len(s) != fingerprintLen || !strings.HasPrefix(s, FingerprintPrefix) {
		return false
	}
	for i := len(FingerprintPrefix); i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// credentialSecret says whether an id of a credential is the credential itself; secret is the part that is.
func credentialSecret(id string) (rule, secret string) {
	if !suspicious(id) || isFingerprint(id) {
		return "", ""
	}
	if found := secretsIn(id, true); len(found) > 0 {
		return found[0].rule, id[found[0].from:found[0].to]
	}
	// An id is short, or hexadecimal, or made of words. A value that is long and as random as base64 is no id.
	if len(id) >= 32 && opaque(id) {
		return "opaque-credential", id
	}
	return "", ""
}

// opaque reports whether all of s looks drawn at random from the letters of both cases and the digits.
func opaque(s string) bool {
	var upper, lower, digit, beyondHex int
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			upper++
			if c > 'F' {
				beyondHex++
			}
		case c >= 'a' && c <= 'z':
			lower++
			if c > 'f' {
				beyondHex++
			}
		case c >= '0' && c <= '9':
			digit++
		case c == ':' || c == ' ':
			return false // an ARN, a "SHA256:" fingerprint, a name
		case !runByte[c]:
			return false
		}
	}
	return upper >= 3 && lower >= 3 && digit >= 2 && beyondHex >= 5 && entropy(s) > 4
}

// labelSecret says whether a label holds a secret because of its name. Values that look like secrets by
// themselves are found as in any text.
func labelSecret(key, value string) (rule string) {
	if len(value) < 4 || len(key) > 64 || strings.HasPrefix(value, "[secret:") {
		return ""
	}
	var name [64]byte
	n := 0
	for i := range len(key) {
		c := key[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != '_' && c != '-' && c != '.' && c != ' ' {
			name[n] = c
			n++
		}
	}
	switch k := string(name[:n]); k {
	case "password", "passwd", "pwd", "passphrase", "secret", "clientsecret", "apisecret", "secretkey", "secretaccesskey",
		"awssecretaccesskey", "privatekey", "apikey", "xapikey", "authorization", "accesstoken", "refreshtoken", "idtoken", "bearertoken",
		"authtoken", "apitoken", "sessiontoken", "cookie", "setcookie", "dbpassword":
		if value == "true" || value == "false" || isFingerprint(value) {
			return ""
		}
		return "named-secret"
	}
	if !suspicious(value) || isFingerprint(value) {
		return ""
	}
	// The name counts as it would in a text of the form name=value.
	text := key + "=" + value
	for _, s := range secretsIn(text, false) {
		if s.from <= len(key)+1 && s.to == len(text) {
			return s.rule
		}
	}
	return ""
}

// entropy is Shannon's, in bits per byte of s.
func entropy(s string) (bits float64) {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	for _, n := range count {
		if n > 0 {
			f := float64(n) / float64(len(s))
			bits -= f * math.Log2(f)
		}
	}
	return bits
}
