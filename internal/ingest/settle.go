package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/verify"
)

// identityBurst is how many #identity events of one account may each ask for the
// document anew within RefreshEvery.
const identityBurst = 5

// halfJitter waits at least half of d: a resolver that fails is not asked at once.
func halfJitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// admit decides an event as it comes when nobody need be asked, and queues it
// otherwise. kept says that a queue has the message now.
func (h *host) admit(ctx context.Context, r *reader, m *message) (kept bool, err error) {
	ev := &m.ev
	if rej := form(ev); rej != nil {
		h.reject(m, rej)
		r.win.pass(ev.Seq)
		return false, nil
	}
	// An #identity always asks for the document.
	if ev.Kind != frame.Identity && !h.queues.busy(ev.DID) {
		if id, ok, err := h.m.opts.Resolver.Cached(ev.DID); ok {
			s := subject{ev: ev, win: r.win, id: id, idErr: err}
			out := h.decide(&s)
			if out.ask == nothing || h.alreadyAsked(ev.DID, out.ask) {
				return false, h.decided(m, out, func() { r.win.pass(ev.Seq) })
			}
		}
	}
	return h.queues.enter(ctx, r, m)
}

// decided counts an outcome and marks the event as done. An undecided one is not.
func (h *host) decided(m *message, out outcome, done func()) error {
	if out.undecided {
		return ErrStopped
	}
	if out.rej != nil {
		h.reject(m, out.rej)
	}
	done()
	return nil
}

// alreadyAsked says whether the question was asked so lately that the answer stands.
func (h *host) alreadyAsked(did string, q question) bool {
	now := time.Now()
	switch q {
	case newDocument:
		return h.authority.spent(did, now)
	case newKey, pastKeys: // what was refreshed lately still leaves the keys of the past
		return false
	case repoStatus:
		return h.statuses.knownInactive(did, now)
	}
	return true
}

// serve decides an account's waiting events one after the other.
func (h *host) serve(acct *queue) {
	for it := h.queues.first(acct); it != nil; it = h.queues.first(acct) {
		if !h.settle(acct, it) {
			h.queues.abandon(acct)
			return
		}
		h.queues.leave(acct, it)
		it.m.release()
	}
}

// settle asks whom it must and decides a waiting event. It returns false when all
// work ends first.
func (h *host) settle(acct *queue, it *waiting) bool {
	s := &subject{ev: &it.m.ev, win: it.win}
	rej, err := h.settled(acct, it, s)
	if err != nil {
		return false
	}
	if rej != nil {
		h.reject(it.m, rej)
		return true
	}
	ask := h.lookup
	if s.ev.Kind == frame.Identity {
		ask = h.lookAgain
	}
	for {
		if err := ask(s); err != nil {
			again, rej := h.hold(acct, it, err)
			if again {
				continue
			}
			if rej == nil {
				return false
			}
			h.reject(it.m, rej)
			return true
		}
		h.queues.answered(acct)
		out := h.decide(s)
		if out.ask == nothing {
			return h.decided(it.m, out, func() {}) == nil
		}
		ask = h.asker(out.ask)
	}
}

// settled says what is known about a waiting event before anyone is asked: that it is
// a duplicate (T9), or that it waited in vain behind another that did (T12). With an
// error nothing is known, and all work ends.
func (h *host) settled(acct *queue, it *waiting, s *subject) (*verify.Rejection, error) {
	held, err := h.m.accounts.Acquire(s.ev.DID)
	if err != nil {
		h.m.fail(err)
		return nil, err
	}
	seen := held.Seen(h.addr.name, s.win.epoch, s.ev.Seq)
	held.Release()
	if seen {
		return duplicate, nil
	}
	if acct.retry.failures > 0 && h.expired(it) {
		return &verify.Rejection{Row: 12, Action: verify.Drop, Reason: "held_too_long"}, nil
	}
	return nil, nil
}

func (h *host) expired(it *waiting) bool {
	return time.Since(it.arrived) >= h.m.opts.Bounds.HoldFor
}

// hold waits until an answer may be there. T12, T15. Without again, rej says why the
// event is dropped; it is nil when all work ends.
func (h *host) hold(acct *queue, it *waiting, cause error) (again bool, rej *verify.Rejection) {
	if h.m.reading.Err() != nil {
		return false, nil
	}
	if h.expired(it) {
		return false, &verify.Rejection{Row: 12, Action: verify.Drop, Reason: "held_too_long", Err: cause}
	}
	if !h.queues.hold(acct) {
		return false, holdFull
	}
	wait := acct.retry.next()
	var ue *identity.UnavailableError
	if errors.As(cause, &ue) {
		wait = max(wait, ue.RetryAfter)
	}
	left := h.m.opts.Bounds.HoldFor - time.Since(it.arrived)
	return sleep(h.m.reading, min(wait, left)), nil
}
