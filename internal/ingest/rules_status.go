package ingest

import (
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// errInactive says which status an account has.
type errInactive struct{ accounts.Status }

func (e errInactive) Error() string { return "status is " + e.Reason }

// localStatus rejects the repo events of an account that we made inactive. T16,
// checklist.
func localStatus(acct *accounts.Account) outcome {
	if acct.Local.Inactive {
		return rejected(16, verify.Drop, "locally_inactive", errInactive{acct.Local})
	}
	return outcome{}
}

// upstreamStatus rejects the repo events of an account whose host said that it is
// inactive, once the host was asked whether it still is: a status event that was
// missed must not silence an account for ever. T15, account page and checklist.
func (h *host) upstreamStatus(s *subject, held *accounts.Held, acct *accounts.Account) outcome {
	if !acct.Upstream.Inactive {
		return outcome{}
	}
	if s.asked && s.active {
		return h.m.appendOwn(held, segmentlog.Local, accounts.Status{})
	}
	out := rejected(15, verify.Drop, "account_inactive", errInactive{acct.Upstream})
	if !s.asked {
		return out.unless(repoStatus)
	}
	return out
}

// decideAccount decides an #account. With no document to give authority, only the
// account's own host may still say that it is gone (T11, account page).
func (h *host) decideAccount(s *subject, held *accounts.Held) outcome {
	acct := held.Account()
	if s.idErr != nil {
		lastWord := acct.Host == h.addr.name && !s.ev.Active
		if out := h.document(s); !lastWord {
			return out
		}
	} else if out := h.hostAuthority(s); out.rej != nil {
		return out
	} else if out := h.accountLimit(s, held); out.undecided {
		return out
	}
	return h.takeStatus(s, held)
}

// takeStatus appends an #account: what the host says is recorded; what is served is our
// own status as long as that is not active. T16 and T17, lexicon.
func (h *host) takeStatus(s *subject, held *accounts.Held) outcome {
	acct := held.Account()
	status := accounts.StatusOf(s.ev.Active, s.ev.Status)
	var v segmentlog.Verdict
	if local := acct.Local; local.Inactive && local != status {
		ev, err := s.ev.WithStatus(false, local.Reason)
		if err != nil {
			return rejected(16, verify.Drop, "not_rewritable", err)
		}
		s.ev = ev
		v = segmentlog.Rewritten.WithHostStatus(!status.Inactive, status.Reason)
	}
	return h.append(s, held, nil, v, accounts.Repo{}, &status)
}
