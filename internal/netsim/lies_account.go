package netsim

import (
	"fmt"
	"slices"
)

// accountLies are about who may speak for an account (rows 11 to 15).
var accountLies = []Lie{
	{Name: "unknown-did-commit", Row: 11, About: "a commit of a DID that the directory does not have", tell: ofNobody(false)},
	{Name: "unknown-did-sync", Row: 11, About: "a #sync of a DID that the directory does not have", tell: ofNobody(true)},
	{Name: "tombstoned-did", Row: 11, About: "a commit of a DID that was tombstoned", tell: ofTheGone},
	{Name: "other-host-commit", Row: 13, About: "a commit of another host's account, signed with its key", tell: ofOther(otherCommit)},
	{Name: "other-host-sync", Row: 13, About: "a #sync of another host's account", tell: ofOther(otherSync)},
	{Name: "other-host-account", Row: 13, About: "an #account (takendown) about another host's account", tell: ofOther(otherAccount)},
	{Name: "other-host-identity", Row: 14, About: "an #identity of another host's account, whose document did not change",
		tell: ofOther(otherIdentity)},
	{Name: "inactive-commit", Row: 15, About: "a commit of an account that its host calls taken down", tell: ofDormant(otherCommit)},
	{Name: "inactive-sync", Row: 15, About: "a #sync of an account that its host calls taken down", tell: ofDormant(otherSync)},
}

// ofNobody speaks for a DID that was never registered.
func ofNobody(sync bool) func(*liar) error {
	return func(l *liar) error {
		nobody, err := l.extra(l.h)
		if err != nil {
			return err
		}
		delete(l.h.net.byDID, nobody.DID)
		if sync {
			return otherSync(l, nobody)
		}
		return otherCommit(l, nobody)
	}
}

func ofTheGone(l *liar) error {
	gone, err := l.extra(l.h)
	if err != nil {
		return err
	}
	gone.document.gone = true
	return otherCommit(l, gone)
}

// extra makes an account that Step does not choose and no host lists.
func (l *liar) extra(home *Host) (*Account, error) {
	n := l.h.net
	a := n.newAccount(home)
	home.accounts = home.accounts[:len(home.accounts)-1]
	if err := a.ensureRepo(); err != nil {
		return nil, err
	}
	return a, nil
}

// ofOther speaks for an account that lives elsewhere: on the next host, or on one that
// nobody listens on.
func ofOther(speak func(*liar, *Account) error) func(*liar) error {
	return func(l *liar) error {
		n := l.h.net
		for i := 1; i < len(n.hosts); i++ {
			for _, a := range n.hosts[(l.h.index+i)%len(n.hosts)].accounts {
				if a.status == "" && !a.livedOn(l.h) {
					return speak(l, a)
				}
			}
		}
		if n.elsewhere == nil {
			n.elsewhere = newHost(n, len(n.hosts))
		}
		a, err := l.extra(n.elsewhere)
		if err != nil {
			return err
		}
		return speak(l, a)
	}
}

// livedOn says whether the directory ever named the host for the account.
func (a *Account) livedOn(h *Host) bool {
	return slices.ContainsFunc(a.document.history, func(op plcOp) bool { return op.pds == h.URL })
}

// ofDormant speaks for an account of this host that it has called taken down.
func ofDormant(speak func(*liar, *Account) error) func(*liar) error {
	return func(l *liar) error {
		h := l.h
		if h.dormant == nil {
			a, err := l.extra(h)
			if err != nil {
				return err
			}
			if err := h.leave(a, "takendown"); err != nil {
				return fmt.Errorf("put an account to sleep: %w", err)
			}
			h.dormant = a
		}
		return speak(l, h.dormant)
	}
}

func otherCommit(l *liar, a *Account) error {
	if err := a.ensureRepo(); err != nil {
		return err
	}
	other := &liar{h: l.h, a: a, lie: l.lie}
	d, err := other.honest()
	if err != nil {
		return err
	}
	return other.sealDraft(d)
}

func otherSync(l *liar, a *Account) error {
	if err := a.ensureRepo(); err != nil {
		return err
	}
	d := a.syncDraft(l.h.net.clock.next())
	d.rev = a.nextRev(l.h.net.clock.last)
	return l.sealDraft(d)
}

func otherAccount(l *liar, a *Account) error {
	at := formatTime(l.h.net.clock.next())
	return l.tellMessage(a.DID, "#account", accountMessage(a.DID, "takendown", at, false))
}

func otherIdentity(l *liar, a *Account) error {
	at := formatTime(l.h.net.clock.next())
	return l.tellMessage(a.DID, "#identity", identityMessage(a.DID, a.handle, at))
}
