package segmentlog

import (
	"fmt"
	"unicode/utf8"
)

// Entry is an event on its way into the log: everything of a record but what the
// log itself decides (seq, witnessed, digest, crc).
type Entry struct {
	// Seq is the number of the record where the log has those of another log
	// (Stream.Numbers): above all before it. 0 where the log gives numbers itself.
	Seq       uint64
	DID       string
	Host      string // upstream hostname, with port when not default; "" for an event of our own
	HostEpoch uint64
	HostSeq   uint64
	HostFloor uint64
	Verdict   Verdict
	Key       []byte // multicodec public key that verified the signature, nil for none

	// The frame is Head, the seq as a minimal CBOR uint, Tail.
	Head, Tail []byte
}

// valid says why no reader would take the record of e, nil when one would.
func (e *Entry) valid() error {
	if !utf8.ValidString(e.DID) || !utf8.ValidString(e.Host) {
		return fmt.Errorf("%w: DID %q, host %q", ErrRecordForm, e.DID, e.Host)
	}
	if entrySize(e) > MaxRecord {
		return ErrRecordTooLarge
	}
	return nil
}
