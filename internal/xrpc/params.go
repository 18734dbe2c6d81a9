package xrpc

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// params reads the parameters of a query by the rules of its lexicon. The first that breaks
// one is err, in words that name it; what is read then is the zero value.
type params struct {
	values url.Values
	err    error
}

func paramsOf(raw string) *params {
	values, err := url.ParseQuery(raw)
	if err != nil {
		err = fmt.Errorf("query: %w", err)
	}
	return &params{values, err}
}

func (p *params) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...))
	}
}

// text is a string of at most most bytes, "" where it is not given.
func (p *params) text(name string, most int) string {
	all := p.values[name]
	if len(all) > 1 {
		p.fail(name, "it is given %d times", len(all))
		return ""
	}
	s := p.values.Get(name)
	if len(s) > most {
		p.fail(name, "it is longer than %d bytes", most)
		return ""
	}
	return s
}

// required is a string that must be there.
func (p *params) required(name string, most int) string {
	s := p.text(name, most)
	if s == "" {
		p.fail(name, "it is missing")
	}
	return s
}

const (
	maxDID    = 2048 // bytes, of the DID page
	maxNSID   = 317  // of the NSID page
	maxTID    = 20   // more than one has
	maxCursor = 4096 // of our own
)

// did is an account that must be named.
func (p *params) did(name string) string {
	s := p.required(name, maxDID)
	if _, err := syntax.ParseDID(s); err != nil && s != "" {
		p.fail(name, "it is not a DID")
	}
	return s
}

// tid checks a value that is a TID.
func (p *params) tid(name, value string) {
	if _, err := syntax.ParseTID(value); err != nil {
		p.fail(name, "it is not a TID")
	}
}

// nsid is the name of a collection that must be there.
func (p *params) nsid(name string) string {
	s := p.required(name, maxNSID)
	if _, err := syntax.ParseNSID(s); err != nil && s != "" {
		p.fail(name, "it is not an NSID such as app.bsky.feed.post")
	}
	return s
}

// limit is a page's size, from 1 to most.
func (p *params) limit(usual, most int) int {
	s := p.text("limit", 20)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		p.fail("limit", "it must be a number from 1 to %d", most)
		return 0
	}
	return n
}

// time is a time of RFC 3339, the zero time where it is not given.
func (p *params) time(name string) time.Time {
	s := p.text(name, 100)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		p.fail(name, "it must be a time such as 2026-01-02T15:00:00Z (RFC 3339)")
	}
	return t
}

// failure is an answer that is an error of XRPC.
type failure struct {
	status  int
	name    string
	message string
}

func (f *failure) Error() string { return f.message }

func invalid(err error) error { return &failure{http.StatusBadRequest, "InvalidRequest", err.Error()} }

// query makes a handler of a method that only reads: it answers with what f returns, as JSON,
// or with its error.
func query(f func(r *http.Request, p *params) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allows(w, r, http.MethodGet) {
			return
		}
		p := paramsOf(r.URL.RawQuery)
		if p.err != nil {
			writeFailure(w, invalid(p.err))
			return
		}
		body, err := f(r, p)
		if err != nil {
			writeFailure(w, err)
			return
		}
		WriteJSON(w, http.StatusOK, body)
	}
}
