package ingest

import (
	"context"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// decide is host.decide for what a relay brings. Who may speak for an account (T13, T14)
// and what its status is (T15) was the relay's to decide; all else is as for a host.
func (y *relayed) decide(s *subject) outcome {
	h := y.h
	held, err := h.m.accounts.Acquire(s.ev.DID)
	if err != nil {
		h.m.fail(err)
		return outcome{undecided: true}
	}
	defer held.Release()
	if held.Seen(h.addr.name, s.win.epoch, s.ev.Seq) { // T9
		return outcome{rej: duplicate}
	}
	acct := held.Account()
	if y.opts.Merge.has(s.ev, &acct) {
		return outcome{rej: late}
	}
	if !s.waited && y.opts.Merge.lacks(s.ev, &acct) {
		return outcome{park: true}
	}
	var out outcome
	switch s.ev.Kind {
	case frame.Commit, frame.Sync:
		out = y.decideRepo(s, &held, &acct)
	case frame.Account:
		out = h.takeStatus(s, &held)
	case frame.Identity:
		if out = h.append(s, &held, nil, 0, accounts.Repo{}, nil); out.rej == nil && !out.undecided {
			y.askAnew(s.ev.DID)
		}
	default:
		return rejected(3, verify.Ignore, "unknown_message", nil)
	}
	if out == (outcome{}) {
		y.opts.Merge.note(s.ev)
	}
	return out
}

// late is what another relay brought first.
var late = &verify.Rejection{Row: 9, Action: verify.Ignore, Reason: ledger.BroughtByAnother}

// decideRepo decides a #commit or #sync.
func (y *relayed) decideRepo(s *subject, held *accounts.Held, acct *accounts.Account) outcome {
	if out := localStatus(acct); out.rej != nil {
		return out
	}
	if y.opts.Unchecked || s.unanswered {
		return y.takeUnverified(s, held, acct)
	}
	if out := y.h.document(s); out.rej != nil {
		return out
	}
	res, key, err := y.h.verify(s, acct.Repo)
	if err != nil {
		return signature(s, err)
	}
	return y.h.append(s, held, key.Multicodec(), res.Verdict, res.State, nil)
}

// takeUnverified takes the relay's word for a #commit or #sync.
func (y *relayed) takeUnverified(s *subject, held *accounts.Held, acct *accounts.Account) outcome {
	v := y.h.m.verifier()
	defer y.h.m.verifiers.Put(v)
	res, err := v.Skim(s.ev, acct.Repo)
	if err != nil {
		return signature(s, err)
	}
	return y.h.append(s, held, nil, res.Verdict, res.State, nil)
}

// askAnew asks for a document that an #identity says has changed, in the background: an
// event that comes before the answer and does not fit the old key asks for itself (T26).
func (y *relayed) askAnew(did string) {
	now := y.h.m.opts.Now()
	if y.opts.Unchecked || y.h.identities.spent(did, now) {
		return
	}
	y.h.identities.use(did, now)
	y.ask(did, func(ctx context.Context, did string) {
		_, _, _ = y.h.m.opts.Resolver.Announced(ctx, did) // the resolver remembers the answer
	})
}

// numbered gives an entry the number that it has in the log, where that is the relay's.
func (y *relayed) numbered(e *segmentlog.Entry) {
	if y != nil && y.opts.KeepSeq {
		e.Seq = y.opts.Base + e.HostSeq
	}
}
