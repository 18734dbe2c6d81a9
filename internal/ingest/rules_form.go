package ingest

import (
	"errors"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/verify"
)

// form checks what needs neither an identity nor a state.
func form(ev *frame.Event) *verify.Rejection {
	if rej := splicedSize(ev); rej != nil {
		return rej
	}
	return didSyntax(ev)
}

// splicedSize bounds the frame as it would be served, with the longest seq, so that
// the answer does not hang on the number it gets. T2, sync page.
func splicedSize(ev *frame.Event) *verify.Rejection {
	const longestSeq = 9 // a CBOR head with eight bytes
	if len(ev.Head)+len(ev.Tail)+longestSeq > maxFrame {
		return &verify.Rejection{Row: 2, Action: verify.Drop, Reason: "frame_too_large"}
	}
	return nil
}

// didSyntax checks the account's DID. T10, did page.
func didSyntax(ev *frame.Event) *verify.Rejection {
	err := frame.ValidDID(ev.DID)
	if err == nil {
		return nil
	}
	rej := &verify.Rejection{Row: 10, Action: verify.Drop, Reason: "bad_did", Err: err}
	var fe *frame.Error
	if errors.As(err, &fe) {
		rej.Reason, rej.Err = fe.Reason, fe.Err
	}
	return rej
}
