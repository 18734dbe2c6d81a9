package netsim

import (
	"crypto/sha256"
	"fmt"
)

// Post emits one commit of an account of this host.
func (h *Host) Post(a *Account) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if a.host != h {
		return Entry{}, fmt.Errorf("account %s lives on %s, not on %s", a.DID, a.host.Name, h.Name)
	}
	if a.status != "" {
		return Entry{}, fmt.Errorf("account %s is %s", a.DID, a.status)
	}
	e, err := h.commit(a, shape{})
	if err != nil {
		return Entry{}, err
	}
	return e.export(), nil
}

// EmitFrame adds a frame of one's own to the backlog, under the number that it has, or
// the next one when it cannot be read or its number is used up. row is for drop and
// ignore. Documents for its DID come from Network.SetDocument.
func (h *Host) EmitFrame(frame []byte, outcome Outcome, row int) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &entry{host: h, kind: "raw", expect: expectation{outcome: outcome, row: row}}
	if p, err := Peek(frame); err == nil {
		e.did, e.kind, e.rev, e.order, e.sha = p.DID, p.Kind, p.Rev, p.Seq, p.Digest
	} else {
		e.sha = sha256.Sum256(frame)
	}
	e.want = e.sha
	if e.order <= h.seq {
		e.order = h.seq + 1
	}
	if err := h.append(e, frame); err != nil {
		return Entry{}, err
	}
	return e.export(), nil
}

// Sync emits a #sync with the account's newest commit.
func (h *Host) Sync(a *Account) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	e, err := h.sync(a)
	if err != nil {
		return Entry{}, err
	}
	return e.export(), nil
}

// Accounts returns the accounts that live on the host.
func (h *Host) Accounts() []*Account {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return append([]*Account(nil), h.accounts...)
}

// Account returns the host's i-th account.
func (h *Host) Account(i int) *Account {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.accounts[i]
}

// CreateAccount makes a new account and emits what the reference PDS does:
// #identity, #account, an empty #commit, and a #sync at the same rev.
func (n *Network) CreateAccount(h *Host) (*Account, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.createAccount(h)
}

func (n *Network) createAccount(h *Host) (*Account, error) {
	a, err := n.bornAccount(h)
	if err != nil {
		return nil, err
	}
	if _, err := h.identity(a); err != nil {
		return nil, err
	}
	if _, err := h.account(a); err != nil {
		return nil, err
	}
	if _, err := h.commit(a, shape{empty: true, draft: genesis}); err != nil {
		return nil, err
	}
	_, err = h.sync(a)
	return a, err
}

// genesis makes a draft the first commit of a repository.
func genesis(d *draft) { d.since, d.prevData = "", nil }

// bornAccount makes an account with an empty repository, known to the directory.
func (n *Network) bornAccount(h *Host) (*Account, error) {
	a := n.newAccount(h)
	n.ranks = append(n.ranks, a.index)
	if err := a.newKey(); err != nil {
		return nil, err
	}
	a.publish(n.clock.next())
	var err error
	a.repo, err = newRepo()
	return a, err
}

// Leave makes the account inactive ("deactivated", "takendown", "suspended" or
// "deleted") and emits the #account.
func (h *Host) Leave(a *Account, status string) error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.leave(a, status)
}

func (h *Host) leave(a *Account, status string) error {
	a.status = status
	_, err := h.account(a)
	return err
}

// ComeBack makes the account active again and emits what the reference PDS does:
// #account, #identity, #sync.
func (h *Host) ComeBack(a *Account) error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.comeBack(a)
}

func (h *Host) comeBack(a *Account) error {
	a.status = ""
	if _, err := h.account(a); err != nil {
		return err
	}
	if _, err := h.identity(a); err != nil {
		return err
	}
	_, err := h.sync(a)
	return err
}

// ComeBackSilently makes the account active again without a word, as a host whose
// #account was lost: its getRepoStatus says so, and its next commit is honest.
func (h *Host) ComeBackSilently(a *Account) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a.status = ""
}

// ChangeHandle gives the account a new handle, in the directory too, and emits the
// #identity.
func (n *Network) ChangeHandle(a *Account) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changeIdentity(a, func() error {
		a.handle = fmt.Sprintf("renamed%d.%s", len(a.document.history), a.handle)
		return nil
	})
}

// RotateKey gives the account a new signing key, in the directory too, and emits the
// #identity. Later commits are signed with it.
func (n *Network) RotateKey(a *Account) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changeIdentity(a, a.newKey)
}

func (n *Network) changeIdentity(a *Account, change func() error) error {
	if err := a.ensureRepo(); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	a.publish(n.clock.next())
	_, err := a.host.identity(a)
	return err
}

// Tombstone makes the directory answer 410 for the account's DID.
func (n *Network) Tombstone(a *Account) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a.document.gone = true
}

// Migrate moves an account to another host as the reference PDSes do it: a new key
// and endpoint in the directory, then from the new host #identity, #account,
// #identity and a #sync at a new rev. DeactivateOld is the old host's part, which
// follows.
func (n *Network) Migrate(a *Account, to *Host) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := a.ensureRepo(); err != nil {
		return err
	}
	from := a.host
	if from == to {
		return fmt.Errorf("account %s lives on %s already", a.DID, to.Name)
	}
	a.moveTo(to)
	if err := a.newKey(); err != nil {
		return err
	}
	at := n.clock.next()
	a.publish(at)
	a.repo.rev, a.known = a.nextRev(at), false // the new host signs the imported repository
	if _, err := to.identity(a); err != nil {
		return err
	}
	return to.comeBack(a)
}

func (a *Account) moveTo(to *Host) {
	from := a.host
	for i, b := range from.accounts {
		if a == b {
			from.accounts = append(from.accounts[:i:i], from.accounts[i+1:]...)
			break
		}
	}
	a.host = to
	to.accounts = append(to.accounts, a)
}

// DeactivateOld emits the #account (deactivated) that the old host writes after a
// migration. A relay that has read the new host's #identity drops it (row 13).
func (h *Host) DeactivateOld(a *Account) error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if a.host == h {
		return fmt.Errorf("account %s still lives on %s", a.DID, h.Name)
	}
	_, err := h.accountStatus(a, "deactivated", expectation{outcome: Drop, row: 13})
	return err
}
