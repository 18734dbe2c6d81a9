package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A row's value. Numbers are unsigned varints, shortest form; a count of 0 is not
// written where it stands in a list.
//
//	version (1 byte: 2)
//	received · bytes
//	commits · syncs · identities · accounts
//	infos · errors · connections · restarts
//	outdated: count · cursor · first
//	resumed:  count · cursor · first
//	skipped:  count · cursor · first · numbers (not in version 1)
//	behind:   0x00 | 0x01 · last · max (ms)
//	flags:    how many, then each: bit · count, bits ascending
//	outcomes: how many, then each: outcome (1 byte) · reason length · reason · count,
//	          sorted by outcome and reason
const rowVersion = 2

// What a value may hold: more than this package writes, and little memory.
const (
	maxRowReasons = 4 * maxReasons
	minReasonSize = 4 // bytes of an outcome in a value
)

// Errors of a value that cannot be read.
var (
	errValue   = errors.New("ledger: malformed row")
	errVersion = errors.New("ledger: row of a newer version")
)

// appendRow appends the value of a row.
func appendRow(dst []byte, r *Row) []byte {
	num := func(ns ...uint64) {
		for _, n := range ns {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	dst = append(dst, rowVersion)
	num(r.Received, r.Bytes)
	num(r.Kinds[:]...)
	num(r.Infos, r.Errors, r.Connections, r.Restarts)
	num(r.Outdated.Count, r.Outdated.Cursor, r.Outdated.First)
	num(r.Resumed.Count, r.Resumed.Cursor, r.Resumed.First)
	num(r.Skipped.Count, r.Skipped.Cursor, r.Skipped.First, r.SkippedNumbers)
	if r.Behind.Known {
		num(1, r.Behind.Last, r.Behind.Max)
	} else {
		num(0)
	}
	flags := 0
	for _, n := range r.Flags {
		if n > 0 {
			flags++
		}
	}
	num(uint64(flags))
	for bit, n := range r.Flags {
		if n > 0 {
			num(uint64(bit), n)
		}
	}
	num(uint64(len(r.Outcomes)))
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		num(uint64(o.Outcome), uint64(len(o.Reason)))
		dst = append(dst, o.Reason...)
		num(o.Count)
	}
	return dst
}

// decodeRow reads the value of a row into r, all but its host and hour.
func decodeRow(value []byte, r *Row) error {
	if len(value) > 0 && value[0] > rowVersion {
		return fmt.Errorf("%w: %d", errVersion, value[0])
	}
	d := decoder{b: value}
	version := d.uint()
	if version < 1 || version > rowVersion {
		return errValue
	}
	r.Received, r.Bytes = d.uint(), d.uint()
	for i := range r.Kinds {
		r.Kinds[i] = d.uint()
	}
	r.Infos, r.Errors, r.Connections, r.Restarts = d.uint(), d.uint(), d.uint(), d.uint()
	r.Outdated = Gap{Count: d.uint(), Cursor: d.uint(), First: d.uint()}
	r.Resumed = Gap{Count: d.uint(), Cursor: d.uint(), First: d.uint()}
	if version >= 2 {
		r.Skipped = Gap{Count: d.uint(), Cursor: d.uint(), First: d.uint()}
		r.SkippedNumbers = d.uint()
	}
	r.Behind = d.behind()
	r.Flags = d.flags()
	r.Outcomes = d.outcomes()
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

// decoder reads the parts of a value. After the first that is not there it reads
// nothing more and err is set.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() { d.b, d.err = nil, errValue }

// uint reads a varint in its shortest form.
func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) behind() (b Behind) {
	switch d.uint() {
	case 0:
	case 1:
		b = Behind{Known: true, Last: d.uint(), Max: d.uint()}
		if b.Last > b.Max {
			d.fail()
		}
	default:
		d.fail()
	}
	return b
}

func (d *decoder) flags() (flags [numFlags]uint64) {
	next := uint64(0)
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		bit, count := d.uint(), d.uint()
		if bit < next || bit >= numFlags || count == 0 {
			d.fail()
			break
		}
		flags[bit], next = count, bit+1
	}
	return flags
}

func (d *decoder) outcomes() []Reason {
	n := d.uint()
	if n == 0 || d.err != nil {
		return nil
	}
	if n > maxRowReasons || n > uint64(len(d.b)/minReasonSize) {
		d.fail()
		return nil
	}
	outcomes := make([]Reason, n)
	for i := range outcomes {
		o := &outcomes[i]
		o.Outcome = Outcome(min(d.uint(), numOutcomes+1))
		o.Reason = d.reason()
		o.Count = d.uint()
		ordered := i == 0 || byReason(outcomes[i-1], *o) < 0
		if o.Outcome < Dropped || o.Outcome > numOutcomes || o.Count == 0 || !ordered {
			d.fail()
			return nil
		}
	}
	return outcomes
}

func (d *decoder) reason() string {
	n := d.uint()
	if n == 0 || n > maxReason || n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// maxHost is the longest hostname, with a port, that a key may have, in bytes.
const maxHost = 300

// appendKey appends the key of a host's row of an hour.
func appendKey(dst []byte, hour int64, host string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(hour)), host...)
}

// decodeKey reads a key.
func decodeKey(key []byte) (hour int64, host string, err error) {
	if len(key) <= 8 || len(key) > 8+maxHost || key[0] > 127 {
		return 0, "", errors.New("ledger: malformed key")
	}
	return int64(binary.BigEndian.Uint64(key)), string(key[8:]), nil
}
