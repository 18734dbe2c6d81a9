package frame

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Error says which row of docs/verification.md a frame breaks. Without Ignore or
// Close the frame is dropped and counted, and the connection goes on.
type Error struct {
	Row    int    // row of the table
	Reason string // stable metric label in snake_case, such as "duplicate_key"
	Ignore bool   // counted, but not a rejection; this package never sets it, callers who judge a parsed event may
	Close  bool   // the connection is to be closed too
	Err    error  // detail, may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("T%d %s", e.Row, e.Reason)
	}
	return fmt.Sprintf("T%d %s: %v", e.Row, e.Reason, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// T6, data-model: what makes an envelope undecodable, by metric label.
var envelopeReasons = []struct {
	err    error
	reason string
}{
	{dagcbor.ErrTruncated, "truncated"},
	{dagcbor.ErrDuplicateKey, "duplicate_key"},
	{dagcbor.ErrFloat, "float"},
	{dagcbor.ErrTag, "bad_tag"},
	{dagcbor.ErrCID, "bad_cid"},
	{dagcbor.ErrInteger, "bad_integer"},
	{dagcbor.ErrSimple, "bad_simple_value"},
	{dagcbor.ErrUTF8, "bad_utf8"},
	{dagcbor.ErrDepth, "nested_too_deeply"},
	{dagcbor.ErrTrailing, "trailing_bytes"},
	{dagcbor.ErrMalformed, "malformed_cbor"},
	{dagcbor.ErrKey, "bad_key"},
	{errTangled, "tangled"},
	{errHeader, "bad_header"},
}

// rejection turns an error of the readers into an *Error.
func rejection(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	for _, r := range envelopeReasons {
		if errors.Is(err, r.err) {
			return &Error{Row: 6, Reason: r.reason, Err: err}
		}
	}
	return &Error{Row: 6, Reason: "undecodable", Err: err}
}

// mistyped is T7's error for a field whose value has another type than the
// lexicon's; errors of any other sort pass through.
func mistyped(field []byte, err error) error {
	if err == nil || !errors.Is(err, dagcbor.ErrType) {
		return err
	}
	return &Error{Row: 7, Reason: "mistyped_field", Err: fmt.Errorf("field %q: %w", clip(field), err)}
}

// clip bounds what an upstream can put into an error message, in bytes.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }
