package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxRetryAfter bounds how long a directory may keep us away, whatever it says.
	maxRetryAfter = time.Hour
	// maxFailures in a row, and a directory is left alone for a while.
	maxFailures = 5
	// restFirst is how long at first; each failure after that doubles it up to restMost.
	restFirst = time.Second
	restMost  = 30 * time.Second
)

// plcHost is one PLC directory: what is let through to it, and how it fares. One that
// asks for time is given it, and one that fails again and again is left alone; then a
// single request tries it.
type plcHost struct {
	url  string // without a trailing slash
	name string // the same without a password
	gate *gate
	now  func() time.Time

	mu       sync.Mutex
	until    time.Time // before which it is left alone
	failures int       // in a row
	trying   bool      // one request finds out whether it is back
}

// newDirectories makes a directory of each URL, once.
func newDirectories(o *Options, gates *sync.Mutex) ([]*plcHost, error) {
	var all []*plcHost
	for _, h := range o.PLCHosts {
		u, err := url.Parse(strings.TrimRight(h, "/"))
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("PLC host %q is not an http or https URL", h)
		}
		p := &plcHost{url: u.String(), name: u.Redacted(), now: o.Now, gate: newGate(gates, o.PLCRate, o.Concurrent)}
		if !slices.ContainsFunc(all, func(other *plcHost) bool { return other.name == p.name }) {
			all = append(all, p)
		}
	}
	return all, nil
}

// rests says for how long the directory is left alone, 0 when it is not.
func (p *plcHost) rests() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left(p.now())
}

func (p *plcHost) left(now time.Time) time.Duration {
	if d := p.until.Sub(now); d > 0 {
		return d
	}
	if p.trying {
		return restFirst
	}
	return 0
}

// begin says that a request is sent, or for how long none may be.
func (p *plcHost) begin() (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait = p.left(p.now()); wait == 0 && p.failures >= maxFailures {
		p.trying = true
	}
	return wait
}

// end says how a request went; nil is a document. What is not there, or has no use,
// tells nothing of the directory, unless it was to find out whether that is back.
func (p *plcHost) end(err error) {
	p.mu.Lock()
	tried := p.trying
	p.trying = false
	now, rest := p.now(), time.Duration(0)
	var ue *UnavailableError
	switch {
	case errors.As(err, &ue):
		if !now.Before(p.until) { // else it rests already: many were on their way together
			p.failures++
			rest = p.rest(err)
		}
		rest = max(rest, ue.RetryAfter)
	case err == nil || tried:
		p.failures = 0
	}
	begins := rest > 0 && now.Add(rest).After(p.until)
	if begins {
		p.until = now.Add(rest)
	}
	p.mu.Unlock()
	if begins {
		p.gate.refuse()
	}
}

// rest is how long a directory that did not say so is left alone after a failure.
func (p *plcHost) rest(err error) time.Duration {
	if errors.Is(err, errTooMany) {
		return backoff(p.failures)
	}
	return backoff(p.failures - maxFailures + 1)
}

// backoff is how long after so many failures, 0 for none.
func backoff(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return min(restFirst<<min(failures-1, 16), restMost)
}

// question is what a directory is asked about one DID.
type question struct {
	did   string
	path  string // below the directory's URL
	limit int64  // of the answer, in bytes
	// read takes the answer. An error that is neither ErrGone nor ErrUnusable means
	// that the directory is out of order.
	read func(body []byte) error
	// registered: the DID is known to exist, so that a 404 is no answer.
	registered bool
}

// askPLC asks the directories in order; the first definite answer counts.
func (f *fetcher) askPLC(ctx context.Context, t *ticket, q *question) error {
	var errs []error
	var soonest time.Duration
	later := func(p *plcHost, wait time.Duration, err error) {
		errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		if wait > 0 && (soonest == 0 || wait < soonest) {
			soonest = wait
		}
	}
	for _, p := range f.plc {
		if wait := p.rests(); wait > 0 {
			later(p, wait, errRests)
			continue
		}
		if err := p.gate.enter(ctx, t); err != nil {
			if ctx.Err() != nil {
				return unavailable(err)
			}
			later(p, max(p.rests(), restFirst), err)
			continue
		}
		err := f.askOne(ctx, p, q)
		p.gate.leave()
		var ue *UnavailableError
		if !errors.As(err, &ue) {
			return err
		}
		later(p, max(ue.RetryAfter, p.rests()), ue.Err)
	}
	return &UnavailableError{RetryAfter: soonest, Err: errors.Join(errs...)}
}

var errRests = errors.New("it is left alone for a while")

// askOne asks one directory. A definite answer is nil, ErrGone or ErrUnusable.
func (f *fetcher) askOne(ctx context.Context, p *plcHost, q *question) error {
	if wait := p.begin(); wait > 0 {
		return &UnavailableError{RetryAfter: wait, Err: errRests}
	}
	body, err := f.get(ctx, f.plcHTTP, q.did, p.url+"/"+q.path, q.limit)
	switch {
	case err == nil:
		if err = q.read(body); err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnusable) {
			err = unavailable(err)
		}
	case errors.Is(err, errTooLong):
		err = unavailable(err)
	case q.registered && errors.Is(err, ErrGone) && !errors.Is(err, ErrTombstone):
		// No operation takes a DID out of the directory.
		err = unavailable(fmt.Errorf("a DID that it gave before is not there: %w", errNotThere))
	}
	p.end(err)
	return err
}
