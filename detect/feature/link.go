package feature

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// What crosses agents is counted where all events that bear on it are seen. In a single partition that is the store of
// the agents themselves. With several, the store of each says in a Link what its events bear on (SetExchange), and a
// store behind the exchange, which holds no agents, counts it (Join). Both count by the same code.

// Link is what one event says about things that agents share: which, and what of the agent it takes to judge it. It is
// small, for most events that have one carry nothing but names.
type Link struct {
	Time                     int64 // of the event, microseconds
	EventID, AgentID, Cohort string
	Refs                     []Ref

	OriginNew             [NumOrigins]bool // as in View
	OriginFresh, Returned bool
	OriginLogP            float32
	Weight                uint8 // hundredths of a move to a new place that the event is, for its source

	// Of a text: the keys of its templates, the hashes of its own id, object and what it answers, and of what the agent
	// has read lately.
	Keys, Phrases     []uint64
	Wording           uint32 // of the text, 0 without phrases
	Objects, Pages    uint16 // of Keys, those of structured objects and those of links
	ID, Object, Reply uint32
	To                uint32 // whom it is to, 0 for everybody
	Reads             [8]uint32
}

// Ref is one thing that agents share.
type Ref struct {
	Kind  EntityKind
	Key   uint64 // hash of its name
	Name  string
	Shown bool // what is done to it is for others to see
}

// refShown marks in the byte of the kind what is Shown.
const refShown = 0x80

const (
	maxRefs    = 8
	maxRefName = 1024 // bytes of a name: objects may be called anything
	// textRoute is where texts go, all of them: one text has several keys, and they are judged together.
	textRoute = 0
)

// SetExchange makes the store say what its events bear on, for an exchange of that many partitions; 0 ends it. What
// agents share is then judged behind the exchange.
func (s *Store) SetExchange(partitions int) { s.exchange, s.shared.away = partitions, partitions > 0 }

// Links yields what the last event bears on, for each partition of the exchange that has to hear of it. The bytes are
// valid inside yield.
func (s *Store) Links(yield func(partition int, data []byte)) {
	l := &s.link
	if s.exchange == 0 || len(l.Refs) == 0 && !l.text() {
		return
	}
	n := uint64(s.exchange)
	refs, keys, phrases := l.Refs, l.Keys, l.Phrases
	done := uint64(0) // bit set of refs that were sent
	for i := -1; i < len(refs); i++ {
		var at uint64 = textRoute
		if i >= 0 {
			if done&(1<<i) != 0 {
				continue
			}
			at = refs[i].Kind.key(refs[i].Key) % n
		}
		s.mates = s.mates[:0]
		for j, r := range refs {
			if done&(1<<j) == 0 && r.Kind.key(r.Key)%n == at {
				s.mates = append(s.mates, r)
				done |= 1 << j
			}
		}
		l.Refs, l.Keys, l.Phrases = s.mates, nil, nil
		if at == textRoute && i < 0 {
			l.Keys, l.Phrases = keys, phrases
		}
		if len(l.Refs) > 0 || l.text() {
			s.linkBuf = l.Append(s.linkBuf[:0])
			yield(int(at), s.linkBuf)
		}
	}
	l.Refs, l.Keys, l.Phrases = refs, keys, phrases
}

// text reports whether the link says something of a text.
func (l *Link) text() bool { return len(l.Keys) > 0 || len(l.Phrases) > 0 }

// refer notes that the event bears on something.
func (s *Store) refer(r Ref) {
	if len(r.Name) > maxRefName {
		r.Name = strings.ToValidUTF8(r.Name[:maxRefName], "")
	}
	if len(s.link.Refs) < maxRefs {
		s.link.Refs = append(s.link.Refs, r)
	}
}

// first reports whether the agent was last seen with something before the window of sec began.
func first(before uint32, sec int64, sc Scale) bool {
	return int64(before)*60 < sec/scaleSeconds[sc]*scaleSeconds[sc]
}

// refers decides which of the things that an event bears on are worth a word: a key, an address and a destination once
// an hour of the agent's use, an operation and an object once a minute.
func (s *Store) refers(v *View, a *Agent, ev *event.Event) {
	l := &s.link
	if len(l.Refs) == 0 && !l.text() {
		return
	}
	l.Time, l.EventID, l.AgentID, l.Cohort = ev.Time, ev.ID, ev.AgentID, a.Cohort.Name
	l.OriginNew, l.OriginFresh, l.Returned, l.OriginLogP = v.OriginNew, v.OriginFresh, v.Returned, float32(v.OriginLogP)
	l.Weight = 0
	if w := moved(v, a); w > 0 {
		l.Weight = uint8(100*w + 0.5)
	}
	if l.text() {
		l.Reads = a.Reads
	}
}

// moved is how much of a move to a new place the event is: a new network alone is a third of one.
func moved(v *View, a *Agent) float32 {
	switch {
	case !v.OriginFresh || !v.OriginNew[Network] || a.Total <= 20:
		return 0
	case v.OriginNew[Client]:
		return 1
	}
	return 0.34
}

// Join counts what a link says and returns the view of it, valid until the next Join. Of the link's strings AgentID is kept. Its agent is a stand-in that has
// no past: what is known of the agent itself stays with its own partition.
func (s *Store) Join(l *Link) *View {
	a := &s.guest
	*a = Agent{ID: l.AgentID, Cohort: &s.guests}
	a.Key = xxhash.Sum64String(l.AgentID)
	a.Reads = l.Reads
	s.guests.Name = l.Cohort
	s.joined = event.Event{ID: l.EventID, AgentID: l.AgentID, Time: l.Time, Cohort: l.Cohort}
	v := &s.view
	*v = View{Event: &s.joined, Agent: a, Fleet: s.fleet, Shared: s.shared, Linked: true,
		OriginNew: l.OriginNew, OriginFresh: l.OriginFresh, Returned: l.Returned, OriginLogP: float64(l.OriginLogP)}
	s.now = max(s.now, l.Time)
	if s.start == 0 {
		s.start = l.Time
	}
	s.fleet.dirty = true
	v.SinceStart = (l.Time - s.start) / micros
	sec := l.Time / micros
	s.aheadOf(l, a.Key)
	for i := range l.Refs {
		r := &l.Refs[i]
		switch r.Kind {
		case Target:
			v.Target, _, _ = s.shared.touch(Target, r.Key, a, sec, r.name)
		case Object:
			e, fresh, _ := s.shared.touch(Object, r.Key, a, sec, r.name)
			if !r.Shown {
				v.gathers(s.shared.gather(actionOf(r.Name), e, fresh))
			}
			v.Object = e
		case Credential:
			s.useKey(v, a, r.Key, sec, r.name)
		case Source:
			v.Source, _, _ = s.shared.touch(Source, r.Key, a, sec, r.name)
			if v.Source != nil && l.Weight > 0 {
				s.shared.bump(v.Source, CrowdChain, sec, float32(l.Weight)/100)
			}
		}
	}
	if l.text() {
		s.joined.Kind = event.Post
		v.Objects, v.Pages, v.Replied = l.Objects, l.Pages, l.Reply != 0
		s.share(v, a, l.Keys, l.ID, l.Object, l.Reply, l.To, sec)
		s.phrases(v, a, l.Phrases, l.Wording, l.ID, l.Object, l.Reply, sec)
	}
	return v
}

func (r *Ref) name() string { return strings.Clone(r.Name) }

// share counts a text among those that have its keys, and tells whether the agent had read one of them. A link is passed on in
// words of their own by those who find it worth reading: it tells how far a text has come when the words are somebody's as well.
func (s *Store) share(v *View, a *Agent, keys []uint64, id, object, reply, to uint32, sec int64) {
	author, mine := uint32(a.Key>>32)|1, handed(a.Key)
	linked, known := uint8(0), false
	var depths [maxTemplates]uint8
	for i, key := range keys {
		kind := Template
		if v.Pages&(1<<i) != 0 {
			kind = Page
		}
		e, fresh, _ := s.shared.touch(kind, key, a, sec, func() string { return templateName(key) })
		if e == nil {
			k := kind.key(key)
			w := s.shared.waiting.get(k)
			if w.posts[0], w.posts[1] = id, object; to != 0 {
				w.posts[2], w.posts[3] = to, w.posts[2]
			}
			s.shared.waiting.set(k, w)
			continue
		}
		for _, p := range e.posts {
			if p.agent == author {
				continue
			}
			if p.id == reply && reply != 0 || p.id == mine || a.hasRead(p.id) {
				depths[i] = max(depths[i], p.depth+1)
			}
		}
		if kind == Page {
			linked = max(linked, depths[i])
			if fresh && depths[i] > 0 {
				s.shared.bump(e, CrowdFresh, sec, -1) // it has the link from another
			}
		} else {
			known = true
		}
		v.Templates[i] = e
	}
	v.NumTemplates = len(keys)
	for i, e := range v.Templates[:v.NumTemplates] {
		if e == nil {
			continue
		}
		depth := depths[i]
		if e.Kind != Page {
			depth = max(depth, linked)
		}
		if depth >= 2 && (e.Kind != Page || known) {
			s.shared.bump(e, CrowdChain, sec, 1)
		}
		e.Depth = max(e.Depth, depth)
		for _, p := range [...]uint32{id, object, to} {
			if p == 0 {
				continue
			}
			if len(e.posts) >= maxSent {
				e.posts = e.posts[:copy(e.posts, e.posts[1:])]
			}
			e.posts = append(e.posts, post{id: p, agent: author, depth: depth})
		}
	}
}

// useKey counts an agent's use of a key, and weighs it when the agent is new to it.
func (s *Store) useKey(v *View, a *Agent, key uint64, sec int64, name func() string) (before uint32) {
	var fresh bool
	v.Credential, fresh, before = s.shared.touch(Credential, key, a, sec, name)
	if !fresh {
		return before
	}
	if v.Credential == nil {
		s.shares.Keys++
		return before
	}
	v.Foreign = true
	// A key that many share is a service's; that a further agent uses it is nothing new.
	known := float64(max(v.Credential.Members()-1, 1))
	rate := (float64(s.shares.Foreign) + 0.5) / (float64(s.shares.Keys) + 50)
	v.ForeignLogP = math.Log(math.Min(rate, 1)) / known
	s.shares.Foreign++
	return before
}

// Bits of a link's flags, beside one for each part of the origin.
const (
	linkFresh = 1 << (NumOrigins + iota)
	linkReturned
	linkText
	linkPhrases
	linkPages
	linkTo

	linkOrigin = linkText - 1 // anything of the origin
)

// Append writes the link.
func (l *Link) Append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, l.Time)
	dst = appendString(dst, l.EventID)
	dst = appendString(dst, l.AgentID)
	dst = appendString(dst, l.Cohort)
	flags := uint64(0)
	for p, is := range l.OriginNew {
		if is {
			flags |= 1 << p
		}
	}
	if l.OriginFresh {
		flags |= linkFresh
	}
	if l.Returned {
		flags |= linkReturned
	}
	if l.text() {
		flags |= linkText
	}
	if len(l.Phrases) > 0 {
		flags |= linkPhrases
	}
	if l.Pages != 0 {
		flags |= linkPages
	}
	if l.To != 0 {
		flags |= linkTo
	}
	dst = binary.AppendUvarint(dst, flags)
	if flags&linkOrigin != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(l.OriginLogP))
		dst = append(dst, l.Weight)
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.Refs)))
	for i := range l.Refs {
		r := &l.Refs[i]
		kind := byte(r.Kind)
		if r.Shown {
			kind |= refShown
		}
		dst = append(dst, kind)
		dst = binary.LittleEndian.AppendUint64(dst, r.Key)
		dst = appendString(dst, r.Name)
	}
	if flags&linkText != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(l.Keys)))
		for _, k := range l.Keys {
			dst = binary.LittleEndian.AppendUint64(dst, k)
		}
		dst = binary.AppendUvarint(dst, uint64(l.Objects))
		for _, h := range [...]uint32{l.ID, l.Object, l.Reply} {
			dst = binary.LittleEndian.AppendUint32(dst, h)
		}
		for _, h := range l.Reads {
			dst = binary.LittleEndian.AppendUint32(dst, h)
		}
	}
	if flags&linkPages != 0 {
		dst = binary.AppendUvarint(dst, uint64(l.Pages))
	}
	if flags&linkTo != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, l.To)
	}
	if flags&linkPhrases != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(l.Phrases)))
		for _, k := range l.Phrases {
			dst = binary.LittleEndian.AppendUint64(dst, k)
		}
		dst = binary.LittleEndian.AppendUint32(dst, l.Wording)
	}
	return dst
}

// maxLinkName bounds a name in a link. Producers' names are bounded by the size of a message only.
const maxLinkName = 1 << 20

// Decode reads what Append wrote, reusing the slices of l. The strings share src's memory: nobody may write to it as long as
// they are in use, and who keeps one clones it.
func (l *Link) Decode(src []byte) error {
	d := &decoder{src: src}
	*l = Link{Refs: l.Refs[:0], Keys: l.Keys[:0], Phrases: l.Phrases[:0]}
	l.Time = d.varint()
	l.EventID, l.AgentID, l.Cohort = d.shared(maxLinkName), d.shared(maxLinkName), d.shared(maxLinkName)
	flags := d.uvarint()
	for p := range l.OriginNew {
		l.OriginNew[p] = flags&(1<<p) != 0
	}
	l.OriginFresh, l.Returned = flags&linkFresh != 0, flags&linkReturned != 0
	if flags&linkOrigin != 0 {
		l.OriginLogP = math.Float32frombits(d.uint32())
		l.Weight = d.byte()
	}
	n := d.uvarint()
	if n > maxRefs {
		d.fail("number of things referred to")
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		kind := d.byte()
		r := Ref{Kind: EntityKind(kind &^ refShown), Key: d.uint64(), Name: d.shared(maxLinkName), Shown: kind&refShown != 0}
		if r.Kind >= NumEntityKinds {
			d.fail("kind of entity")
		}
		l.Refs = append(l.Refs, r)
	}
	if flags&linkText != 0 {
		if n = d.uvarint(); n > maxTemplates {
			d.fail("number of keys")
		}
		for i := uint64(0); i < n && d.err == nil; i++ {
			l.Keys = append(l.Keys, d.uint64())
		}
		l.Objects = uint16(d.uvarint())
		l.ID, l.Object, l.Reply = d.uint32(), d.uint32(), d.uint32()
		for i := range l.Reads {
			l.Reads[i] = d.uint32()
		}
	}
	if flags&linkPages != 0 {
		l.Pages = uint16(d.uvarint())
	}
	if flags&linkTo != 0 {
		l.To = d.uint32()
	}
	if flags&linkPhrases != 0 {
		if n = d.uvarint(); n > sketchBins {
			d.fail("number of phrases")
		}
		for i := uint64(0); i < n && d.err == nil; i++ {
			l.Phrases = append(l.Phrases, d.uint64())
		}
		l.Wording = d.uint32()
	}
	if d.err == nil && len(d.src) > 0 {
		d.fail("length: bytes are left over")
	}
	return d.err
}
