package frame

import (
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Errors of ValidDID, wrapped in its *Error.
var (
	errDIDMethod = errors.New("method is neither plc nor web")
	errDIDPLC    = errors.New("did:plc wants exactly 24 characters of a-z and 2-7")
	errDIDWeb    = errors.New("did:web wants a lower-case hostname of two labels or more, without port or path")
)

// ValidDID checks an account's DID and returns an *Error of row 10 for one that
// cannot be served. did:web is what AT Protocol supports of it: a bare public
// hostname, so neither a path, a port, an IP address nor a single label.
//
// T10, did.
func ValidDID(did string) error {
	reject := func(reason string, err error) error { return &Error{Row: 10, Reason: reason, Err: err} }
	if _, err := syntax.ParseDID(did); err != nil {
		return reject("bad_did", err)
	}
	if id, ok := strings.CutPrefix(did, "did:plc:"); ok {
		if !validPLC(id) {
			return reject("bad_did", errDIDPLC)
		}
		return nil
	}
	if host, ok := strings.CutPrefix(did, "did:web:"); ok {
		if !validHostname(host) {
			return reject("bad_did", errDIDWeb)
		}
		return nil
	}
	return reject("unsupported_did_method", errDIDMethod)
}

// validPLC checks a did:plc identifier: 24 characters of lower-case base32.
func validPLC(id string) bool {
	if len(id) != 24 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// validHostname checks a lower-case DNS name (RFC 1123) of at most 253 bytes whose
// last label is not a number, as that of an IPv4 address would be.
func validHostname(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if !validLabel(l) {
			return false
		}
	}
	return !isDigit(labels[len(labels)-1][0])
}

func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		if c := l[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}
