package scenario_test

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/astray-dev/astray/cmd/internal/scenario"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
)

const detectors = "../../../detect"

// Every scenario of every detector does as expected. With the race detector, which makes it ten times as slow, one of each
// detector's is run, with its first seed; make test runs all without.
func TestScenarios(t *testing.T) {
	files, err := scenario.Files(detectors)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	ran := map[string]bool{}
	var lock sync.Mutex
	explained := map[string]bool{}
	t.Cleanup(func() { // when all have run
		for _, d := range catalog.All() {
			if !raced && !t.Failed() && !explained[d.Info().Name] && !d.Info().Ranks {
				t.Errorf("no scenario shows how %s explains itself", d.Info().Name)
			}
		}
	})
	for _, path := range files {
		if dir := filepath.Dir(path); raced && ran[dir] {
			continue
		} else {
			ran[dir] = true
		}
		name, _ := filepath.Rel(detectors, path)
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			t.Parallel()
			s, err := scenario.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			seeds := s.Seeds
			if raced {
				seeds = seeds[:1]
			}
			for _, seed := range seeds {
				o, err := s.Run(t.Context(), seed)
				if err != nil {
					t.Fatal(err)
				}
				if len(o.Failures) > 0 {
					t.Errorf("%s\n%s", s.About, o)
				}
				for i := range o.Alerts {
					checkExplanation(t, &o.Alerts[i])
					lock.Lock()
					explained[o.Alerts[i].Detector] = true
					lock.Unlock()
				}
			}
		})
	}
}

// checkExplanation holds an alert against what an analyst is promised: evidence in the order of contributions that sum to
// the score; a reason of at most three sentences with numbers, what would have been normal, and what to check next.
func checkExplanation(t *testing.T, a *alert.Alert) {
	t.Helper()
	sum := 0.0
	for i, e := range a.Evidence {
		if sum += e.Contribution; e.Contribution < 0 || i > 0 && e.Contribution > a.Evidence[i-1].Contribution+1e-9 {
			t.Errorf("%s: evidence %d counts for %g, the one before for %g", a.Detector, i, e.Contribution, a.Evidence[max(i-1, 0)].Contribution)
		}
	}
	if len(a.Evidence) == 0 || math.Abs(sum-a.Score) > 1e-9*a.Score {
		t.Errorf("%s: %d pieces of evidence sum to %g of a score of %g", a.Detector, len(a.Evidence), sum, a.Score)
	}
	text, next := a.Reason, ""
	for _, d := range catalog.All() {
		if d.Info().Name == a.Detector {
			next = d.Info().Next
		}
	}
	if text, ok := strings.CutSuffix(text, " "+next); !ok || next == "" || strings.Count(next, ".") != 1 || !strings.HasSuffix(next, ".") {
		t.Errorf("%s: %q does not end with the one sentence on what to check next", a.Detector, text)
	}
	if n := len(sentenceEnd.FindAllString(text, -1)); n > 3 {
		t.Errorf("%s: %d sentences: %s", a.Detector, n, text)
	}
	if !number.MatchString(text) || !normal.MatchString(text) {
		t.Errorf("%s: no number, or not what would have been normal: %s", a.Detector, text)
	}
	if r := []rune(text)[0]; unicode.IsLower(r) {
		t.Errorf("%s: begins in the middle: %s", a.Detector, text)
	}
	if len(text) > 700 || strings.ContainsFunc(text+a.Title, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%s: too long, or not plain: %q", a.Detector, text)
	}
}

var (
	sentenceEnd = regexp.MustCompile(`\.( |$)`)
	number      = regexp.MustCompile(`[0-9]`)
	normal      = regexp.MustCompile(`past says|would have been normal|of its kind show|a chance of (less than )?1 in|is harmless once in|the longest was`)
)

// Each detector has a scenario in which it catches, and two in which it stays silent, in its own directory. One that only
// ranks has the silences: it never alerts.
func TestEachDetectorHasScenarios(t *testing.T) {
	files, err := scenario.Files(detectors)
	if err != nil {
		t.Fatal(err)
	}
	catches, silences := map[string]int{}, map[string]int{}
	for _, path := range files {
		s, err := scenario.Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		room := filepath.Base(filepath.Dir(filepath.Dir(path)))
		if len(s.Expect) == 0 {
			silences[room]++
		}
		for _, x := range s.Expect {
			if slices.ContainsFunc(x.Detectors, func(d string) bool { return strings.HasPrefix(d, room) }) {
				catches[room]++
				break
			}
		}
	}
	for _, d := range catalog.All() {
		room, _, _ := strings.Cut(d.Info().Name, "-")
		if catches[room] < 1 && !d.Info().Ranks || silences[room] < 2 {
			t.Errorf("detect/%s/testdata: %d catches and %d silences", room, catches[room], silences[room])
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with a file is said with its line and key, all of it at once.
func TestProblemsNameLineAndKey(t *testing.T) {
	path := write(t, "wrong.yaml", `about: wrong
days: 400
seed: 3
agents:
  readers: {count: 3, network: 10.0.0.0/33, colour: red}
traffic:
  - who: readers-4
    sessions: 3
    every: 5m
    do:
      - {action: "post.get", resource: "post/{1..}", status: {2: 1}, acess: read}
  - who: writers
    from: 2 weeks
incident:
  - who: all
    steps: [{resource: x}]
changes:
  - {who: readers, at: 1d}
expect:
  alerts:
    - {detector: scrapping, agents: readers-1, within: 5m, within: 6m}
    - {agents: readers}
`)
	_, err := scenario.Read(path)
	if err == nil {
		t.Fatal("no problems")
	}
	got := strings.ReplaceAll(err.Error(), path, "wrong.yaml")
	const want = `wrong.yaml:2: days: is from 0.1 to 120
wrong.yaml:3: seed: is no key; did you mean seeds?
wrong.yaml:5: agents.readers.network: is no block of IPv4 addresses, such as 198.18.0.0/16
wrong.yaml:5: agents.readers.colour: is no key; here stand client, cohort, count, credential, joins, network, owner, version
wrong.yaml:7: traffic[1].who: "readers-4" is nobody; there are readers (1 to 3)
wrong.yaml:7: traffic[1]: sessions, every and times exclude each other
wrong.yaml:11: traffic[1].do[1].resource: {1..}: is not like {1..500}
wrong.yaml:11: traffic[1].do[1].status.2: is a status from 100 to 599 with its weight
wrong.yaml:11: traffic[1].do[1].acess: is no key; did you mean access?
wrong.yaml:12: traffic[2].who: "writers" is nobody; there are readers (1 to 3)
wrong.yaml:12: traffic[2]: says what is done: do (some of the list) or steps (all of it, in order)
wrong.yaml:13: traffic[2].from: "2 weeks" is no span of time; write 90s, 20m, 3d or 3d 10h 20m
wrong.yaml:15: incident[1]: says when it begins: from
wrong.yaml:16: incident[1].steps[1]: says what is done: action
wrong.yaml:18: changes[1]: says what changes: silent, cohort, owner, version, client, source, credential
wrong.yaml:21: expect.alerts[1].within: stands twice; first in line 21
wrong.yaml:21: expect.alerts[1].detector: "scrapping" is no detector; there are awakening, beaconing, burst, coordination, credential-misuse, detour, drift, exfiltration, lateral-movement, probing, scraping, secret-exposure, silence, worm
wrong.yaml:22: expect.alerts[2]: says whose alert: detector, one or a list of which any will do
wrong.yaml:22: expect.alerts[2]: says how soon: within`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFilesThatAreNoScenarios(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "is empty",
		"[1":                         "is not YAML",
		"a: 1\n---\nb: 2":            "a second document",
		"- 1":                        "holds keys",
		"about: x":                   "expect: is needed",
		"extends: x.yaml":            "names a file that ends in .base.yaml",
		"extends: missing.base.yaml": "no such file",
		"expect: silence":            "agents: there are none",
		"expect: noise":              "holds keys",
	} {
		if _, err := scenario.Read(write(t, "s.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	loop := write(t, "loop.base.yaml", "extends: loop.base.yaml\n")
	if _, err := scenario.Read(loop); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("%v", err)
	}
}

const small = `about: a flood by one of many
days: 5
agents:
  readers: {count: 30, network: 198.18.0.0/16}
traffic:
  - {who: readers, sessions: 20, length: 1..4, do: [{action: post.get, service: posts, resource: "post/{1..5000}x"}]}
incident:
  - {who: readers-3, from: 4d 9h, lasts: 10m, times: TIMES, do: [{action: post.get, service: posts, resource: "post/{1..900000}x"}]}
`

// A failure says what was expected, what came, and how far a silent detector was from an alert.
func TestFailureExplainsItself(t *testing.T) {
	for _, c := range []struct {
		name, times, expect string
		want                []string
	}{
		{"too weak", "8", "expect: {alerts: [{detector: scraping, agents: readers-3, within: 10m}]}",
			[]string{"s.yaml:9 (seed 1)\n- scraping about readers-3 within 10m from 4d 9h\n+ no such alert\n+ scraping scored ", " where ", " were needed: ", "and its share of the budget is 8.3e-05"}},
		{"not foreseen", "600", "expect: silence",
			[]string{"s.yaml (seed 1)\n- silence\n+ scraping about readers-3 at 4d 9h"}},
		{"somebody else", "600", "expect: {alerts: [{detector: scraping, agents: readers-4, within: 10m}]}",
			[]string{"- scraping about readers-4", "+ no such alert", "- no other alert\n+ scraping about readers-3 at 4d 9h"}},
		{"by another detector", "600", "expect: {alerts: [{detector: worm, agents: readers-3, within: 10m}]}",
			[]string{"+ worm saw nothing to speak of\n+ by another detector: scraping about readers-3 at 4d 9h"}},
		{"too early", "600", "expect: {alerts: [{detector: scraping, agents: readers-3, since: 4d 10h, within: 10m}]}",
			[]string{"+ before anything happened: scraping about readers-3"}},
		{"of another weight", "600", "expect: {alerts: [{detector: scraping, agents: readers-3, within: 10m, severity: low}]}",
			[]string{"severity low\n", "+ of severity high: "}},
		{"as it should be", "600", "expect: {alerts: [{detector: scraping, agents: readers-3, within: 10m}]}", nil},
	} {
		s, err := scenario.Read(write(t, "s.yaml", strings.Replace(small, "TIMES", c.times, 1)+c.expect+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Run(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		got := o.String()
		if c.want == nil && got != "" {
			t.Errorf("%s: %s", c.name, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: got\n%s\nwithout %q", c.name, got, w)
			}
		}
	}
}

// Equal files and seeds give equal events; what is added later leaves what was there as it was.
func TestSameSeedSameEvents(t *testing.T) {
	text := strings.Replace(small, "TIMES", "50", 1) + "expect: silence\n"
	run := func(text string, seed uint64) *scenario.Outcome {
		s, err := scenario.Read(write(t, "s.yaml", text))
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Run(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	a, b, other := run(text, 1), run(text, 1), run(text, 2)
	if a.Margins() != b.Margins() || len(a.Failures) != len(b.Failures) || a.Events != b.Events || a.Margins() == "" {
		t.Errorf("two runs differ:\n%s\n%s", a.Margins(), b.Margins())
	}
	if a.Margins() == other.Margins() {
		t.Error("the seed changes nothing")
	}
}
