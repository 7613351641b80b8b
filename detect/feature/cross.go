package feature

import (
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/similarity"
)

// cross counts the event with what agents share. What failed by the server's fault makes no crowd at a target.
func (s *Store) cross(v *View, a *Agent, ev *event.Event, sec int64, failed bool) {
	sh := s.shared
	away := s.exchange > 0
	if away {
		s.link.Refs, s.link.Keys, s.link.Phrases = s.link.Refs[:0], s.link.Keys[:0], s.link.Phrases[:0]
		s.words = s.words[:0]
	}
	if ev.Service != "" && ev.Service != "unknown" && !failed {
		key := s.hash.service*31 + s.hash.action
		name := func() string { return ev.Action + " " + ev.Service }
		var before uint32
		v.Target, _, before = sh.touch(Target, key, a, sec, name)
		v.hourly, v.customary = first(before, sec, Hour), before != 0
		if away && first(before, sec, Minute) {
			s.refer(Ref{Kind: Target, Key: key, Name: s.spaced(ev.Action, ev.Service)})
		}
	}
	if ev.Access >= event.Write {
		on, h := ev.Resource, s.hash.resource
		if ev.ReplyTo != "" {
			on, h = ev.ReplyTo, xxhash.Sum64String(ev.ReplyTo)
		}
		// What is done to an object, and what is sent to somebody.
		for i, on := range [...]string{ev.Destination, on} {
			if on == "" {
				continue
			}
			key := [...]uint64{s.hash.destination, h}[i]*31 + s.hash.action
			name := func() string { return ev.Action + " " + on }
			e, fresh, before := sh.touch(Object, key, a, sec, name)
			if ev.Kind != event.Post && !away {
				v.gathers(sh.gather(s.hash.action, e, fresh))
			}
			v.Object = e
			if away && first(before, sec, Minute) {
				s.refer(Ref{Object, key, s.spaced(ev.Action, on), ev.Kind == event.Post})
			}
		}
	}
	if ev.CredentialID != "" {
		key := s.hash.credential
		before := s.useKey(v, a, key, sec, func() string { return strings.Clone(ev.CredentialID) })
		if away && (v.OriginFresh || first(before, sec, Hour)) {
			s.refer(Ref{Kind: Credential, Key: key, Name: ev.CredentialID})
		}
	}
	if ev.SourceIP != "" {
		key := s.hash.source
		var before uint32
		v.Source, _, before = sh.touch(Source, key, a, sec, func() string { return strings.Clone(ev.SourceIP) })
		if w := moved(v, a); v.Source != nil && w > 0 {
			sh.bump(v.Source, CrowdChain, sec, w)
		}
		if away && (v.OriginFresh || first(before, sec, Hour)) {
			s.refer(Ref{Kind: Source, Key: key, Name: ev.SourceIP})
		}
	}
	if ev.Destination != "" && v.DestinationSurprise >= surprising-1 {
		key := s.hash.destination
		v.Drop, _, _ = sh.touch(Drop, key, a, sec, func() string { return strings.Clone(ev.Destination) })
		if v.Drop != nil {
			v.Converging = v.Drop.Members() - 1
		}
	}
	if ev.Kind == event.Post && len(ev.Content) >= similarity.MinSegment {
		s.templates(v, a, ev, sec)
	}
	if away {
		s.refers(v, a, ev)
		v.Foreign, v.ForeignLogP = false, 0
		v.Object, v.Credential, v.Source, v.Gathered = nil, nil, nil, Gathering{}
	}
}

// spaced is two words with a space between them, for a Ref: it is valid until the next event.
func (s *Store) spaced(a, b string) string {
	n := len(s.words)
	s.words = append(append(append(s.words, a...), ' '), b...)
	return unsafe.String(&s.words[n], len(s.words)-n) // not empty: there is the space
}

func (s *Shared) bump(e *Entity, c Crowd, sec int64, w float32) {
	for sc := range NumScales {
		if sec/scaleSeconds[sc] == e.window[sc] {
			e.cells[sc][c].cur += w
		}
	}
}

// templates finds what the text has in common with others', and whether the agent had read one of them.
func (s *Store) templates(v *View, a *Agent, ev *event.Event, sec int64) {
	s.mask.Sign(ev.Content, &s.sig)
	id := uint32(xxhash.Sum64String(ev.ID)>>32) | 1
	object := uint32(0)
	if ev.Resource != "" {
		object = uint32(s.hash.resource>>32) | 1
	}
	reply := uint32(0)
	if ev.ReplyTo != "" {
		reply = uint32(xxhash.Sum64String(ev.ReplyTo)>>32) | 1
	}
	to := addressee(ev)
	if s.exchange > 0 {
		l := &s.link
		l.Keys = append(l.Keys, s.sig.Keys[:s.sig.N]...)
		l.Objects, l.Pages, l.ID, l.Object, l.Reply, l.To = s.sig.Objects, s.sig.Links, id, object, reply, to
		l.Phrases, l.Wording = append(l.Phrases, s.sig.Phrases[:s.sig.NumPhrases]...), s.sig.Wording
		return
	}
	v.Replied = reply != 0
	v.Objects, v.Pages = s.sig.Objects, s.sig.Links
	s.share(v, a, s.sig.Keys[:s.sig.N], id, object, reply, to, sec)
	s.phrases(v, a, s.sig.Phrases[:s.sig.NumPhrases], s.sig.Wording, id, object, reply, sec)
}

// addressee is the hash of whom a message is to, 0 for what is to everybody: the agent mentioned first, or the one that the object
// ("dm/agent") or the destination is named after.
func addressee(ev *event.Event) uint32 {
	to := ev.Destination
	switch {
	case len(ev.Mentions) > 0:
		to = ev.Mentions[0]
	case to == "":
		to = ev.Resource
	}
	if to = to[strings.LastIndexByte(to, '/')+1:]; to == "" {
		return 0
	}
	return handed(xxhash.Sum64String(to))
}

// handed is what stands among the posts of a text that an agent was sent.
func handed(agent uint64) uint32 { return uint32(agent*saltKey>>32) | 1 }

// hasRead reports whether the agent has read the object lately. Resources name their kind before the id
// ("post/123"); a post that is known by its event's id alone is not found that way.
func (a *Agent) hasRead(h uint32) bool {
	for _, r := range a.Reads {
		if r == h {
			return true
		}
	}
	return false
}
