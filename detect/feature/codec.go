package feature

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// decoder reads a snapshot front to back and remembers the first thing wrong with it.
type decoder struct {
	src []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("snapshot: bad %s", what)
	}
	d.src = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.src)
	if n <= 0 {
		d.fail("varint")
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.src)
	if n <= 0 {
		d.fail("varint")
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.src) < 1 {
		d.fail("byte")
		return 0
	}
	b := d.src[0]
	d.src = d.src[1:]
	return b
}

func (d *decoder) uint32() uint32 {
	if len(d.src) < 4 {
		d.fail("uint32")
		return 0
	}
	v := binary.LittleEndian.Uint32(d.src)
	d.src = d.src[4:]
	return v
}

func (d *decoder) uint64() uint64 {
	if len(d.src) < 8 {
		d.fail("uint64")
		return 0
	}
	v := binary.LittleEndian.Uint64(d.src)
	d.src = d.src[8:]
	return v
}

func (d *decoder) string(limit int) string { return strings.Clone(d.shared(limit)) }

// shared is string, of src's own memory.
func (d *decoder) shared(limit int) string {
	n := d.uvarint()
	if n > uint64(limit) || n > uint64(len(d.src)) {
		d.fail("string")
		return ""
	}
	s := unsafe.String(unsafe.SliceData(d.src), n)
	d.src = d.src[n:]
	return s
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
