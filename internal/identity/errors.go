package identity

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that a caller decides by, all reached with errors.Is.
var (
	// ErrGone: the DID is definitely not there (404, 410, no such name). Reject what
	// needs it; asking again at once is of no use.
	ErrGone = errors.New("identity: DID does not exist")
	// ErrTombstone: the DID existed and was given up for ever. It is an ErrGone.
	ErrTombstone = fmt.Errorf("%w: tombstoned", ErrGone)
	// ErrUnusable: there is a document, but without a signing key or a PDS that can
	// be used. The wrapping error has the reason.
	ErrUnusable = errors.New("identity: document is of no use")
	// ErrUnavailable: no resolver answered, for the moment. Wait and ask again.
	ErrUnavailable = errors.New("identity: resolver unavailable")
)

// UnavailableError is an ErrUnavailable that may know when to ask again.
type UnavailableError struct {
	RetryAfter time.Duration // 0 when the resolver did not say
	Err        error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%v: %v", ErrUnavailable, e.Err)
}

// Unwrap makes errors.Is find both the sentinel and the cause.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

func unavailable(err error) error { return &UnavailableError{Err: err} }

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnusable, fmt.Errorf(format, args...))
}

// maxFinalText bounds the text of an answer that is remembered, in bytes: a document
// may put 64 KiB of its own into the reason why it is of no use.
const maxFinalText = 200

// finalError is an ErrGone or ErrUnusable in the form that is remembered.
type finalError struct {
	kind error // one of the sentinels
	text string
}

func (e *finalError) Error() string { return e.text }
func (e *finalError) Unwrap() error { return e.kind }

// final makes an answer that is definite small. The sentinel that it is of remains.
func final(err error) error {
	for _, kind := range []error{ErrTombstone, ErrGone, ErrUnusable} {
		if errors.Is(err, kind) {
			text := err.Error()
			if len(text) > maxFinalText {
				text = strings.ToValidUTF8(text[:maxFinalText], "") + "…"
			}
			return &finalError{kind: kind, text: text}
		}
	}
	return err
}

// finalBytes is what such an error takes, in bytes.
func finalBytes(err error) int {
	const itself = 48
	return itself + len(err.Error())
}
