// Package link is the messages of the topic agent.links: what events of one partition say about things that agents of
// several partitions share.
//
// A message is a Frame: the records that one owner of a partition of events has to say to one partition of links since
// its last frame, and how far it has come. Frames are sent even if there is nothing to say, for whoever reads them
// waits for the slowest. Of one source they are in the order of its positions; after a crash stretches of them repeat,
// with the same records at the same positions, so that a reader leaves out those up to the position it knows.
package link

import (
	"encoding/binary"
	"fmt"
)

// Version is the first byte of a frame.
const Version = 1

// MaxFrame is about how large a frame gets before the next is begun, in bytes.
const MaxFrame = 256 << 10

// Frame is one message.
type Frame struct {
	Group     string // consumer group of the events' readers: several may use one topic
	Source    int32  // partition of the events
	Epoch     uint64 // of the partition's owner: frames of an earlier one that come later are void
	Watermark int64  // event time that the source has come to, microseconds since the epoch; the clock's once all is read
	Sent      int64  // sender's clock, microseconds since the epoch
	Records   []Record
}

// Record is what one event says, in package feature's encoding.
type Record struct {
	Offset int64 // position of the event
	Index  uint32
	Data   []byte
}

// After reports whether the record's position lies behind offset and index.
func (r *Record) After(offset int64, index uint32) bool {
	return r.Offset > offset || r.Offset == offset && r.Index > index
}

// Append writes the frame.
func (f *Frame) Append(dst []byte) []byte {
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, uint64(len(f.Group)))
	dst = append(dst, f.Group...)
	dst = binary.AppendUvarint(dst, uint64(uint32(f.Source)))
	dst = binary.AppendUvarint(dst, f.Epoch)
	dst = binary.AppendVarint(dst, f.Watermark)
	dst = binary.AppendVarint(dst, f.Sent)
	dst = binary.AppendUvarint(dst, uint64(len(f.Records)))
	before := int64(0)
	for i := range f.Records {
		r := &f.Records[i]
		dst = binary.AppendVarint(dst, r.Offset-before)
		before = r.Offset
		dst = binary.AppendUvarint(dst, uint64(r.Index))
		dst = binary.AppendUvarint(dst, uint64(len(r.Data)))
		dst = append(dst, r.Data...)
	}
	return dst
}

// Decode reads a frame into f, reusing its records. Their data are parts of src.
func (f *Frame) Decode(src []byte) error {
	if len(src) == 0 || src[0] != Version {
		return fmt.Errorf("version: not a frame of version %d", Version)
	}
	d := reader{src: src[1:]}
	if n := d.uvarint("group"); n > uint64(len(d.src)) {
		d.fail("group")
	} else {
		if f.Group != string(d.src[:n]) { // nearly always the same again
			f.Group = string(d.src[:n])
		}
		d.src = d.src[n:]
	}
	f.Source = int32(uint32(d.uvarint("source")))
	f.Epoch = d.uvarint("epoch")
	f.Watermark = d.varint("watermark")
	f.Sent = d.varint("sent")
	n := d.uvarint("records")
	f.Records = f.Records[:0]
	at := int64(0)
	for i := uint64(0); i < n && d.err == nil; i++ {
		at += d.varint("offset")
		r := Record{Offset: at, Index: uint32(d.uvarint("index"))}
		size := d.uvarint("length")
		if size > uint64(len(d.src)) {
			d.fail("data")
			break
		}
		r.Data, d.src = d.src[:size:size], d.src[size:]
		f.Records = append(f.Records, r)
	}
	if d.err == nil && len(d.src) > 0 {
		d.fail("end")
	}
	return d.err
}

// reader reads a frame front to back and remembers the first thing wrong with it.
type reader struct {
	src []byte
	err error
}

func (d *reader) fail(field string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: cut short or damaged", field)
	}
	d.src = nil
}

func (d *reader) uvarint(field string) uint64 {
	v, n := binary.Uvarint(d.src)
	if n <= 0 {
		d.fail(field)
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *reader) varint(field string) int64 {
	v, n := binary.Varint(d.src)
	if n <= 0 {
		d.fail(field)
		return 0
	}
	d.src = d.src[n:]
	return v
}
