package ingest

import (
	"errors"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// document rejects what needs a document with a key and a host when there is none.
// T11, checklist.
func (h *host) document(s *subject) outcome {
	switch {
	case s.idErr == nil:
		return outcome{}
	case errors.Is(s.idErr, identity.ErrGone):
		return rejected(11, verify.Drop, "did_gone", s.idErr)
	}
	return rejected(11, verify.Drop, "did_unusable", s.idErr)
}

// tombstone notes in the log that an account whose DID was given up is deleted, when
// the log has the account and does not know that yet. T11, account page.
func (h *host) tombstone(s *subject, held *accounts.Held) outcome {
	if !errors.Is(s.idErr, identity.ErrTombstone) {
		return outcome{}
	}
	deleted := accounts.Status{Inactive: true, Reason: accounts.Deleted}
	if acct := held.Account(); acct.Host == "" || acct.Upstream == deleted {
		return outcome{}
	}
	return h.m.appendOwn(held, segmentlog.Local, deleted)
}

// hostAuthority rejects what comes from another host than the document names. T13,
// checklist.
func (h *host) hostAuthority(s *subject) outcome {
	if s.id.Host == h.addr.name {
		return outcome{}
	}
	out := rejected(13, verify.Drop, "wrong_host", nil)
	if !s.refreshed {
		return out.unless(newDocument)
	}
	return out
}

// decideIdentity decides an #identity, whose document was just refreshed. From
// another host than the document names it passes when that host was the account's
// until now, or when there is news in it; otherwise anyone could fill the log with
// other people's names. T11, T14, sync page.
func (h *host) decideIdentity(s *subject, held *accounts.Held) outcome {
	acct := held.Account()
	if s.id.Host != h.addr.name && acct.Host != h.addr.name && !s.changed {
		if out := h.document(s); out.rej != nil {
			return out
		}
		return rejected(14, verify.Drop, "identity_of_another_host", nil)
	}
	if s.idErr == nil && s.id.Host == h.addr.name {
		if out := h.accountLimit(s, held); out.undecided {
			return out
		}
	}
	return h.append(s, held, nil, 0, accounts.Repo{}, nil)
}
