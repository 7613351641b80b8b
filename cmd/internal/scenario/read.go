package scenario

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
)

// BaseSuffix ends the names of files that others extend and that are no scenarios by themselves.
const BaseSuffix = ".base.yaml"

// Read reads the scenario in a file. The error is of type Problems, with all there are.
func Read(path string) (*Scenario, error) {
	var problems Problems
	s := &Scenario{Path: path, Days: 5, Seeds: []uint64{1}, Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Budget: 1}
	s.read(path, &problems, nil)
	if len(problems) > 0 {
		sortProblems(problems)
		return nil, problems
	}
	return s, nil
}

// read adds what stands in a file. from are the files that led to it.
func (s *Scenario) read(path string, problems *Problems, from []string) {
	p := &page{path, problems}
	stat, err := os.Stat(path)
	if err == nil && stat.Size() > maxFile {
		p.bad(0, "", "is larger than %d bytes", maxFile)
		return
	}
	source, err := os.ReadFile(path)
	if err != nil {
		p.bad(0, "", "%v", err)
		return
	}
	o := p.root(source)
	if o == nil {
		return
	}
	base := len(from) > 0
	if v := o.get("extends"); v != nil {
		if name, ok := v.scalar(); ok {
			other := filepath.Join(filepath.Dir(path), name)
			switch {
			case !strings.HasSuffix(name, BaseSuffix):
				v.bad("names a file that ends in %s", BaseSuffix)
			case slices.Contains(from, other) || other == filepath.Clean(path):
				v.bad("goes in a circle")
			default:
				if _, err := os.Stat(other); err != nil {
					v.bad("%v", err)
					return
				}
				s.read(other, problems, append(from, filepath.Clean(path)))
			}
		}
	}
	if about := o.str("about", ""); !base {
		s.About = about
	}
	s.Days = o.float("days", s.Days, 0.1, maxDays)
	if v := o.get("seeds"); v != nil {
		s.Seeds = nil
		for _, i := range v.items() {
			s.Seeds = append(s.Seeds, uint64(i.whole(0, 1_000_000)))
		}
	}
	if v := o.get("start"); v != nil {
		if t, ok := v.scalar(); ok {
			at, err := time.Parse(time.RFC3339, t)
			if err != nil || at.Year() < 1971 || at.Year() > 2100 {
				v.bad("is no time; write 2026-01-05T00:00:00Z")
			}
			s.Start = at.UTC()
		}
	}
	s.Budget = o.float("budget", s.Budget, 0.001, 1000)
	if v := o.get("detectors"); v != nil {
		s.Detectors = v.detectors()
	}
	if v := o.get("recorded"); v != nil {
		if name, ok := v.scalar(); ok {
			s.Recorded = filepath.Join(filepath.Dir(path), name)
			if _, err := os.Stat(s.Recorded); err != nil {
				v.bad("%v", err)
			}
		}
	}
	if v := o.get("agents"); v != nil {
		s.readAgents(v)
	}
	s.traffic = append(s.traffic, s.activities(o.get("traffic"), false)...)
	s.incident = append(s.incident, s.activities(o.get("incident"), true)...)
	if v := o.get("changes"); v != nil {
		for _, i := range v.items() {
			s.readChange(i)
		}
	}
	v := o.get("expect")
	switch {
	case base && v != nil:
		v.bad("stands in the scenario, not in what it extends")
	case base:
	case v == nil:
		p.bad(0, "expect", "is needed: alerts, or silence")
	default:
		s.readExpect(v)
	}
	o.done()
	if !base && len(*problems) == 0 && len(s.agents) == 0 && s.Recorded == "" {
		p.bad(0, "agents", "there are none, and nothing recorded")
	}
}

func (v *value) detectors() []string {
	var out, known []string
	for _, d := range catalog.All() {
		known = append(known, d.Info().Name)
	}
	for _, i := range v.items() {
		name, ok := i.scalar()
		switch {
		case !ok:
		case !slices.Contains(known, name):
			i.bad("%.40q is no detector; there are %s", name, strings.Join(known, ", "))
		default:
			out = append(out, name)
		}
	}
	return out
}

func (s *Scenario) readAgents(v *value) {
	o := v.object()
	if o == nil {
		return
	}
	for _, name := range o.order {
		g := o.get(name)
		if g == nil {
			continue
		}
		if strings.ContainsAny(name, ". ,*") || name == everybody || s.group(name) != nil {
			g.bad("a group's name is a word, and nobody else's")
			continue
		}
		k := g.object()
		if k == nil {
			continue
		}
		count := k.whole("count", 1, 1, maxAgents)
		joins, _ := k.duration("joins", 0)
		prefix := netip.Prefix{}
		if n := k.get("network"); n != nil {
			if t, ok := n.scalar(); ok {
				var err error
				if prefix, err = netip.ParsePrefix(t); err != nil || !prefix.Addr().Is4() || prefix.Bits() < 8 {
					n.bad("is no block of IPv4 addresses, such as 198.18.0.0/16")
					prefix = netip.Prefix{}
				}
			}
		}
		client := k.str("client", "agent-sdk/1.0")
		cohort, version, owner := k.str("cohort", name), k.str("version", "1"), k.text("owner")
		credential := k.str("credential", "own")
		k.done()
		if len(s.agents)+count > maxAgents {
			g.bad("are more than %d agents with those before", maxAgents)
			return
		}
		s.groups = append(s.groups, group{name, len(s.agents), count})
		var b strings.Builder
		for i := 1; i <= count; i++ {
			a := agent{id: fmt.Sprintf("%s-%d", name, i), i: i, joins: joins, identity: identity{cohort: cohort, version: version, client: client}}
			a.owner = owner.fill(&b, &slots{agent: a.id, i: int64(i), of: int64(count), rng: rand.New(rand.NewPCG(hash(a.id), 1))})
			if prefix.IsValid() {
				a.source = host(prefix, hash(a.id))
			}
			switch credential {
			case "own":
				a.credential = "key-" + a.id
			case "none":
			default:
				a.credential = credential
			}
			s.agents = append(s.agents, a)
		}
	}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

func host(p netip.Prefix, x uint64) string {
	b := p.Masked().Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v |= uint32(x>>32) & (1<<(32-p.Bits()) - 1)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

const everybody = "all"

func (s *Scenario) group(name string) *group {
	for i := range s.groups {
		if s.groups[i].name == name {
			return &s.groups[i]
		}
	}
	return nil
}

// who reads groups, agents and runs of agents: readers, readers-7, readers-1..12, all.
func (s *Scenario) who(o *object) agents {
	v := o.get("who")
	if v == nil {
		o.bad("says who: a group, an agent (readers-7), several (readers-1..12) or all")
		return nil
	}
	return s.named(v)
}

func (s *Scenario) named(v *value) agents {
	var out agents
	for _, i := range v.items() {
		name, ok := i.scalar()
		if !ok {
			continue
		}
		first, many, ok := s.find(name)
		if !ok {
			var names []string
			for _, g := range s.groups {
				names = append(names, fmt.Sprintf("%s (1 to %d)", g.name, g.many))
			}
			i.bad("%.60q is nobody; there are %s", name, strings.Join(names, ", "))
			continue
		}
		for a := first; a < first+many; a++ {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func (s *Scenario) find(name string) (first, many int, ok bool) {
	if name == everybody {
		return 0, len(s.agents), len(s.agents) > 0
	}
	if g := s.group(name); g != nil {
		return g.first, g.many, true
	}
	at := strings.LastIndexByte(name, '-')
	if at < 0 {
		return 0, 0, false
	}
	g := s.group(name[:at])
	from, to, run := strings.Cut(name[at+1:], "..")
	if !run {
		to = from
	}
	lo, err1 := strconv.Atoi(from)
	hi, err2 := strconv.Atoi(to)
	if g == nil || err1 != nil || err2 != nil || lo < 1 || hi < lo || hi > g.many {
		return 0, 0, false
	}
	return g.first + lo - 1, hi - lo + 1, true
}

func (s *Scenario) activities(v *value, incident bool) []activity {
	if v == nil {
		return nil
	}
	var out []activity
	for _, i := range v.items() {
		o := i.object()
		if o == nil {
			continue
		}
		a := activity{who: s.who(o), hours: [2]float64{0, 24}}
		end := time.Duration(s.Days * 24 * float64(time.Hour))
		a.from, a.fromGiven = o.duration("from", 0)
		if incident && !a.fromGiven {
			o.bad("says when it begins: from")
		}
		var untilGiven, lastsGiven bool
		a.until, untilGiven = o.duration("until", end)
		if lasts, ok := o.duration("lasts", 0); ok {
			lastsGiven = true
			a.until = a.from + lasts
		}
		if untilGiven && lastsGiven {
			o.bad("until and lasts exclude each other")
		}
		if a.from > end || a.until < a.from || a.until > end {
			o.bad("from and until lie within the %g days, in this order", s.Days)
		}
		ways := 0
		if w := o.get("sessions"); w != nil {
			a.sessions = w.float(0.01, 20_000)
			ways++
		}
		var given bool
		if a.every, given = o.duration("every", 0); given {
			ways++
			if a.every < 100*time.Millisecond {
				o.pairs["every"].bad("is 100ms or more")
			}
		}
		if w := o.get("times"); w != nil {
			a.times = w.whole(1, 1_000_000)
			ways++
		}
		if ways > 1 {
			o.bad("sessions, every and times exclude each other")
		}
		a.jitter = o.float("jitter", 0, 0, 10)
		a.spread = o.float("spread", 0, 0, 3)
		a.weekends = o.float("weekends", 1, 0, 10)
		a.grows = o.float("grows", 1, 0.01, 1000)
		a.length = o.span("length", span{1, 1}, 1)
		a.gap, _ = o.duration("gap", 5*time.Second)
		a.turns = o.truth("turns")
		if h := o.get("hours"); h != nil {
			if t, ok := h.scalar(); ok {
				var err error
				from, to, _ := strings.Cut(t, "..")
				if a.hours[0], err = strconv.ParseFloat(from, 64); err == nil {
					a.hours[1], err = strconv.ParseFloat(to, 64)
				}
				if err != nil || a.hours[0] < 0 || a.hours[1] <= a.hours[0] || a.hours[1] > 30 {
					h.bad("is no part of the day (UTC), such as 8..18 or 22..30")
					a.hours = [2]float64{0, 24}
				}
			}
		}
		do, steps := o.get("do"), o.get("steps")
		switch {
		case do != nil && steps != nil || do == nil && steps == nil:
			o.bad("says what is done: do (some of the list) or steps (all of it, in order)")
		case steps != nil:
			do, a.steps = steps, true
		}
		if do != nil {
			for _, i := range do.items() {
				x := readOp(i)
				a.shares += x.share
				a.ops = append(a.ops, x)
			}
		}
		o.done()
		out = append(out, a)
	}
	return out
}

func readOp(v *value) op {
	x := op{share: 1}
	o := v.object()
	if o == nil {
		return x
	}
	x.share = o.float("share", 1, 0.0001, 1e6)
	switch kind := o.str("kind", ""); kind {
	case "":
		x.kind = event.APICall
		if o.get("content") != nil {
			x.kind = event.Post
		}
	case "post":
		x.kind = event.Post
	case "api_call":
		x.kind = event.APICall
	default:
		o.pairs["kind"].bad("%.40q is neither post nor api_call", kind)
	}
	if access := o.str("access", ""); access != "" {
		var ok bool
		if x.access, ok = event.ParseAccess(access); !ok {
			o.pairs["access"].bad("%.40q is none of read, write, delete, auth, admin", access)
		}
	}
	for i, name := range textNames {
		x.texts[i] = o.text(name)
	}
	if x.texts[actionText] == nil {
		o.bad("says what is done: action")
	}
	if s := o.get("status"); s != nil {
		x.status = readStatus(s)
	}
	x.request = o.span("request_bytes", span{}, 0)
	x.response = o.span("response_bytes", span{}, 0)
	x.wait, x.waitGiven = o.duration("wait", 0)
	o.done()
	return x
}

// readStatus reads a status, or several with their weights.
func readStatus(v *value) []weighted {
	if n, err := strconv.Atoi(v.node.String()); err == nil {
		if n < 100 || n > 599 {
			v.bad("is from 100 to 599")
		}
		return []weighted{{n, 1}}
	}
	o := v.object()
	if o == nil {
		return nil
	}
	var out []weighted
	for _, name := range o.order {
		n, err := strconv.Atoi(name)
		if w := o.get(name); w != nil {
			if err != nil || n < 100 || n > 599 {
				w.bad("is a status from 100 to 599 with its weight")
			}
			out = append(out, weighted{n, w.float(0, 1e6)})
		}
	}
	return out
}

var settable = []string{"cohort", "owner", "version", "client", "source", "credential"}

func (s *Scenario) readChange(v *value) {
	o := v.object()
	if o == nil {
		return
	}
	c := change{who: s.who(o), set: map[string]text{}}
	var given bool
	if c.at, given = o.duration("at", 0); !given {
		o.bad("says when: at")
	}
	c.until, _ = o.duration("until", time.Duration(s.Days*24*float64(time.Hour)))
	c.over, _ = o.duration("over", 0)
	if c.until < c.at {
		o.bad("until lies before at")
	}
	c.silent = o.truth("silent")
	for _, name := range settable {
		if t := o.text(name); t != nil {
			c.set[name] = t
		}
	}
	if !c.silent && len(c.set) == 0 {
		o.bad("says what changes: silent, %s", strings.Join(settable, ", "))
	}
	o.done()
	s.changes = append(s.changes, c)
}

// begins is when the first incident does, or else the first change.
func (s *Scenario) begins() time.Duration {
	at := time.Duration(-1)
	for _, a := range s.incident {
		if at < 0 || a.from < at {
			at = a.from
		}
	}
	for _, c := range s.changes {
		if len(s.incident) == 0 && (at < 0 || c.at < at) {
			at = c.at
		}
	}
	return max(at, 0)
}

func (s *Scenario) readExpect(v *value) {
	if word, ok := v.node.(*ast.StringNode); ok && word.Value == "silence" {
		return
	}
	o := v.object()
	if o == nil {
		return
	}
	s.Others = o.whole("others", 0, 0, 1000)
	if list := o.get("alerts"); list != nil {
		for _, i := range list.items() {
			x := i.object()
			if x == nil {
				continue
			}
			e := Expectation{Line: i.line(), Since: s.begins()}
			if d := x.get("detector"); d != nil {
				e.Detectors = d.detectors()
			} else {
				x.bad("says whose alert: detector, one or a list of which any will do")
			}
			if w := x.get("agents"); w != nil {
				for _, a := range s.named(w) {
					e.Agents = append(e.Agents, s.agents[a].id)
				}
			} else {
				x.bad("says whom it is about: agents")
			}
			e.Least = x.whole("at_least", len(e.Agents), 1, max(len(e.Agents), 1))
			if d, given := x.duration("since", 0); given {
				e.Since = d
			}
			var given bool
			if e.Within, given = x.duration("within", 0); !given {
				x.bad("says how soon: within")
			}
			for _, word := range x.strs("severity") {
				if !slices.Contains([]string{string(alert.Low), string(alert.Medium), string(alert.High), string(alert.Critical)}, word) {
					x.pairs["severity"].bad("%.40q is none of low, medium, high, critical", word)
				}
				e.Severities = append(e.Severities, word)
			}
			x.done()
			s.Expect = append(s.Expect, e)
		}
	}
	if o.pairs["alerts"] == nil {
		o.bad("holds alerts, or is the word silence")
	}
	o.done()
}
