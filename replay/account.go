package replay

import (
	"bytes"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Headers of frames as DAG-CBOR writes them: {t, op: 1}.
var (
	commitHead  = []byte("\xa2atg#commitbop\x01")
	accountHead = []byte("\xa2ath#accountbop\x01")
)

// suppressKey is the key by which an event may be suppressed: its account's, or 0 for an
// #account or an #identity.
func suppressKey(did, frame []byte) uint64 {
	if !bytes.HasPrefix(frame, commitHead) {
		if kind := kindOf(frame); kind == "#account" || kind == "#identity" {
			return 0
		}
	}
	return accountKey(did)
}

// kindOf is the t of a frame's header, "" where there is none.
func kindOf(frame []byte) (kind string) {
	r := dagcbor.Reader{Buf: frame}
	_ = r.Pairs(func(key []byte) error { // a frame that cannot be read has no kind
		if string(key) != "t" {
			return r.Skip()
		}
		t, err := r.Text()
		kind = string(t)
		return err
	})
	return kind
}

// accountStatus reads the active of an #account frame; ok is false for any other frame.
// One without it counts as inactive.
func accountStatus(frame []byte) (active, ok bool) {
	if bytes.HasPrefix(frame, commitHead) || !bytes.HasPrefix(frame, accountHead) && kindOf(frame) != "#account" {
		return false, false
	}
	r := dagcbor.Reader{Buf: frame}
	if err := r.Skip(); err != nil {
		return false, true
	}
	_ = r.Pairs(func(key []byte) error { // the same
		if string(key) != "active" {
			return r.Skip()
		}
		var err error
		active, err = r.Bool()
		return err
	})
	return active, true
}
