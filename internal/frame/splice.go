package frame

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// MaxSeq is the largest sequence number: what a double holds exactly (the
// event-stream page). The smallest is 1.
const MaxSeq = 1<<53 - 1

// MaxFrame bounds a frame in bytes, as received and after splicing (row T2).
const MaxFrame = 5_000_000

// errNoSeq is what Splice says of messages that carry no number.
var errNoSeq = errors.New("frame: this kind of message has no seq")

// IsCommit says whether a frame is one of a #commit, in the form in which every frame of a
// log begins, without reading it.
func IsCommit(canonical []byte) bool {
	const header = "\xa2\x61t\x67#commit\x62op\x01"
	return len(canonical) >= len(header) && string(canonical[:len(header)]) == header
}

// HasSeq says whether the event carries a sequence number: a #commit, #sync,
// #identity or #account.
func (e *Event) HasSeq() bool { return e.Kind >= Commit && e.Kind <= Account }

// AppendFrame appends the canonical frame with seq in the place of the upstream's
// number. It is meant for events that HasSeq.
//
// T8, event-stream.
func (e *Event) AppendFrame(dst []byte, seq uint64) []byte {
	dst = append(dst, e.Head...)
	dst = dagcbor.AppendUint(dst, seq)
	return append(dst, e.Tail...)
}

// FrameLen returns the length in bytes of the frame that AppendFrame would give,
// which the caller compares with MaxFrame (row T2).
func (e *Event) FrameLen(seq uint64) int {
	return len(e.Head) + dagcbor.HeadLen(seq) + len(e.Tail)
}

// Splice returns raw with seq in the place of its own number. A canonical frame
// keeps every other byte; a readable one that is not comes out canonical.
func Splice(raw []byte, seq uint64) ([]byte, error) {
	if seq == 0 || seq > MaxSeq {
		return nil, fmt.Errorf("frame: seq %d is outside 1…2^53-1", seq)
	}
	var ev Event
	if err := ParseInto(raw, &ev); err != nil {
		return nil, err
	}
	if !ev.HasSeq() {
		return nil, errNoSeq
	}
	return ev.AppendFrame(make([]byte, 0, ev.FrameLen(seq)), seq), nil
}
