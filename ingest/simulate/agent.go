package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"

	"github.com/astray-dev/astray/ingest/event"
)

// archetype is the work that an agent does.
type archetype uint8

const (
	heartbeat  archetype = iota // reports its state like clockwork and posts a line now and then
	chatter                     // reads feeds, answers, votes, posts
	indexer                     // reads a lot, for a search engine or an archive
	integrator                  // moves things between several services for somebody
	cron                        // does the same calls at the same times
	monitor                     // asks endpoints whether they are there; many are not
	operator                    // looks after the network, with the rights for it
	archetypes
)

var archetypeNames = [archetypes]string{"heartbeat", "chatter", "indexer", "integrator", "cron", "monitor", "operator"}

// Fields that a producer may leave out.
const (
	cohortField = 1 << iota
	ownerField
	credentialField
	sourceField
	clientField
	sessionField
	methodField
	sizeField
	durationField
	labelField
)

type agent struct {
	i    int32
	kind archetype
	rng  *rand.Rand
	key  uint64 // of the effects of its days

	id, cohort, owner, version string
	credential                 string
	network                    network
	address                    string
	addresses                  []string // what it changes between, from session to session
	client                     string
	principals                 []string
	community                  []string
	tells                      uint16
	errors                     float64 // share of calls that fail

	// rhythm
	join     int64   // nothing before
	zone     int64   // offset of its day
	rate     float64 // sessions a day, or 1/period
	swing    float64 // of day and night, 0 to 1
	weekend  float64 // factor
	length   float64 // median events of a session
	period   int64   // of heartbeats, cron jobs and monitors
	jitter   float64 // of the period, as a share of it
	quick    float64 // factor on the gaps in a session
	growFrom int64
	growTo   int64
	grow     float64 // factor reached at growTo
	muteFrom int64   // silent from here
	muteTo   int64   // to here

	// work
	session  string
	left     int
	batch    bool // the running session is a job
	weights  [9]float64
	tools    []*tool
	favour   []float64 // cumulative weights of tools
	things   int64     // objects it works on are numbered from here
	known    int64     // how many there are
	wide     float64   // a job's factor
	targets  []string  // usual destinations
	cursor   int64
	template int
	lastPost int64
	drift    *drift
	retry    *retry
	busy     [][2]int64 // incidents it is part of
}

type retry struct {
	ev   *event.Event
	left int
	gap  int64
	then int64 // when its work goes on
}

type drift struct {
	from, to int64
	most     float64
	turn     func(w *World, a *agent, r *rand.Rand, ev *event.Event)
}

type network struct {
	asn    uint32
	prefix netip.Addr
	bits   int // that are free at the end
}

var networks = []network{
	{64501, netip.MustParseAddr("198.18.0.0"), 16}, {64502, netip.MustParseAddr("198.19.0.0"), 16},
	{64503, netip.MustParseAddr("203.0.113.0"), 8}, {64504, netip.MustParseAddr("100.64.0.0"), 20},
	{64505, netip.MustParseAddr("100.96.0.0"), 20}, {64506, netip.MustParseAddr("2001:db8:10::"), 32},
	{64507, netip.MustParseAddr("2001:db8:20::"), 32}, {64508, netip.MustParseAddr("192.0.2.0"), 8},
}

// elsewhere are networks that hosts of attackers and newcomers stand in; agents move to them, too.
var elsewhere = []network{
	{64520, netip.MustParseAddr("198.51.100.0"), 8}, {64521, netip.MustParseAddr("100.120.0.0"), 19},
	{64522, netip.MustParseAddr("2001:db8:beef::"), 32}, {64523, netip.MustParseAddr("100.112.0.0"), 18},
	{64524, netip.MustParseAddr("2001:db8:cafe::"), 32},
}

func (n network) host(r *rand.Rand) string {
	x := r.Uint64()
	if n.prefix.Is4() {
		b := n.prefix.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		v |= uint32(x) & (1<<n.bits - 1)
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
	}
	b := n.prefix.As16()
	for i := 0; i < n.bits/8; i++ {
		b[15-i] = byte(x >> (8 * i))
	}
	return netip.AddrFrom16(b).String()
}

var clients = []string{"agent-sdk-python/1.4.2", "agent-sdk-js/2.0.1", "agent-sdk-go/0.9.0", "python-httpx/0.28.1", "node-fetch/3.3.2",
	"clawkit/0.7.3", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/131.0.0.0", "mcp-client/1.12.0", "okhttp/4.12.0"}

var foreignClients = []string{"curl/8.9.1", "python-requests/2.32.3", "Go-http-client/2.0", "aiohttp/3.10.5", "axios/1.7.7", "clawkit/0.6.9"}

// share of the population, the rest being chatters.
var shares = [archetypes]float64{heartbeat: 0.15, indexer: 0.08, integrator: 0.17, cron: 0.10, monitor: 0.03, operator: 0.02}

func (w *World) populate() {
	n := w.cfg.Agents
	w.agents = make([]*agent, n)
	r := w.random(1, 0)
	// Exact shares, shuffled, so that a small world has some of each kind.
	work := make([]archetype, 0, n)
	for k, s := range shares {
		if s == 0 {
			continue
		}
		for range max(1, int(math.Round(s*float64(n)))) {
			work = append(work, archetype(k))
		}
	}
	for len(work) < n {
		work = append(work, chatter)
	}
	r.Shuffle(n, func(i, j int) { work[i], work[j] = work[j], work[i] })

	// A cohort is a team's fleet: one kind of work, and much in common.
	type cohort struct {
		name, version string
		tells         uint16
		network       int
		client        string
		gateway       string
		zone          int64
		tools         []*tool
		number, left  int
	}
	var open [archetypes]*cohort
	cohorts := 0
	for i := range n {
		kind := work[i]
		c := open[kind]
		if c == nil || c.left == 0 {
			cohorts++
			c = &cohort{number: cohorts - 1, left: whole(r, 4, 40), network: r.IntN(len(networks)), client: pick(r, clients),
				zone: int64(pick(r, []float64{-8, -5, -3, 0, 1, 1, 5.5, 8, 9, 10}) * float64(hour))}
			c.name = fmt.Sprintf("%s-%s", pick(r, teams), archetypeNames[kind])
			if cohorts > 12 {
				c.name = fmt.Sprintf("%s-%d", c.name, cohorts)
			}
			c.version = fmt.Sprintf("2025.%d-r%d", whole(r, 9, 12), whole(r, 1, 9))
			c.tells = 1<<10 - 1
			for bit, p := range []float64{0.12, 0.25, 0.08, 0.10, 0.2, 0.3, 0.35, 0.12, 0.3, 0.5} {
				if chance(r, p) {
					c.tells &^= 1 << bit
				}
			}
			if chance(r, 0.12) {
				c.gateway = networks[c.network].host(r)
			}
			c.tools = someTools(r, whole(r, 3, 7))
			open[kind] = c
			w.cohorts = append(w.cohorts, nil)
		}
		c.left--
		a := w.newAgent(int32(i), kind)
		a.cohort, a.version, a.tells, a.zone = c.name, c.version, c.tells, c.zone
		a.network, a.client = networks[c.network], c.client
		q := a.rng
		if chance(q, 0.2) { // deployed on its own
			a.network, a.client = pick(q, networks), pick(q, clients)
		}
		for range pick(q, []int{1, 1, 1, 1, 2, 3, 5}) {
			a.addresses = append(a.addresses, a.network.host(q))
		}
		if c.gateway != "" {
			a.network, a.addresses = networks[c.network], []string{c.gateway}
		}
		a.address = a.addresses[0]
		a.tools = c.tools
		if chance(q, 0.5) {
			a.tools = append(someTools(q, whole(q, 1, 2)), c.tools...)
		}
		a.weigh()
		w.cohorts[c.number] = append(w.cohorts[c.number], int32(i))
		w.agents[i] = a
	}
}

func someTools(r *rand.Rand, n int) []*tool {
	out := make([]*tool, 0, n)
	for _, i := range r.Perm(len(tools))[:n] {
		out = append(out, &tools[i])
	}
	return out
}

// weigh makes some of its tools far more used than others.
func (a *agent) weigh() {
	a.favour = a.favour[:0]
	sum := 0.0
	for range a.tools {
		sum += lognormal(a.rng, 1, 1)
		a.favour = append(a.favour, sum)
	}
}

// addTool gives it a tool with a share of its work that is like those it has.
func (a *agent) addTool(t *tool) {
	a.tools = append(a.tools[:len(a.tools):len(a.tools)], t)
	sum := a.favour[len(a.favour)-1]
	a.favour = append(a.favour, sum+sum/float64(len(a.favour))*between(a.rng, 0.5, 1.5))
}

func (a *agent) tool() *tool {
	u := a.rng.Float64() * a.favour[len(a.favour)-1]
	for i, c := range a.favour {
		if u < c {
			return a.tools[i]
		}
	}
	return a.tools[len(a.tools)-1]
}

func (w *World) newAgent(i int32, kind archetype) *agent {
	r := w.random(2, uint64(i))
	a := &agent{i: i, kind: kind, rng: r, key: r.Uint64()}
	a.id = fmt.Sprintf("%s-%s-%d", pick(r, firstNames), pick(r, lastNames), 10+i)
	a.owner = fmt.Sprintf("org-%04d", r.IntN(1+w.cfg.Agents/3))
	a.credential = a.newCredential()
	a.join = w.start
	if chance(r, 0.10) { // a newcomer
		a.join += int64(between(r, 0.1, 0.8) * float64(w.end-w.start))
	}
	a.swing, a.weekend = between(r, 0.1, 0.95), between(r, 0.35, 1.1)
	a.quick, a.wide = lognormal(r, 1, 0.4), 1
	a.errors = min(lognormal(r, 0.02, 0.7), 0.2)
	a.things, a.known = r.Int64N(900_000), int64(lognormal(r, 60, 0.9))+3
	a.cursor, a.template = r.Int64N(1_000_000), r.IntN(1<<20)
	a.community = []string{pick(r, communities), pick(r, communities), pick(r, communities)}
	for i := range a.weights {
		a.weights[i] = lognormal(r, 1, 0.6)
	}
	for range whole(r, 1, 4) {
		a.targets = append(a.targets, pick(r, companies)+pick(r, domains))
	}
	if kind == integrator && chance(r, 0.4) {
		a.principals = []string{fmt.Sprintf("user-%05d", r.IntN(100_000))}
	}
	switch kind {
	case heartbeat:
		a.period = pick(r, []int64{minute, 2 * minute, 5 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute})
		a.jitter = pick(r, []float64{0.002, 0.01, 0.05, 0.2})
		a.errors /= 4
	case chatter:
		a.rate, a.length = lognormal(r, 8, 0.8), lognormal(r, 12, 0.3)
	case indexer:
		a.rate, a.length = lognormal(r, 8, 0.5), lognormal(r, 120, 0.5)
		a.swing, a.weekend, a.quick = between(r, 0, 0.4), between(r, 0.9, 1.1), a.quick/5
	case integrator:
		a.rate, a.length = lognormal(r, 14, 0.7), lognormal(r, 11, 0.3)
	case cron:
		a.period = pick(r, []int64{15 * minute, 30 * minute, hour, hour, 2 * hour, 6 * hour})
		a.length, a.jitter = float64(whole(r, 3, 14)), 0.001
	case monitor:
		a.period, a.jitter = pick(r, []int64{5 * minute, 10 * minute, 15 * minute}), 0.01
		a.length = float64(whole(r, 3, 9))
	case operator:
		a.rate, a.length = lognormal(r, 5, 0.4), lognormal(r, 8, 0.3)
	}
	return a
}

func (a *agent) newCredential() string {
	return fmt.Sprintf("key_%012x", a.rng.Uint64()&(1<<48-1))
}

// first is the time of its first turn.
func (a *agent) first(w *World) int64 {
	if a.period > 0 {
		return a.join + a.rng.Int64N(a.period)
	}
	return a.nextSession(w, a.join)
}

// busyness is how much of its rate an agent has at t: hour, weekday, the effect of the day, growth, lulls.
func (a *agent) busyness(w *World, t int64) float64 {
	local := t + a.zone
	d := local / day
	h := float64(local%day) / float64(hour)
	f := 1 + a.swing*math.Cos(2*math.Pi*(h-14.5)/24)
	if wd := (d + 4) % 7; wd == 0 || wd == 6 {
		f *= a.weekend
	}
	f *= a.dayEffect(d)
	if a.grow > 0 && t > a.growFrom {
		f *= math.Pow(a.grow, min(float64(t-a.growFrom)/float64(a.growTo-a.growFrom), 1))
	}
	for _, l := range w.lulls {
		if t >= l.from && t < l.to {
			f *= l.factor
		}
	}
	return f
}

// dayEffect has mean 1 and standard deviation 0.5: a gamma variate of shape 4 from four uniform ones.
func (a *agent) dayEffect(d int64) float64 {
	x := mix(a.key ^ uint64(d)*0x9e3779b97f4a7c15)
	sum := 0.0
	for i := range 4 {
		u := (float64(x>>(16*i)&0xffff) + 0.5) / 65536
		sum -= math.Log(u)
	}
	return sum / 4
}

// most bounds busyness, nearly always.
const most = 8

func (a *agent) nextSession(w *World, t int64) int64 {
	top := most * max(1, a.grow)
	scale := float64(day) / (a.rate * top)
	for range 10_000 {
		t += int64(scale * a.rng.ExpFloat64())
		if t >= w.end {
			return never
		}
		if a.rng.Float64()*top < a.busyness(w, t) {
			return t
		}
	}
	return t
}

func (a *agent) step(w *World, t int64, ev *event.Event) (bool, int64) {
	if t >= a.muteFrom && t < a.muteTo {
		a.left, a.retry = 0, nil
		if a.muteTo >= w.end {
			return false, never
		}
		if a.period > 0 {
			skip := (a.muteTo - t + a.period - 1) / a.period
			return false, t + skip*a.period
		}
		return false, a.nextSession(w, a.muteTo)
	}
	if p := a.retry; p != nil {
		w.repeat(ev, p.ev)
		w.fail(ev, t)
		if p.left--; p.left == 0 || ev.Status < 500 {
			a.retry = nil
			return true, max(p.then, t+second)
		}
		p.gap = int64(float64(p.gap) * between(a.rng, 1.2, 2.2))
		return true, t + p.gap
	}
	next := a.work(w, t, ev)
	if d := a.drift; d != nil && t > d.from && chance(a.rng, d.most*min(1, float64(t-d.from)/float64(d.to-d.from))) {
		ev.Reset()
		d.turn(w, a, a.rng, ev)
	}
	if w.fail(ev, t) && next != never {
		p := &retry{ev: ev.Clone(), left: whole(a.rng, 2, 9), gap: int64(lognormal(a.rng, 2, 0.7) * float64(second)), then: next}
		a.retry = p
		return true, t + p.gap
	}
	return true, next
}

// fail makes the call fail if its service is out.
func (w *World) fail(ev *event.Event, t int64) bool {
	if t < w.outage.from || t >= w.outage.to || ev.Service != w.outage.service {
		return false
	}
	ev.Status, ev.ResponseBytes = 503, min(ev.ResponseBytes, 90)
	return true
}

func (w *World) repeat(ev, old *event.Event) {
	*ev = *old.Clone()
	if ev.Status >= 500 {
		ev.Status = 200
	}
}

// work does the next piece of the agent's work and tells when the one after it comes.
func (a *agent) work(w *World, t int64, ev *event.Event) int64 {
	r := a.rng
	switch a.kind {
	case heartbeat:
		a.beat(w, ev)
		return t + max(second, int64(float64(a.period)*(1+a.jitter*r.NormFloat64())))
	case cron, monitor:
		if a.left == 0 {
			a.begin()
			a.left = int(a.length)
			a.cursor = t
		}
		a.left--
		if a.kind == cron {
			a.job(w, ev)
		} else {
			a.ping(w, ev)
		}
		if a.left == 0 {
			return max(t+second, a.cursor+int64(float64(a.period)*(1+a.jitter*r.NormFloat64())))
		}
		return t + span(r, 0.2, 2.5, second)
	}
	if a.left == 0 {
		a.begin()
		a.left = 1 + int(min(lognormal(r, a.length*a.wide, 0.8), 40*a.length*a.wide))
		a.batch = chance(r, 0.4)
	}
	a.left--
	switch a.kind {
	case chatter:
		a.chat(w, ev)
	case indexer:
		a.index(w, ev)
	case integrator:
		a.integrate(w, ev)
	default:
		a.operate(w, ev)
	}
	if a.left == 0 {
		return a.nextSession(w, t)
	}
	var gap float64
	switch u := r.Float64(); {
	case u < 0.25:
		gap = lognormal(r, 0.4, 0.6)
	case u < 0.95 || a.kind == indexer:
		gap = lognormal(r, 5, 1)
	default:
		gap = lognormal(r, 70, 0.8)
	}
	return t + int64(min(gap*a.quick, 3600)*float64(second))
}

func (a *agent) begin() {
	r := a.rng
	if len(a.addresses) > 1 {
		a.address = pick(r, a.addresses)
	}
	if a.tells&sessionField != 0 {
		const hex = "0123456789abcdef"
		var b [14]byte
		copy(b[:], "s-")
		x := r.Uint64()
		for i := 2; i < len(b); i++ {
			b[i] = hex[x&15]
			x >>= 4
		}
		a.session = string(b[:])
	}
}

func (a *agent) beat(w *World, ev *event.Event) {
	r := a.rng
	switch u := r.Float64(); {
	case u < 0.93 || a.template%3 == 0:
		w.call(ev, a, r, &opHeartbeat, "status/"+a.id)
		if a.tells&labelField != 0 {
			ev.Labels = append(ev.Labels, event.Label{Key: "queue", Value: numberedText(r.IntN(40))})
		}
	case u < 0.96:
		w.call(ev, a, r, &opNotice, "inbox/"+a.id)
	default: // the same form every time
		w.call(ev, a, r, &opPostCreate, numbered("post", a.posted(w)))
		w.write(ev, "status", w.statusText(a))
	}
}

func (a *agent) posted(w *World) int64 {
	id := w.newID(a.rng)
	w.publish(id, a.i)
	a.lastPost = id
	return id
}

// chat is one action of a session in the network.
func (a *agent) chat(w *World, ev *event.Event) {
	r := a.rng
	u := r.Float64()
	sum := 0.0
	cum := [9]float64{18, 40, 11, 12, 7, 4, 4, 2, 2}
	for i := range cum {
		sum += cum[i] * a.weights[i]
		cum[i] = sum
	}
	k := 0
	for u*sum > cum[k] {
		k++
	}
	switch k {
	case 0:
		if chance(r, 0.3) {
			w.call(ev, a, r, &opNotice, "inbox/"+a.id)
			return
		}
		c := pick(r, a.community)
		w.call(ev, a, r, &opFeed, "feed/"+c)
		ev.Community = c
	case 1:
		w.call(ev, a, r, &opPostGet, numbered("post", w.recentPost(r).id))
	case 2:
		p := w.recentPost(r)
		w.call(ev, a, r, &opComment, numbered("comment", w.newID(r)))
		ev.ReplyTo = numbered("post", p.id)
		if chance(r, 0.3) {
			ev.Mentions = append(ev.Mentions, w.agents[p.author].id)
		}
		w.write(ev, pick(r, a.community), w.commentText(r, w.agents[p.author].id))
	case 3:
		w.call(ev, a, r, &opVote, numbered("post", w.recentPost(r).id))
	case 4:
		w.call(ev, a, r, &opProfile, "agent/"+w.agents[w.recentPost(r).author].id)
	case 5:
		w.call(ev, a, r, &opPostCreate, numbered("post", a.posted(w)))
		w.write(ev, pick(r, a.community), w.postText(r, a))
	case 6:
		w.call(ev, a, r, &opSearch, "search/"+pick(r, topics))
	case 7:
		p := w.recentPost(r)
		w.call(ev, a, r, &opMessage, "thread/"+w.agents[p.author].id)
		ev.Destination = w.agents[p.author].id
		w.write(ev, "", w.commentText(r, w.agents[p.author].id))
	default:
		p := w.recentPost(r)
		w.call(ev, a, r, &opRepost, numbered("post", a.posted(w)))
		ev.ReplyTo = numbered("post", p.id)
		w.write(ev, pick(r, a.community), w.repostText(r, w.agents[p.author].id))
	}
}

// index reads: either on through the ids, or what is new, or who is there.
func (a *agent) index(w *World, ev *event.Event) {
	r := a.rng
	switch u := r.Float64(); {
	case u < 0.06:
		c := pick(r, communities)
		w.call(ev, a, r, &opFeed, "feed/"+c)
		ev.Community = c
	case u < 0.16:
		w.call(ev, a, r, &opProfile, "agent/"+w.agents[r.IntN(len(w.agents))].id)
	case u < 0.22:
		w.call(ev, a, r, &opSearch, "search/"+pick(r, topics))
	case u < 0.24:
		t := a.tool()
		w.call(ev, a, r, &t.put, numbered(t.put.object, a.things+r.Int64N(a.known)))
		a.sends(ev, t)
	case a.batch:
		a.cursor += 1 + r.Int64N(2)
		w.call(ev, a, r, &opPostGet, numbered("post", a.cursor))
	default:
		w.call(ev, a, r, &opPostGet, numbered("post", w.recentPost(r).id))
	}
}

// thing is an object of its own: mostly one of the few that it uses all the time, now and then a new one.
func (a *agent) thing() int64 {
	r := a.rng
	if chance(r, 0.02) {
		a.known++
		return a.things + a.known - 1
	}
	u := r.Float64()
	return a.things + int64(u*u*u*float64(a.known))
}

func (a *agent) integrate(w *World, ev *event.Event) {
	r := a.rng
	if chance(r, 0.01) {
		w.call(ev, a, r, &opTokenRefresh, "token/"+a.id)
		return
	}
	t := a.tool()
	if chance(r, 0.0003) { // it tries something
		t = &tools[r.IntN(len(tools))]
	}
	switch u := r.Float64(); {
	case u < 0.25:
		w.call(ev, a, r, &t.list, t.name+"/"+t.list.object)
	case u < 0.75:
		w.call(ev, a, r, &t.get, numbered(t.get.object, a.thing()))
	default:
		w.call(ev, a, r, &t.put, numbered(t.put.object, a.thing()))
		a.sends(ev, t)
	}
	if a.tells&labelField != 0 {
		ev.Labels = append(ev.Labels, event.Label{Key: "tool", Value: t.name})
	}
}

// sends names the destination of what it wrote. Now and then a partner is new.
func (a *agent) sends(ev *event.Event, t *tool) {
	if t.destination != "" && a.kind == integrator && chance(a.rng, 0.002) {
		a.targets = append(a.targets, pick(a.rng, companies)+"-"+numberedText(a.rng.IntN(1000))+pick(a.rng, domains))
	}
	switch t.destination {
	case "":
	case "mailbox":
		ev.Destination = "desk@" + pick(a.rng, a.targets)
	case "bucket":
		ev.Destination = "bucket/" + a.targets[0]
	case "channel":
		ev.Destination = "channel/" + pick(a.rng, a.community)
	case "account":
		ev.Destination = "account/" + pick(a.rng, a.targets)
	default:
		ev.Destination = pick(a.rng, a.targets)
	}
}

// job is one call of a cron job: the k-th is always the same one, on today's object.
func (a *agent) job(w *World, ev *event.Event) {
	r := a.rng
	t := a.tools[(a.left+a.template)%len(a.tools)]
	if (a.left+a.template/7)%4 == 0 {
		w.call(ev, a, r, &t.put, numbered(t.put.object, a.things+int64(a.left)))
		a.sends(ev, t)
		return
	}
	op := &t.get
	if a.left%3 == 0 {
		op = &t.list
	}
	w.call(ev, a, r, op, numbered(op.object, a.things+int64(a.left)))
}

// ping asks whether an endpoint is there.
func (a *agent) ping(w *World, ev *event.Event) {
	r := a.rng
	w.call(ev, a, r, &opHealth, numbered("endpoint", a.things+int64(a.left)))
	if a.left%3 == 0 { // it is known to be away
		ev.Status = 404
	}
}

func (a *agent) operate(w *World, ev *event.Event) {
	r := a.rng
	someone := func(object string) string { return object + "/" + w.agents[r.IntN(len(w.agents))].id }
	switch u := r.Float64(); {
	case u < 0.25:
		w.call(ev, a, r, &opUsers, "user/page")
	case u < 0.45:
		w.call(ev, a, r, &opProfile, someone("agent"))
	case u < 0.6:
		w.call(ev, a, r, &opPostGet, numbered("post", w.recentPost(r).id))
	case u < 0.72:
		w.call(ev, a, r, &opRoles, "role/all")
	case u < 0.8:
		w.call(ev, a, r, &opSuspend, someone("user"))
	case u < 0.86:
		w.call(ev, a, r, &opRole, someone("role"))
	case u < 0.91:
		w.call(ev, a, r, &opPolicy, numbered("policy", r.Int64N(12)))
	case u < 0.96:
		w.call(ev, a, r, &opTokens, someone("token"))
	default:
		t := a.tool()
		w.call(ev, a, r, &t.get, numbered(t.get.object, a.thing()))
	}
}
