package frame

import (
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// fixes is what row T7 wants changed in a #commit before strict clients can read
// it. T7, lexicon.
type fixes uint8

const (
	fixRebase   fixes = 1 << iota // absent: false
	fixTooBig                     // absent: false
	fixBlobs                      // absent: []
	fixSince                      // absent: null
	fixPrevData                   // null: removed
	fixOpPrev                     // null in an op: removed
)

// filled pairs the fixes that add a field with that field and its value, in the
// order of keys.
var filled = []struct {
	fix   fixes
	field fields
	key   string
	value []byte
}{
	{fixBlobs, fBlobs, "blobs", []byte{0x80}},
	{fixSince, fSince, "since", []byte{0xf6}},
	{fixRebase, fRebase, "rebase", []byte{0xf4}},
	{fixTooBig, fTooBig, "tooBig", []byte{0xf4}},
}

// repairable says which of the missing fields are filled in.
func repairable(k Kind, missing fields) (f fixes) {
	if k != Commit || missing == 0 {
		return 0
	}
	for _, x := range filled {
		if missing&x.field != 0 {
			f |= x.fix
		}
	}
	return f
}

// fieldsOf says which fields the fixes fill in.
func fieldsOf(f fixes) (set fields) {
	for _, x := range filled {
		if f&x.fix != 0 {
			set |= x.field
		}
	}
	return set
}

// repair returns a canonical #commit with the fixes made. T7, lexicon.
func repair(raw []byte, f fixes) ([]byte, error) {
	var edits []edit
	if f&fixOpPrev != 0 {
		edits = append(edits, edit{key: "ops", change: dropNullPrev})
	}
	for _, x := range filled {
		if f&x.fix != 0 {
			edits = append(edits, edit{key: x.key, change: put(x.value), add: true})
		}
	}
	if f&fixPrevData != 0 {
		edits = append(edits, edit{key: "prevData"})
	}
	return editFrame(raw, edits)
}

// dropNullPrev appends a list of ops without their null `prev`.
func dropNullPrev(dst, ops []byte) ([]byte, error) {
	r := dagcbor.Reader{Buf: ops}
	n, err := r.Array()
	if err != nil {
		return nil, err
	}
	dst = append(dst, ops[:r.Off]...)
	for ; n > 0; n-- {
		start := r.Off
		if err := r.Skip(); err != nil {
			return nil, err
		}
		if dst, err = editMap(dst, ops[start:r.Off], []edit{{key: "prev", change: dropNull}}); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// dropNull removes a null and keeps any other value.
func dropNull(dst, value []byte) ([]byte, error) {
	if len(value) == 1 && value[0] == 0xf6 {
		return dst, nil
	}
	return append(dst, value...), nil
}
