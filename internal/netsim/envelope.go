package netsim

import (
	"encoding/binary"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// field is one entry of a CBOR map, its value already encoded.
type field struct {
	key string
	val []byte
}

// seqKey marks the field whose value encode fills in.
const seqKey = "seq"

// message is a frame before encoding: header and payload maps. A fresh one is
// canonical; dialects and lies edit it.
type message struct {
	header  []field
	payload []field
	// wideInts writes seq and both map heads in eight bytes (readable, not canonical).
	wideInts bool
	// indefinite leaves the payload's length open.
	indefinite bool
	// unsorted leaves payload and header in the order they stand in.
	unsorted bool
	// edit, when set, changes the bytes after encoding.
	edit func([]byte) []byte
}

func newMessage(kind string, payload ...field) *message {
	return &message{
		header:  []field{{"t", text(kind)}, {"op", dagcbor.AppendUint(nil, 1)}},
		payload: payload,
	}
}

// encode makes the frame with the given sequence number.
func (m *message) encode(seq uint64) []byte {
	size := 64
	for _, f := range m.payload {
		size += len(f.key) + len(f.val) + 2
	}
	out := m.appendMap(make([]byte, 0, size), m.header, seq)
	if m.indefinite {
		out = append(out, indefinite(m.appendMap(nil, m.payload, seq))...)
	} else {
		out = m.appendMap(out, m.payload, seq)
	}
	if m.edit != nil {
		out = m.edit(out)
	}
	return out
}

func (m *message) appendMap(dst []byte, fields []field, seq uint64) []byte {
	if !m.unsorted {
		fields = slices.Clone(fields)
		slices.SortStableFunc(fields, func(a, b field) int {
			return dagcbor.CompareKeys([]byte(a.key), []byte(b.key))
		})
	}
	dst = m.appendHead(dst, dagcbor.MajorMap, uint64(len(fields)))
	for _, f := range fields {
		dst = dagcbor.AppendText(dst, f.key)
		if f.key == seqKey && f.val == nil {
			dst = m.appendHead(dst, dagcbor.MajorUint, seq)
			continue
		}
		dst = append(dst, f.val...)
	}
	return dst
}

func (m *message) appendHead(dst []byte, major byte, arg uint64) []byte {
	if m.wideInts {
		return binary.BigEndian.AppendUint64(append(dst, major<<5|27), arg)
	}
	return dagcbor.AppendHead(dst, major, arg)
}

// clone copies the message so that editing the copy leaves the original.
func (m *message) clone() *message {
	c := *m
	c.header = slices.Clone(m.header)
	c.payload = slices.Clone(m.payload)
	return &c
}

// set replaces a payload field, or adds it.
func (m *message) set(key string, val []byte) {
	for i := range m.payload {
		if m.payload[i].key == key {
			m.payload[i].val = val
			return
		}
	}
	m.payload = append(m.payload, field{key, val})
}

// remove takes a payload field out.
func (m *message) remove(key string) {
	m.payload = slices.DeleteFunc(m.payload, func(f field) bool { return f.key == key })
}

// get returns a payload field's encoded value, or nil.
func (m *message) get(key string) []byte {
	for _, f := range m.payload {
		if f.key == key {
			return f.val
		}
	}
	return nil
}

func text(s string) []byte            { return dagcbor.AppendText(nil, s) }
func boolean(v bool) []byte           { return dagcbor.AppendBool(nil, v) }
func link(cid []byte) []byte          { return dagcbor.AppendCID(nil, cid) }
func byteString(b []byte) []byte      { return dagcbor.AppendBytes(make([]byte, 0, len(b)+9), b) }
func null() []byte                    { return dagcbor.AppendNull(nil) }
func uintValue(v uint64) []byte       { return dagcbor.AppendUint(nil, v) }
func float64Value(bits uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0xfb}, bits) }

// textOrNull is null for the empty string.
func textOrNull(s string) []byte {
	if s == "" {
		return null()
	}
	return text(s)
}

// linkOrNull is null for no CID.
func linkOrNull(cid []byte) []byte {
	if cid == nil {
		return null()
	}
	return link(cid)
}

// encodeFields makes a canonical map of fields.
func encodeFields(fields []field) []byte {
	m := message{}
	return m.appendMap(nil, fields, 0)
}
