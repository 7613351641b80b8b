package clickhouse

import (
	"encoding/binary"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// The columns of an event block. They copy what is appended, because an event's strings share the memory of the
// message they came in, and a block outlives its messages. Once grown they take no memory for a further event.
// ch-go's own LowCardinality column keeps the strings it is given until the block is encoded, which would
// hold every message of a block in memory.

// wireColumn is a column that a block can be sent in.
type wireColumn interface {
	proto.ColInput
	Reset()
}

// maxInterned bounds the memory of a lowColumn between blocks: the values are chosen by whoever sends events.
const maxInterned = 1 << 14

// lowColumn is LowCardinality(String). What it has interned stays known from one block to the next, so that a
// steady stream allocates nothing; an entry belongs to the block at hand when its generation is the column's.
type lowColumn struct {
	known  map[string]*lowEntry
	recent [16]*lowEntry // of known, each where its length and last byte say
	gen    uint32
	dict   proto.ColStr // the values of this block, in the order of their keys
	keys   []uint32     // one for each row
}

type lowEntry struct {
	value string
	gen   uint32
	key   uint32
}

func (c *lowColumn) Append(v string) {
	at := len(v)
	if at > 0 {
		at += int(v[at-1])
	}
	recent := &c.recent[at%len(c.recent)]
	e := *recent
	if e == nil || e.value != v {
		e = c.intern(v)
		*recent = e
	}
	if e.gen != c.gen {
		e.gen, e.key = c.gen, uint32(c.dict.Rows())
		c.dict.Append(e.value)
	}
	c.keys = append(c.keys, e.key)
}

// intern returns the entry of a value, made when it is new.
func (c *lowColumn) intern(v string) *lowEntry {
	e := c.known[v]
	if e == nil {
		if c.known == nil {
			c.known = map[string]*lowEntry{}
			c.gen = 1
		}
		e = &lowEntry{value: strings.Clone(v)}
		c.known[e.value] = e
	}
	return e
}

func (c *lowColumn) Type() proto.ColumnType { return "LowCardinality(String)" }
func (c *lowColumn) Rows() int              { return len(c.keys) }

func (c *lowColumn) Reset() {
	c.dict.Reset()
	c.keys = c.keys[:0]
	c.gen++
	if len(c.known) > maxInterned {
		c.known, c.recent, c.gen = nil, [len(c.recent)]*lowEntry{}, 0
	}
}

// EncodeState writes the version of the key serialization.
func (c *lowColumn) EncodeState(b *proto.Buffer) { b.PutInt64(1) }

// EncodeColumn writes the dictionary and the keys, in as few bytes each as they need.
func (c *lowColumn) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	const hasKeys, newDictionary = 1 << 9, 1 << 10
	width := int64(0) // 1, 2 or 4 bytes: 0, 1, 2
	switch n := c.dict.Rows(); {
	case n > 1<<16:
		width = 2
	case n > 1<<8:
		width = 1
	}
	b.PutInt64(hasKeys | newDictionary | width)
	b.PutInt64(int64(c.dict.Rows()))
	c.dict.EncodeColumn(b)
	b.PutInt64(int64(len(c.keys)))
	for _, k := range c.keys {
		switch width {
		case 0:
			b.Buf = append(b.Buf, byte(k))
		case 1:
			b.Buf = append(b.Buf, byte(k), byte(k>>8))
		default:
			b.Buf = append(b.Buf, byte(k), byte(k>>8), byte(k>>16), byte(k>>24))
		}
	}
}

func (c *lowColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// listColumn is an Array of its parts' type, or a Map when it has two parts: rows of elements.
type listColumn struct {
	kind  proto.ColumnType
	parts []wireColumn
	ends  proto.ColUInt64 // for each row, how many elements there are up to its end
}

// endRow ends a row after its elements were appended to the parts.
func (c *listColumn) endRow() { c.ends.Append(uint64(c.parts[0].Rows())) }

func (c *listColumn) Type() proto.ColumnType { return c.kind }
func (c *listColumn) Rows() int              { return len(c.ends) }

func (c *listColumn) Reset() {
	c.ends.Reset()
	for _, p := range c.parts {
		p.Reset()
	}
}

func (c *listColumn) EncodeState(b *proto.Buffer) {
	for _, p := range c.parts {
		if s, ok := p.(proto.StateEncoder); ok {
			s.EncodeState(b)
		}
	}
}

func (c *listColumn) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	for _, p := range c.parts {
		p.EncodeColumn(b)
	}
}

func (c *listColumn) WriteColumn(w *proto.Writer) {
	c.ends.WriteColumn(w)
	for _, p := range c.parts {
		p.WriteColumn(w)
	}
}

// textColumn is String. It keeps its rows as they are sent, each behind its length, so that sending copies nothing; ch-go's own
// keeps a position for each and puts the two together when the block is sent.
type textColumn struct {
	wire []byte
	rows int
}

func (c *textColumn) Append(v string) {
	c.wire = append(binary.AppendUvarint(c.wire, uint64(len(v))), v...)
	c.rows++
}

func (c *textColumn) AppendBytes(v []byte) {
	c.wire = append(binary.AppendUvarint(c.wire, uint64(len(v))), v...)
	c.rows++
}

func (c *textColumn) Type() proto.ColumnType       { return proto.ColumnTypeString }
func (c *textColumn) Rows() int                    { return c.rows }
func (c *textColumn) EncodeColumn(b *proto.Buffer) { b.PutRaw(c.wire) }
func (c *textColumn) WriteColumn(w *proto.Writer)  { w.ChainWrite(c.wire) }

func (c *textColumn) Reset() {
	// A block of huge contents must not keep its memory for good.
	if cap(c.wire) > 64<<20 {
		c.wire = nil
	}
	c.wire, c.rows = c.wire[:0], 0
}

// stringsColumn is Array(String) or Array(LowCardinality(String)).
type stringsColumn struct {
	listColumn
	add func(string)
}

func newStrings() *stringsColumn {
	t := &textColumn{}
	return &stringsColumn{listColumn{kind: "Array(String)", parts: []wireColumn{t}}, t.Append}
}

func newLowStrings() *stringsColumn {
	t := &lowColumn{}
	return &stringsColumn{listColumn{kind: "Array(LowCardinality(String))", parts: []wireColumn{t}}, t.Append}
}

func (c *stringsColumn) Append(v []string) {
	for _, s := range v {
		c.add(s)
	}
	c.endRow()
}
