package identity

import (
	"errors"
	"fmt"
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

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnusable, fmt.Errorf(format, args...))
}
