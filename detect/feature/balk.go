package feature

import (
	"encoding/binary"

	"github.com/astray-dev/astray/ingest/event"
)

// An operation that is retired, or that a team has lost the right to, fails for everybody who goes on calling it. That is no
// probing: who probes fails alone. An operation therefore remembers the agents whose calls of it fail, one after the other and
// for one thing after the other; what fails for several others within a day is not counted of an agent.

// balk is an agent that an operation fails for.
type balk struct {
	agent, minute uint32
	resource      uint32 // hash of the last: what is asked for again and again fails once
	run           uint8  // calls that have failed since the last that has not; 0 for one that none has succeeded of
}

const (
	maxBalks   = 8
	balkRun    = 3    // failures in a row that are no chance
	balkAgents = 2    // others that must have had them
	balkAge    = 1440 // minutes
)

// answered takes note of how a call ended, and reports whether it fails for others as well. known says that the agent has called
// the operation before: what was never open to it has not been closed.
func (e *Entity) answered(agent, minute, resource uint32, known, failed bool) (common bool) {
	own, oldest, others := -1, 0, 0
	for i := range e.balks {
		b := &e.balks[i]
		if b.agent == agent {
			own = i
		} else if b.run >= balkRun && b.minute+balkAge >= minute {
			others++
		}
		if b.minute < e.balks[oldest].minute {
			oldest = i
		}
	}
	switch {
	case !failed && own >= 0:
		e.balks = append(e.balks[:own], e.balks[own+1:]...)
	case !failed:
	case own >= 0:
		b := &e.balks[own]
		if known = b.run > 0; known && b.resource != resource {
			b.run = min(b.run+1, 200)
		}
		b.resource, b.minute = resource, max(b.minute, minute)
	default:
		b := balk{agent: agent, minute: minute, resource: resource}
		if known {
			b.run = 1
		}
		if len(e.balks) < maxBalks {
			e.balks = append(e.balks, b)
		} else {
			e.balks[oldest] = b
		}
	}
	return failed && known && others >= balkAgents
}

// asked reports whether the agent has asked for something in vain just before, and remembers that it has.
func (a *Agent) asked(h uint32) bool {
	for _, r := range a.Refused {
		if r == h {
			return true
		}
	}
	a.Refused[a.RefuseAt] = h
	a.RefuseAt = (a.RefuseAt + 1) % uint8(len(a.Refused))
	return false
}

func (e *Entity) appendBalks(dst []byte) []byte {
	dst = append(dst, byte(len(e.balks)))
	for _, b := range e.balks {
		for _, x := range [...]uint32{b.agent, b.minute, b.resource} {
			dst = binary.LittleEndian.AppendUint32(dst, x)
		}
		dst = append(dst, b.run)
	}
	return dst
}

func (e *Entity) decodeBalks(d *decoder) {
	n := int(d.byte())
	if n > maxBalks {
		d.fail("number of agents that an operation fails for")
		return
	}
	for range n {
		e.balks = append(e.balks, balk{d.uint32(), d.uint32(), d.uint32(), d.byte()})
	}
}

// refused counts what was denied to the agent and what it did not find, unless it is the operation's fault or the key's: one
// that has run out opens nothing, however often it is tried.
func (s *Store) refused(v *View, a *Agent, ev *event.Event, in *[NumScales]bool, minute uint32) {
	denied := ev.Status == 401 || ev.Status == 403 || ev.Status == 407
	missing := ev.Status == 404 || ev.Status == 410
	failed, common := denied || missing, false
	if t := v.Target; t != nil && (failed || len(t.balks) > 0) {
		resource := uint32(0) // of what has not failed nobody asks
		if failed {
			resource = uint32(s.hash.resource)
		}
		common = t.answered(uint32(a.Key>>32)|1, minute, resource, v.customary, failed)
	}
	if malformed := ev.Status == 400 || ev.Status == 405 || ev.Status == 414 || ev.Status == 415 || ev.Status == 422; malformed || failed && ev.Status != 401 {
		// What is asked for again and again is one question. A password is guessed at one and the same place.
		if a.asked(uint32(s.hash.resource^s.hash.action)|1) && ev.Resource != "" {
			return
		}
		if malformed {
			v.add(in, Malformed, 1)
			return
		}
	}
	locked := a.Locked
	switch {
	case ev.Status == 401:
		a.Locked = 1
	case ev.Status < 400:
		a.Locked = 0
	}
	switch {
	case common || ev.Status == 401 && locked == 1 && v.customary:
	case denied:
		v.add(in, Denied, 1)
	case missing:
		v.add(in, Missing, 1)
	}
}
