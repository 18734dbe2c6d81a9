package crawl

import (
	"errors"
	"fmt"
	"time"
)

// Why a host is not crawled. Each is what the caller should be told.
var (
	// ErrDisabled says that strangers may ask for nothing (--disable-request-crawl).
	ErrDisabled = errors.New("this relay does not take requests to crawl")
	// ErrNotReading says that no hosts are read for the moment: ask again.
	ErrNotReading = errors.New("hosts are not read for the moment")
	// ErrUnknown says that the host is not crawled.
	ErrUnknown = errors.New("unknown host")
	// ErrNoConnection says that there is nothing to end.
	ErrNoConnection = errors.New("no active connection to given host")
)

// Reasons that a host sees when its connection is closed.
var (
	errBanned = errors.New("banned by the relay's operator")
	errKilled = errors.New("ended by the relay's operator")
)

// InvalidError is a name that cannot be a host's.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

// BannedError is a host that an operator banned, by its name or by a domain above it.
type BannedError struct{ Host, By string }

func (e *BannedError) Error() string {
	if e.Host == e.By {
		return fmt.Sprintf("%s is banned from this relay", e.Host)
	}
	return fmt.Sprintf("%s is banned from this relay, as all of %s is", e.Host, e.By)
}

// LimitError says that too much was asked for.
type LimitError struct {
	What  string
	After time.Duration // how long to wait before asking again
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s; try again in %v", e.What, e.After.Round(time.Second))
}

// UnreachableError is a host that did not answer as a PDS does.
type UnreachableError struct {
	Host string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s cannot be crawled: %v", e.Host, e.Err)
}
func (e *UnreachableError) Unwrap() error { return e.Err }
