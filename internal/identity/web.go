package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

const (
	// webConcurrent bounds the requests for did:web documents on their way. They are
	// apart from those to directories: a stranger's server that does not answer must
	// not keep anyone from a directory.
	webConcurrent = 32
	// webPerSite bounds those to servers of one registered domain, so that one with a
	// wildcard and a server that does not answer cannot take all.
	webPerSite = 4
	// webWaiting bounds the requests that wait for their turn.
	webWaiting = 4096
)

// sites bounds the requests for did:web documents.
type sites struct {
	slots chan struct{}

	mu      sync.Mutex
	m       map[string]*site
	waiting int
}

// site is a registered domain that is being asked.
type site struct {
	slots chan struct{}
	users int // requests that hold or wait for a slot
}

func newSites() *sites {
	return &sites{slots: make(chan struct{}, webConcurrent), m: make(map[string]*site)}
}

// enter waits for a slot of the name's site and one of all. Whoever got them must call
// leave.
func (s *sites) enter(ctx context.Context, name string) (leave func(), err error) {
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil { // it is a suffix itself
		domain = name
	}
	s.mu.Lock()
	if s.waiting >= webWaiting {
		s.mu.Unlock()
		return nil, errCrowded
	}
	s.waiting++
	st := s.m[domain]
	if st == nil {
		st = &site{slots: make(chan struct{}, webPerSite)}
		s.m[domain] = st
	}
	st.users++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	forget := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if st.users--; st.users == 0 {
			delete(s.m, domain)
		}
	}
	select {
	case st.slots <- struct{}{}:
	case <-ctx.Done():
		forget()
		return nil, context.Cause(ctx)
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		<-st.slots
		forget()
		return nil, context.Cause(ctx)
	}
	return func() {
		<-s.slots
		<-st.slots
		forget()
	}, nil
}

// fetchWeb reads https://<name>/.well-known/did.json (the did page allows no path
// and no port). A name that is not there, or is not public, is a definite answer, and
// so is what the name's owner serves there.
func (f *fetcher) fetchWeb(ctx context.Context, did string) (Identity, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(did, "did:web:"))
	if err != nil || strings.ContainsAny(name, "/:@?#") {
		return Identity{}, unusable("%s is not a plain hostname", did)
	}
	leave, err := f.sites.enter(ctx, name)
	if err != nil {
		return Identity{}, unavailable(err)
	}
	defer leave()
	body, err := f.get(ctx, f.webHTTP, did, "https://"+name+"/.well-known/did.json", maxDocument)
	var dns *net.DNSError
	switch {
	case err == nil:
	case errors.As(err, &dns) && dns.IsNotFound:
		return Identity{}, fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, ErrNotPublic):
		return Identity{}, unusable("%s: %w", did, err)
	default:
		return Identity{}, err
	}
	id, err := parseDocument(did, body)
	if err != nil && !errors.Is(err, ErrUnusable) {
		err = unusable("%w", err)
	}
	return id, err
}
