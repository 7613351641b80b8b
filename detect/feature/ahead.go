package feature

import (
	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
)

// block is how many events Ahead takes at a time: what it brings in has to stay in the second-level cache until it is used.
const block = 16

// Ahead reads from memory what the next events will need, changes nothing, and returns how many events it took. Of many agents
// each event finds its agent's state out of the caches, some twenty lines one after the other; here the lines of all
// agents of the block are asked for at once, so that the waits overlap.
func (s *Store) Ahead(events []event.Event) int {
	if len(events) > block {
		events = events[:block]
	}
	if len(s.agents.slots) == 0 {
		return len(events)
	}
	var keys [block]uint64
	var agents [block]*Agent
	mask := uint64(len(s.agents.slots) - 1)
	sum := uint64(0)
	for i := range events {
		keys[i] = xxhash.Sum64String(events[i].AgentID)
		sum += s.agents.slots[keys[i]&mask].key
	}
	for i := range events {
		if agents[i] = s.agents.get(keys[i]); agents[i] != nil {
			sum += agents[i].touch()
		}
	}
	for i := range events {
		ev, a := &events[i], agents[i]
		if a == nil {
			continue
		}
		if ev.Resource != "" && ev.Access == event.Read {
			sum += a.resources.Near(xxhash.Sum64String(ev.Resource))
		}
		sum += a.values.Warm()
		if ev.CredentialID != "" {
			sum += s.shared.near(Credential.key(xxhash.Sum64String(ev.CredentialID)))
		}
		if ev.SourceIP != "" {
			sum += s.shared.near(Source.key(xxhash.Sum64String(ev.SourceIP)))
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
