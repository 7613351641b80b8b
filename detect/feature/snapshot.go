package feature

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/models/cardinality"
)

// Keys under which states are stored. What follows the slash is the agent's id, the cohort's name, the entity's key.
const (
	agentKey  = "agent/"
	cohortKey = "cohort/"
	fleetKey  = "fleet/"
	entityKey = "entity/"
	sharedKey = "shared/"
)

// Version is the first byte of every state. A state of another version is refused with ErrVersion, and its owner rebuilds
// what it was a state of from the stored events. A golden of each version stands in detect/testdata.
const Version = 17

// ErrVersion says that a state was written by a version of Astray that this one does not read.
var ErrVersion error = versionError{}

type versionError struct{}

func (versionError) Error() string { return "state of an unknown version" }

// Outdated tells package pipeline, which does not know this one, that the stored events say what the state did not.
func (versionError) Outdated() bool { return true }

// maxName bounds names in a state; cohorts are free text.
const maxName = 1 << 20

// Checkpoint yields the states that changed since the last call in a fixed order, agents last. The bytes
// are valid only inside yield. An agent refers to its cohort by name.
func (s *Store) Checkpoint(yield func(key string, state []byte) error) error {
	var buf []byte
	if s.fleet.dirty {
		if err := yield(fleetKey, s.appendFleet(append(buf[:0], Version))); err != nil {
			return err
		}
		s.fleet.dirty = false
	}
	for _, name := range sortedKeys(s.cohorts) {
		c := s.cohorts[name]
		if !c.dirty {
			continue
		}
		buf = c.append(append(buf[:0], Version))
		if err := yield(cohortKey+name, buf); err != nil {
			return err
		}
		c.dirty = false
	}
	if s.shared.dirty {
		buf = s.shared.append(append(buf[:0], Version))
		if err := yield(sharedKey, buf); err != nil {
			return err
		}
		s.shared.dirty = false
	}
	for _, k := range s.shared.entities.sorted() {
		e := s.shared.entities.get(k)
		if !e.dirty {
			continue
		}
		buf = e.append(append(buf[:0], Version))
		if err := yield(entityKey+strconv.FormatUint(k, 16), buf); err != nil {
			return err
		}
		e.dirty = false
	}
	for _, k := range s.shared.gone {
		if s.shared.entities.at(k) == nil {
			if err := yield(entityKey+strconv.FormatUint(k, 16), nil); err != nil {
				return err
			}
		}
	}
	s.shared.gone = s.shared.gone[:0]
	var dirty []*Agent
	for _, p := range s.agents.all {
		if a := *p; a.dirty {
			dirty = append(dirty, a)
		}
	}
	slices.SortFunc(dirty, func(a, b *Agent) int { return strings.Compare(a.ID, b.ID) })
	for _, a := range dirty {
		buf = a.append(append(buf[:0], Version))
		if err := yield(agentKey+a.ID, buf); err != nil {
			return err
		}
		a.dirty = false
	}
	return nil
}

// Restore takes a state that Checkpoint yielded, in any order. own is false when the key is not the store's.
func (s *Store) Restore(key string, state []byte) (own bool, err error) {
	kind, name, _ := strings.Cut(key, "/")
	switch kind + "/" {
	case agentKey, cohortKey, fleetKey, entityKey, sharedKey:
	default:
		return false, nil
	}
	if len(state) == 0 || state[0] != Version {
		return true, fmt.Errorf("%s: %w", kind, ErrVersion)
	}
	d := &decoder{src: state[1:]}
	switch kind + "/" {
	case fleetKey:
		s.decodeFleet(d)
	case cohortKey:
		s.cohort(name).decode(d)
	case sharedKey:
		s.shared.decode(d)
	case entityKey:
		k, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			return true, fmt.Errorf("entity key %q: %w", name, err)
		}
		e := &Entity{Key: k}
		e.decode(d)
		if d.err == nil {
			s.shared.entities.set(k, e)
		}
	default:
		a := newAgent(name)
		a.decode(d, s)
		if d.err == nil {
			s.add(a)
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

// fixed appends a value of fixed size; zeros compress where states are kept.
func fixed(dst []byte, v any) []byte {
	out, err := binary.Append(dst, binary.LittleEndian, v)
	if err != nil {
		panic(err) // not of fixed size: a mistake in this package, found by its first test
	}
	return out
}

func (d *decoder) fixed(v any) {
	if d.err != nil {
		return
	}
	n, err := binary.Decode(d.src, binary.LittleEndian, v)
	if err != nil {
		d.fail("length")
		return
	}
	d.src = d.src[n:]
}

func (d *decoder) recency(r *cardinality.Recency, limit int) {
	if d.err != nil {
		return
	}
	rest, err := r.Decode(d.src, limit)
	if err != nil {
		d.fail("table of values")
		return
	}
	d.src = rest
}

func (a *Agent) append(dst []byte) []byte {
	dst = appendString(dst, a.Cohort.Name)
	dst = fixed(dst, &a.state)
	return a.appendEverRead(a.values.Append(a.resources.Append(dst)))
}

func (a *Agent) decode(d *decoder, s *Store) {
	a.Cohort = s.cohort(d.string(maxName))
	d.fixed(&a.state)
	d.recency(&a.resources, maxResources)
	d.recency(&a.values, maxValues)
	a.decodeEverRead(d)
}

func (v *Vocabulary) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.Total))
	for _, m := range [...]map[uint64]uint32{v.Agents, v.Pending} {
		dst = binary.AppendUvarint(dst, uint64(len(m)))
		for _, k := range sortedKeys(m) {
			dst = binary.LittleEndian.AppendUint64(dst, k)
			dst = binary.AppendUvarint(dst, uint64(m[k]))
		}
	}
	return dst
}

func (v *Vocabulary) decode(d *decoder) {
	v.Total = uint32(d.uvarint())
	v.Agents, v.Pending = map[uint64]uint32{}, map[uint64]uint32{}
	for _, m := range [...]map[uint64]uint32{v.Agents, v.Pending} {
		n := d.uvarint()
		if n > maxVocabulary+1 {
			d.fail("vocabulary size")
			return
		}
		for range n {
			k := d.uint64()
			m[k] = uint32(d.uvarint())
		}
	}
}

func (c *Cohort) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, c.Agents)
	dst = fixed(dst, &c.pool)
	dst = fixed(dst, &c.steps)
	dst = fixed(dst, c.gapSum)
	dst = fixed(dst, &c.origins)
	dst = fixed(dst, &c.mixed)
	dst = c.tides.append(dst)
	dst = c.seasons.append(dst)
	for _, v := range [...]*Vocabulary{&c.services, &c.destinations, &c.actions} {
		dst = v.append(dst)
	}
	return dst
}

func (c *Cohort) decode(d *decoder) {
	c.Agents = d.varint()
	d.fixed(&c.pool)
	d.fixed(&c.steps)
	d.fixed(&c.gapSum)
	d.fixed(&c.origins)
	d.fixed(&c.mixed)
	c.tides.decode(d)
	c.seasons.decode(d)
	for _, v := range [...]*Vocabulary{&c.services, &c.destinations, &c.actions} {
		v.decode(d)
	}
}

func (s *Store) appendFleet(dst []byte) []byte {
	dst = s.fleet.append(dst)
	dst = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, s.now), s.scanned), s.start)
	for i := range s.places {
		dst = s.places[i].append(dst)
	}
	return s.adopted.Append(fixed(fixed(dst, &s.shares), &s.turnover))
}

func (s *Store) decodeFleet(d *decoder) {
	s.fleet.decode(d)
	s.now, s.scanned, s.start = d.varint(), d.varint(), d.varint()
	for i := range s.places {
		s.places[i].decode(d)
	}
	d.fixed(&s.shares)
	d.fixed(&s.turnover)
	d.recency(&s.adopted, maxAdopted)
}

func (s *Shared) append(dst []byte) []byte {
	dst = s.appendGatherings(fixed(fixed(dst, &s.pools), &s.likeness))
	dst = binary.AppendUvarint(dst, uint64(s.waiting.len()))
	for _, k := range s.waiting.sorted() {
		w := s.waiting.get(k)
		dst = binary.LittleEndian.AppendUint64(dst, k)
		for _, x := range [...]uint32{w.agent, w.minute, w.wording} {
			dst = binary.AppendUvarint(dst, uint64(x))
		}
		for _, x := range w.posts {
			dst = binary.AppendUvarint(dst, uint64(x))
		}
	}
	return dst
}

func (s *Shared) decode(d *decoder) {
	d.fixed(&s.pools)
	d.fixed(&s.likeness)
	s.decodeGatherings(d)
	n := d.uvarint()
	if n > maxWaiting+1 {
		d.fail("number of waiting values")
		return
	}
	for range n {
		k := d.uint64()
		w := waiting{agent: uint32(d.uvarint()), minute: uint32(d.uvarint()), wording: uint32(d.uvarint())}
		for i := range w.posts {
			w.posts[i] = uint32(d.uvarint())
		}
		s.waiting.set(k, w)
	}
}

func (e *Entity) append(dst []byte) []byte {
	dst = append(dst, byte(e.Kind), e.Depth)
	dst = binary.LittleEndian.AppendUint32(dst, e.kin)
	dst = appendString(dst, e.Name)
	dst = binary.AppendVarint(binary.AppendVarint(dst, e.First), e.Last)
	dst = fixed(dst, &e.window)
	dst = fixed(dst, &e.n)
	for sc := range e.cells {
		for c := range e.cells[sc] {
			x := &e.cells[sc][c]
			for _, f := range [...]float32{x.cur, x.mean, x.vari} {
				dst = binary.AppendUvarint(dst, uint64(math.Float32bits(f)))
			}
		}
	}
	dst = e.members.Append(dst)
	dst = binary.AppendUvarint(dst, uint64(e.latest.len()))
	for _, name := range e.latest.all() {
		dst = appendString(dst, name)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.posts)))
	for _, p := range e.posts {
		for _, x := range [...]uint32{p.id, p.agent, p.wording, p.minute} {
			dst = binary.LittleEndian.AppendUint32(dst, x)
		}
		dst = append(dst, p.depth)
	}
	dst = e.appendBalks(dst)
	if e.cargo == nil {
		return append(dst, 0)
	}
	return fixed(append(dst, 1), e.cargo)
}

func (e *Entity) decode(d *decoder) {
	if e.Kind = EntityKind(d.byte()); e.Kind >= NumEntityKinds {
		d.fail("kind of entity")
		return
	}
	e.Depth, e.kin = d.byte(), d.uint32()
	e.Name = d.string(maxName)
	e.First, e.Last = d.varint(), d.varint()
	d.fixed(&e.window)
	d.fixed(&e.n)
	for sc := range e.cells {
		for c := range e.cells[sc] {
			x := &e.cells[sc][c]
			for _, f := range [...]*float32{&x.cur, &x.mean, &x.vari} {
				*f = math.Float32frombits(uint32(d.uvarint()))
			}
		}
	}
	d.recency(&e.members, maxMembers)
	n := d.uvarint()
	if n > maxNames {
		d.fail("number of names")
		return
	}
	for range n {
		name := d.string(maxName)
		e.latest.add(name, uint32(xxhash.Sum64String(name)>>32))
	}
	if n = d.uvarint(); n > maxSent {
		d.fail("number of posts")
		return
	}
	for range n {
		e.posts = append(e.posts, post{d.uint32(), d.uint32(), d.uint32(), d.uint32(), d.byte()})
	}
	e.decodeBalks(d)
	if d.byte() != 0 {
		e.cargo = &cargo{}
		d.fixed(e.cargo)
	}
}

func sortedKeys[K interface{ ~string | ~uint64 }, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
