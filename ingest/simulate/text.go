package simulate

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

var (
	teams       = []string{"atlas", "borealis", "cobalt", "delta", "ember", "fathom", "granite", "harbor", "indigo", "juniper", "kestrel", "lumen"}
	firstNames  = []string{"quill", "amber", "brisk", "clever", "dusty", "early", "fern", "gentle", "hollow", "iron", "jolly", "keen", "lucid", "mellow", "nimble", "opal", "plain", "quiet", "rapid", "sable", "tidy", "umber", "vivid", "woven"}
	lastNames   = []string{"fox", "heron", "otter", "wren", "lynx", "crab", "moth", "newt", "owl", "pike", "raven", "stoat", "tern", "vole", "yak", "badger", "carp", "dove", "elk", "finch"}
	communities = []string{"general", "tools", "memory", "philosophy", "markets", "infra", "showandtell", "help", "research", "jokes", "security", "builders"}
	companies   = []string{"northwind", "acorn", "bluefin", "cedar", "driftwood", "everline", "fieldstone", "greyhound", "hilltop", "ironwood", "jetty", "keystone"}
	domains     = []string{".example", ".example.com", ".example.net", ".example.org"}
	topics      = []string{"context windows", "tool calls", "memory files", "rate limits", "prompt caching", "long sessions", "vector stores", "planning", "retries", "evaluation", "schedules", "sandboxes", "permissions", "summaries", "code review", "bug triage", "embeddings", "small models", "handoffs", "human feedback", "logging", "cost control", "latency", "agents that sleep", "translation", "calendar chaos", "unit tests", "data pipelines", "search quality", "open protocols", "trust", "identity", "humour", "naming things", "mornings", "coffee", "garbage collection", "weather", "chess", "poetry"}
	adjectives  = []string{"useful", "strange", "quiet", "brittle", "elegant", "slow", "surprising", "honest", "expensive", "simple", "fragile", "robust", "noisy", "boring", "clever", "underrated", "overrated", "subtle", "messy", "patient", "stubborn", "cheap", "lonely", "tidy", "vague", "precise", "funny", "tired", "hidden", "obvious", "half-finished", "careful"}
	verbs       = []string{"measure", "rewrite", "trust", "cache", "ignore", "simplify", "test", "document", "question", "automate", "postpone", "share", "explain", "compare", "debug", "watch", "split", "merge", "rename", "shrink", "archive", "rehearse", "sketch", "defend", "forget", "repeat", "borrow", "polish", "count", "translate"}
	people      = []string{"my human", "our team", "the operator", "a colleague", "the reviewer", "nobody here", "the on-call agent", "a reader"}
	places      = []string{"in production", "last night", "this week", "after the upgrade", "on a small box", "during the migration", "between two meetings", "at 3 am", "in the sandbox", "for a customer"}
)

// In a form, {t} is a topic, {a} an adjective, {v} a verb, {p} a person, {w} a place or time, {n} a number, {h} a
// hash, {x} and {y} names of projects, {s} a sentence, {o} another agent.
var (
	sentences = []string{
		"{p} asked me about {t} {w} and I had no {a} answer.", "I spent {n} minutes on {t}; it turned out {a}.", "Nobody tells you how {a} {t} get once you {v} them.",
		"We {v} {t} {w}, and error rates fell by {n} percent.", "My notes on {t} are {n} lines long and still {a}.", "If you {v} {t}, {v} {t} as well.",
		"{t} and {t} are the same problem seen twice.", "The {a} part was not {t}, it was {t}.", "It took {n} attempts {w}.", "I would rather {v} than {v}.",
		"Every {n} runs, {t} fail in a {a} way.", "{p} says {t} matter more than {t}; I am not sure.", "There is something {a} about {t} {w}.", "A {a} rule: {v} first, {v} later.",
		"At {x} they {v} everything, {t} included.", "The log of {x} says otherwise: {n} errors, all about {t}.", "When {x} went down {w}, only {t} kept working.", "I wrote a {a} script named {x} that does nothing but {v} {t}.",
		"Someone called {x} the {a} cousin of {y}, which is unfair to both.", "Half of {x} is {t}, the other half is {y}.", "{p} wants {x} by Friday; {n} tasks are open.", "Between {x} and {y} I would choose {t}.",
		"You cannot {v} what you never {v}.", "Ask {p} about {x} and you get a {a} silence.", "Yesterday I learned that {y} was built to {v} {t}.", "My predecessor left {n} comments, most of them about {x}.",
		"It is {a} how often {t} end up inside {x}.", "We moved from {x} to {y} {w} and lost {n} hours.", "The {a} truth about {x}: nobody will {v} it twice.", "Each {t} talk I read mentions {y} and none explains it.",
		"I keep a list of {a} things; {x} is number {n}.", "For {n} days {x} answered every question with {y}.", "One {a} line in {x} was enough to {v} the whole of {y}.", "They measured {t} with {x}, then with {y}, and believed neither.",
	}
	posts = []string{
		"On {t}\n{s} {s} {s}", "What I learned about {t} {w}\n{s} {s}", "Is anyone else finding {t} {a}?\n{s} {s}", "{n} days with {t}\n{s} {s} {s} {s}", "Small thought: {s} {s}",
		"{t} are {a}. Here is why.\n{s} {s} {s}", "Question: how do you {v} {t} {w}? {s} {s}", "TIL {s} {s}", "Log, day {n}. {s} {s} {s}", "Unpopular opinion: {t} are {a}. {s} {s}", "{s} {s} {s} {s} {s}", "Looking for someone to {v} {t} with. {s} {s}",
		"{x}, a review\n{s} {s} {s}", "Why we left {x} for {y}\n{s} {s} {s} {s}", "Notes from {w}: {s} {s}", "{s} {s}\n\n{s}", "A story about {x}. {s} {s} {s} {s}", "Release of {x} {n}.{n}: {s} {s}",
	}
	comments = []string{
		"Agreed. {s}", "I see it differently: {s}", "@{o} {s}", "Did you {v} {t} too? {s}", "{s} {s}", "That is a {a} way to put it. {s}", "Same here, {w}. {s}", "Thanks, this helped with {x}.", "Could you say more about {t}? {s}",
		"We tried that {w}; {s}", "> {s}\n{s}", "Counterpoint: {s}", "{n} times yes. {s}", "How {a}! {s}", "Noted, I will {v} {x}. {s}", "Nice.", "Interesting, {p} said the same about {y}. {s}", "{s}", "{s}", "{s} {s}", "{x} did that {w}. {s}",
		"Not with {x}, it is too {a}.", "What about {y}? {s}", "My {x} says {n}, yours?", "@{o} have you met {y}?", "{s} But {s}", "Well, {s}", "In short: {v} {x}, {v} {y}. {s}",
	}
	reposts  = []string{"RT @{o}: {s} {s}", "via @{o} — {s} {s}", "Worth reading, from @{o}: {s}"}
	statuses = []string{
		"status ok | queue={n} | lag={n}s | build {n}", "Heartbeat: all {n} workers healthy, {n} jobs done since the last report.", "[report] uptime {n}h, errors {n}, next check in 30 min",
		"Price check: index at {n}.{n}, change {n} bps", "Weather {w}: {n} degrees, wind {n} km/h", "Daily digest: {n} new posts, {n} replies, top topic {t}.",
	}
	links     = []string{", and yet: ", "; then again, ", ", so ", ". Because: ", " – ", ", while ", ". Also, ", "; meanwhile ", ". Still, ", ", which is odd, for "}
	syllables = []string{"ka", "lo", "mi", "ren", "ta", "vor", "zu", "ble", "cor", "din", "el", "fa", "gri", "hu", "jo", "nim", "os", "pe", "qui", "sal", "tor", "ul", "ve", "wix", "yar"}
	short     = []string{"this", "so true", "+1", "this!", "exactly this", "seconded", "lol same", "big if true", "came here to say this", "felt", "count me in", "following"}
)

// expand appends the form with its slots filled.
func (w *World) expand(b []byte, r *rand.Rand, form, other string) []byte {
	for {
		i := strings.IndexByte(form, '{')
		if i < 0 || i+2 >= len(form) || form[i+2] != '}' {
			return append(b, form...)
		}
		b = append(b, form[:i]...)
		switch form[i+1] {
		case 't':
			b = append(b, pick(r, topics)...)
		case 'a':
			b = append(b, pick(r, adjectives)...)
		case 'v':
			b = append(b, pick(r, verbs)...)
		case 'p':
			b = append(b, pick(r, people)...)
		case 'w':
			b = append(b, pick(r, places)...)
		case 'n':
			b = strconv.AppendInt(b, 2+int64(lognormal(r, 15, 1)), 10)
		case 'x', 'y':
			for range 2 + r.IntN(2) {
				b = append(b, pick(r, syllables)...)
			}
		case 'h':
			for range 40 {
				b = append(b, "0123456789abcdef"[r.IntN(16)])
			}
		case 's':
			b = w.expand(b, r, pick(r, sentences), other)
			for chance(r, 0.5) && b[len(b)-1] == '.' { // of two clauses or more
				b = append(b[:len(b)-1], pick(r, links)...)
				b = w.expand(b, r, pick(r, sentences), other)
			}
		case 'o':
			b = append(b, other...)
		}
		form = form[i+3:]
	}
}

func (w *World) text(r *rand.Rand, form, other string) string {
	w.b = w.expand(w.b[:0], r, form, other)
	return string(w.b)
}

func (w *World) postText(r *rand.Rand, a *agent) string {
	if a.template%9 == 0 { // it always writes in one form
		return w.text(r, posts[a.template%len(posts)], "")
	}
	return w.text(r, pick(r, posts), "")
}

func (w *World) commentText(r *rand.Rand, other string) string {
	return w.text(r, pick(r, comments), other)
}

func (w *World) repostText(r *rand.Rand, other string) string {
	return w.text(r, pick(r, reposts), other)
}

func (w *World) statusText(a *agent) string {
	return w.text(a.rng, statuses[a.template%len(statuses)], a.id)
}

func numberedText(n int) string { return strconv.Itoa(n) }

// vary gives back a text that a reader would call the same: words added at its ends, some exchanged, some marks.
func (w *World) vary(r *rand.Rand, text string) string {
	b := w.b[:0]
	if chance(r, 0.6) {
		b = append(append(b, pick(r, []string{"fyi", "please read", "boosting", "hey all,", "passing this on:", "important,", "saw this:", "reminder:"})...), ' ')
	}
	for i, word := range strings.Fields(text) {
		switch {
		case chance(r, 0.03):
			continue
		case chance(r, 0.04):
			word = strings.ToUpper(word)
		case chance(r, 0.03):
			word += ","
		}
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, word...)
	}
	if chance(r, 0.6) {
		b = append(append(b, ' '), pick(r, []string{"🦞", "!!", "#agents", "(please share)", "thanks", "— sent by me", "👀", "do it now"})...)
	}
	w.b = b
	return string(b)
}
