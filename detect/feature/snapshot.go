package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Keys under which states are stored. What follows the slash is the agent's id or the cohort's name.
const (
	agentKey  = "agent/"
	cohortKey = "cohort/"
	fleetKey  = "fleet/"
)

// Version is the first byte of every state. A state of another version is refused: its owner rebuilds it.
const Version = 1

// ErrVersion says that a state was written by a version of Astray that this one does not read.
var ErrVersion = errors.New("state of an unknown version")

// maxName bounds names in a state; cohorts are free text.
const maxName = 1 << 20

// Checkpoint yields the states that changed since the last call, cohorts first, in a fixed order. The bytes
// are valid only inside yield. An agent refers to its cohort by name.
func (s *Store) Checkpoint(yield func(key string, state []byte) error) error {
	var buf []byte
	if s.fleet.Dirty {
		if err := yield(fleetKey, s.fleet.append(append(buf[:0], Version))); err != nil {
			return err
		}
		s.fleet.Dirty = false
	}
	var names []string
	for name, c := range s.cohorts {
		if c.Dirty {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c := s.cohorts[name]
		buf = c.append(append(buf[:0], Version))
		if err := yield(cohortKey+name, buf); err != nil {
			return err
		}
		c.Dirty = false
	}
	var dirty []*Agent
	for _, a := range s.agents {
		if a.Dirty {
			dirty = append(dirty, a)
		}
	}
	slices.SortFunc(dirty, func(a, b *Agent) int { return strings.Compare(a.ID, b.ID) })
	for _, a := range dirty {
		buf = a.append(append(buf[:0], Version))
		if err := yield(agentKey+a.ID, buf); err != nil {
			return err
		}
		a.Dirty = false
	}
	return nil
}

// Restore takes a state that Checkpoint yielded, in any order. own is false when the key is not the store's.
func (s *Store) Restore(key string, state []byte) (own bool, err error) {
	kind, name, _ := strings.Cut(key, "/")
	switch kind + "/" {
	case agentKey, cohortKey, fleetKey:
	default:
		return false, nil
	}
	if len(state) == 0 || state[0] != Version {
		return true, fmt.Errorf("%s: %w", kind, ErrVersion)
	}
	d := &decoder{src: state[1:]}
	switch kind + "/" {
	case fleetKey:
		s.fleet.decode(d)
	case cohortKey:
		s.cohort(name).decode(d)
	default:
		a := newAgent(name)
		a.decode(d, s)
		if d.err == nil {
			s.agents[a.Key] = a
		}
	}
	if d.err == nil && len(d.src) > 0 {
		d.fail("length: bytes are left over")
	}
	if d.err != nil {
		return true, fmt.Errorf("%s: %w", kind, d.err)
	}
	return true, nil
}

func appendMoments(dst []byte, m Moments) []byte {
	// A feature that never occurred is most of them, and one byte.
	if m.Mean == 0 && m.Var == 0 {
		if m.N == 0 {
			return append(dst, 0)
		}
		return appendFloat32(append(dst, 1), m.N)
	}
	dst = appendFloat32(append(dst, 2), m.N)
	return appendFloat32(appendFloat32(dst, m.Mean), m.Var)
}

func (d *decoder) moments() (m Moments) {
	switch d.byte() {
	case 0:
	case 1:
		m.N = d.float32()
	case 2:
		m.N, m.Mean, m.Var = d.float32(), d.float32(), d.float32()
	default:
		d.fail("moments")
	}
	return m
}

func (a *Agent) append(dst []byte) []byte {
	dst = appendString(dst, a.Cohort.Name)
	for _, v := range [...]int64{a.First, a.Last, a.Total} {
		dst = binary.AppendVarint(dst, v)
	}
	for _, v := range [...]uint64{a.version, a.lastRead, a.stem} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	reported := byte(0)
	if a.reported {
		reported = 1
	}
	dst = append(dst, reported)
	for sc := range NumScales {
		dst = binary.AppendVarint(dst, a.Grid.window[sc])
		for f := range NumFeatures {
			c := &a.Grid.cells[sc][f]
			dst = appendFloat32(appendFloat32(dst, c.cur), c.gate)
			dst = appendMoments(dst, c.own)
		}
	}
	for _, r := range [...]*Recency{&a.resources, &a.services, &a.destinations, &a.keys} {
		dst = r.append(dst)
	}
	return dst
}

func (a *Agent) decode(d *decoder, s *Store) {
	a.Cohort = s.cohort(d.string(maxName))
	for _, v := range [...]*int64{&a.First, &a.Last, &a.Total} {
		*v = d.varint()
	}
	for _, v := range [...]*uint64{&a.version, &a.lastRead, &a.stem} {
		*v = d.uint64()
	}
	a.reported = d.byte() == 1
	for sc := range NumScales {
		a.Grid.window[sc] = d.varint()
		for f := range NumFeatures {
			c := &a.Grid.cells[sc][f]
			c.cur, c.gate = d.float32(), d.float32()
			c.own = d.moments()
		}
	}
	a.resources.decode(d, maxResources)
	a.services.decode(d, maxServices)
	a.destinations.decode(d, maxDestinations)
	a.keys.decode(d, maxKeys)
}

func (c *Cohort) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, c.Agents)
	for sc := range NumScales {
		for f := range NumFeatures {
			dst = appendMoments(dst, c.moms[sc][f])
		}
	}
	for _, m := range [...]map[uint64]uint32{c.services, c.destinations} {
		keys := make([]uint64, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		dst = binary.AppendUvarint(dst, uint64(len(keys)))
		for _, k := range keys {
			dst = binary.LittleEndian.AppendUint64(dst, k)
			dst = binary.AppendUvarint(dst, uint64(m[k]))
		}
	}
	return dst
}

func (c *Cohort) decode(d *decoder) {
	c.Agents = d.varint()
	for sc := range NumScales {
		for f := range NumFeatures {
			c.moms[sc][f] = d.moments()
		}
	}
	for _, m := range [...]map[uint64]uint32{c.services, c.destinations} {
		clear(m)
		n := d.uvarint()
		if n > maxPeers {
			d.fail("number of values")
		}
		for i := uint64(0); i < n && d.err == nil; i++ {
			k := d.uint64()
			m[k] = uint32(d.uvarint())
		}
	}
}
