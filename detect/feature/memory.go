package feature

import (
	"cmp"
	"slices"
	"unsafe"
)

// A store holds what it is given until its owner takes it out: State, Remove and Restore move an agent to wherever the
// owner keeps those that are not seen for long, and back, without loss. Oldest tells which they are.

// Bounds of what agents share when there is no other limit.
const (
	entityBytes  = 1300 // about what an entity takes
	waitingBytes = 52
	maxCohorts   = 4096 // names of cohorts; agents of further ones are of the one without a name
)

// Limit bounds the memory for what agents share to about a half of bytes; 0 leaves it to the package's own bounds.
func (s *Store) Limit(bytes int64) {
	if bytes > 0 {
		s.shared.maxEntities = int(min(maxEntities, max(64, bytes/3/entityBytes)))
		s.shared.maxWaiting = int(min(maxWaiting, max(64, bytes/6/waitingBytes)))
	}
}

// size is about how much memory the agent takes, its place in the table included.
func (a *Agent) memory() int32 {
	return int32(unsafe.Sizeof(*a)) + int32(len(a.ID)+a.resources.Bytes()+a.values.Bytes()+a.everReadBytes()) + 96 // and what its owner remembers
}

// weigh keeps the sum of the agents' sizes.
func (s *Store) weigh(a *Agent) {
	if n := a.memory(); n != a.size {
		s.agentBytes += int64(n - a.size)
		a.size = n
	}
}

// AgentBytes is about how much memory the agents take.
func (s *Store) AgentBytes() int64 { return s.agentBytes }

// SharedBytes is about how much memory takes what agents share.
func (s *Store) SharedBytes() int64 {
	return int64(s.shared.entities.len())*entityBytes + int64(s.shared.waiting.len())*waitingBytes
}

// Holds reports whether the store holds the agent with that key.
func (s *Store) Holds(key uint64) bool { return s.agents.at(key) != nil }

// ByKey returns the agent with that key, nil when the store does not hold it.
func (s *Store) ByKey(key uint64) *Agent { return s.agents.get(key) }

// AppendState appends the agent's state, as Checkpoint would yield it.
func (a *Agent) AppendState(dst []byte) []byte { return a.append(append(dst, Version)) }

// Dirty reports whether the agent has changed since the last checkpoint.
func (a *Agent) Dirty() bool { return a.dirty }

// SetDirty says that the agent's state has not been saved.
func (a *Agent) SetDirty() { a.dirty = true }

// Remove takes an agent out of the store.
func (s *Store) Remove(a *Agent) {
	if s.agents.get(a.Key) == a {
		s.agentBytes -= int64(a.size)
		s.agents.remove(a.Key)
	}
}

// add puts an agent into the store, in the place of one with the same key.
func (s *Store) add(a *Agent) {
	if old := s.agents.get(a.Key); old != nil {
		s.Remove(old)
	}
	a.size = 0
	s.agents.set(a.Key, a)
	s.weigh(a)
}

// Oldest returns all agents in the order in which they were last seen, by event time and key.
func (s *Store) Oldest() []*Agent {
	all := make([]*Agent, 0, s.agents.len())
	for _, a := range s.agents.all {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b *Agent) int { return cmp.Or(cmp.Compare(a.Last, b.Last), cmp.Compare(a.Key, b.Key)) })
	return all
}
