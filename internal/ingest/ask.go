package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/cistern-archive/cistern/internal/identity"
)

// asker returns who answers a question of decide. Each asker sets what it found out
// in the subject; its error means that nobody answered, for the moment.
func (h *host) asker(q question) func(*subject) error {
	switch q {
	case newDocument:
		return func(s *subject) error { return h.refreshOnce(s, h.authority, &s.refreshed) }
	case newKey:
		return func(s *subject) error { return h.refreshOnce(s, h.rekeys, &s.rekeyed) }
	case pastKeys:
		return h.lookBack
	case repoStatus:
		return h.askStatus
	}
	return h.lookup
}

// lookup finds the account's document. T11, T12.
func (h *host) lookup(s *subject) error {
	ctx := h.m.reading
	if ctx.Err() != nil {
		// Stopping: only what is known counts.
		id, ok, err := h.m.opts.Resolver.Cached(s.ev.DID)
		if !ok {
			return ErrStopped
		}
		s.id, s.idErr = id, err
		return nil
	}
	return s.answer(h.m.opts.Resolver.Lookup(ctx, s.ev.DID))
}

// answer takes a resolver's answer when it is one.
func (s *subject) answer(id identity.Identity, err error) error {
	if err != nil && !errors.Is(err, identity.ErrGone) && !errors.Is(err, identity.ErrUnusable) {
		return err
	}
	s.id, s.idErr = id, err
	return nil
}

// lookAgain asks for the document anew because an #identity says that something
// changed, and notes whether it did. T14. When the resolver fails, a document that is
// known will do (T12).
func (h *host) lookAgain(s *subject) error {
	now := time.Now()
	if h.m.reading.Err() != nil {
		return ErrStopped
	}
	if h.identities.spent(s.ev.DID, now) {
		return h.lookup(s)
	}
	id, changed, err := h.m.opts.Resolver.Announced(h.m.reading, s.ev.DID)
	if err := s.answer(id, err); err != nil {
		return err
	}
	h.identities.use(s.ev.DID, now)
	s.changed = changed
	return nil
}

var errOldDocument = errors.New("the document could not be asked for anew")

// refreshOnce asks for the document anew, at most so often as the limit says; it is
// the event's only try. T13, T26. The old document is no answer here.
func (h *host) refreshOnce(s *subject, limit *recent, tried *bool) error {
	now := time.Now()
	if h.m.reading.Err() != nil {
		return ErrStopped
	}
	if limit.spent(s.ev.DID, now) {
		*tried = true
		return h.lookup(s)
	}
	id, err := h.m.opts.Resolver.Refresh(h.m.reading, s.ev.DID)
	if err == nil && id.Stale {
		return &identity.UnavailableError{Err: errOldDocument}
	}
	if err := s.answer(id, err); err != nil {
		return err
	}
	limit.use(s.ev.DID, now)
	*tried = true
	return nil
}

// lookBack finds the keys that were valid at the event's rev. T26.
func (h *host) lookBack(s *subject) error {
	if h.m.reading.Err() != nil {
		return ErrStopped
	}
	s.lookedBack = true
	rev, err := syntax.ParseTID(s.ev.Rev)
	if err != nil {
		return nil // the verifier has said so
	}
	keys, err := h.m.opts.Resolver.PastKeys(h.m.reading, s.ev.DID, rev.Time())
	if errors.Is(err, identity.ErrUnavailable) {
		s.lookedBack = false
		return err
	}
	s.past = keys
	return nil
}

// askStatus asks the account's host whether it is active. T15.
func (h *host) askStatus(s *subject) error {
	s.asked, s.active = true, false
	if h.statuses.knownInactive(s.ev.DID, time.Now()) {
		return nil
	}
	active, err := h.statusOf(h.m.reading, s.ev.DID)
	if err != nil {
		s.asked = false
		return fmt.Errorf("status of %s: %w", s.ev.DID, err)
	}
	s.active = active
	if !active {
		h.statuses.inactive(s.ev.DID, time.Now())
	}
	return nil
}

// statusOf waits for the host's turn and asks it.
func (h *host) statusOf(ctx context.Context, did string) (active bool, err error) {
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return h.m.statuses.ask(ctx, &h.addr, did)
}

// statusCache remembers which accounts a host said are inactive when it was asked.
type statusCache struct{ recent *recent }

func newStatusCache(every time.Duration) *statusCache {
	return &statusCache{newRecent(every, 1)}
}

func (c *statusCache) knownInactive(did string, now time.Time) bool { return c.recent.spent(did, now) }
func (c *statusCache) inactive(did string, now time.Time)           { c.recent.use(did, now) }
