package crawl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ingest"
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

// UnreachableError is a host that did not answer as a PDS does. Error is for strangers:
// addresses, which may be of the inside, are in Err alone.
type UnreachableError struct {
	Host string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s cannot be crawled: %s", e.Host, e.why())
}

// Detail is the whole error, for operators.
func (e *UnreachableError) Detail() string {
	return fmt.Sprintf("%s cannot be crawled: %v", e.Host, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func (e *UnreachableError) why() string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var answer *answerError
	switch {
	case errors.Is(e.Err, identity.ErrNotPublic):
		return "its name must resolve to public addresses, and to nothing else"
	case errors.Is(e.Err, ingest.ErrRelay):
		return "it is a relay"
	case errors.As(e.Err, &dns):
		return "its name does not resolve"
	case errors.As(e.Err, &certificate):
		return "its certificate is not valid"
	case errors.As(e.Err, &answer):
		return answer.Error()
	case errors.Is(e.Err, websocket.ErrBadHandshake):
		return "its event stream does not open"
	case errors.Is(e.Err, context.DeadlineExceeded), errors.Is(e.Err, os.ErrDeadlineExceeded):
		return "it did not answer in time"
	}
	return "it cannot be reached"
}

// answerError is an answer of a host that is none of a PDS.
type answerError struct{ what string }

func (e *answerError) Error() string { return e.what }
