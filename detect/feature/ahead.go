package feature

import (
	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// hashes are of those strings of an event that are looked up in more than one place.
type hashes struct {
	of                                                                *event.Event
	agent, service, action, resource, destination, credential, source uint64
}

func (h *hashes) take(ev *event.Event) {
	*h = hashes{of: ev, agent: hash(ev.AgentID), service: hash(ev.Service), action: hash(ev.Action), resource: hash(ev.Resource),
		destination: hash(ev.Destination), credential: hash(ev.CredentialID), source: hash(ev.SourceIP)}
}

// hash is xxhash.Sum64String: many fields are empty.
func hash(s string) uint64 {
	if s == "" {
		return 0xef46db3751d8e999
	}
	return xxhash.Sum64String(s)
}

// hashed returns the hashes of the event, which Ahead has taken as a rule.
func (s *Store) hashed(ev *event.Event) *hashes {
	for i := range s.ahead {
		if h := &s.ahead[i]; h.of == ev {
			s.ahead = s.ahead[i+1:]
			return h
		}
	}
	s.own.take(ev)
	return &s.own
}

// block is how many events Ahead takes at a time: what it brings in has to stay in the second-level cache until it is used.
const block = 16

// Ahead reads from memory what the next events will need, and returns how many events it took. They must stay as they are until
// they are counted or Ahead is called again. Of many agents each event finds its agent's state out of the caches, some twenty lines
// one after the other; here the lines of all agents of the block are asked for at once, so that the waits overlap.
func (s *Store) Ahead(events []event.Event) int {
	if len(events) > block {
		events = events[:block]
	}
	s.ahead = s.hashes[:len(events)]
	for i := range events {
		s.ahead[i].take(&events[i])
	}
	if len(s.agents.slots) == 0 {
		return len(events)
	}
	var agents [block]*Agent
	mask := uint64(len(s.agents.slots) - 1)
	sum := uint64(0)
	for i := range events {
		sum += s.agents.slots[s.ahead[i].agent&mask].key
	}
	for i := range events {
		if agents[i] = s.agents.get(s.ahead[i].agent); agents[i] != nil {
			sum += agents[i].touch()
		}
	}
	for i := range events {
		ev, a, h := &events[i], agents[i], &s.ahead[i]
		if a == nil {
			continue
		}
		if ev.Resource != "" && ev.Access == event.Read {
			sum += a.resources.Near(h.resource)
		}
		sum += a.values.Warm()
		if ev.CredentialID != "" {
			sum += s.shared.near(Credential.key(h.credential))
		}
		if ev.SourceIP != "" {
			sum += s.shared.near(Source.key(h.source))
		}
	}
	s.warm = sum
	return len(events)
}

// touch reads a word of each line of the agent that most events need.
func (a *Agent) touch() uint64 {
	sum := uint64(len(a.ID)) + a.Key + a.Live + uint64(a.ReadAt) + uint64(a.Origin.Network) + uint64(a.Gap.N) + uint64(a.Mix.Count) + uint64(a.Reported) + uint64(a.size)
	for i := 0; i < numCells; i += 4 {
		sum += uint64(a.Cells[i].Cur)
	}
	return sum
}

// aheadOf reads from memory what Join will look up for a link, a text's phrases above all, so that the waits overlap.
func (s *Store) aheadOf(l *Link, agent uint64) {
	var keys [maxRefs + maxTemplates + sketchBins]uint64
	n := 0
	for i := range l.Refs {
		keys[n] = l.Refs[i].Kind.key(l.Refs[i].Key)
		n++
	}
	for i, k := range l.Keys {
		if keys[n] = Template.key(k); l.Pages&(1<<i) != 0 {
			keys[n] = Page.key(k)
		}
		n++
	}
	for _, k := range l.Phrases {
		keys[n] = Phrase.key(k)
		n++
	}
	sum := uint64(0)
	for _, k := range keys[:n] {
		sum += s.shared.near(k)
	}
	for _, k := range keys[:n] {
		sum += s.shared.member(k, agent)
	}
	s.warm = sum
}

// member reads where an agent is looked for among those that share the value of the key.
func (s *Shared) member(key, agent uint64) uint64 {
	e := s.entities.get(key)
	if e == nil {
		return 0
	}
	return uint64(e.Last) + e.members.Near(agent)
}

// near reads where a value that agents share is looked for.
func (s *Shared) near(key uint64) (sum uint64) {
	if n := len(s.entities.slots); n > 0 {
		sum = s.entities.slots[key&uint64(n-1)].key
	}
	if n := len(s.waiting.slots); n > 0 {
		sum += s.waiting.slots[key&uint64(n-1)].key
	}
	return sum
}
