package accounts

import (
	"unique"

	"github.com/cistern-archive/cistern/index"
)

// entry is an account in memory.
type entry struct {
	acct index.Account
	rev  string // acct.Repo.Rev as text, "" when no state is known
	last uint64 // the newest record that is in it; 0 when it is as the store had it
	used bool   // since the table last looked for something to forget
}

// entryBytes is about what an entry costs with its DID, its map cell and one mark.
const entryBytes = 384

// newEntry takes what the store knows. Hosts' names are shared between accounts.
func newEntry(a index.Account) *entry {
	e := &entry{acct: a}
	if a.Set.Has(index.RepoField) {
		e.rev = string(a.Repo.Rev[:])
	}
	e.acct.Host = shared(a.Host)
	for i := range e.acct.Marks {
		e.acct.Marks[i].Host = shared(e.acct.Marks[i].Host)
	}
	e.acct.Upstream.Reason, e.acct.Local.Reason = shared(a.Upstream.Reason), shared(a.Local.Reason)
	return e
}

func shared(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}

// apply changes the entry by a record. scratch is room for what it says.
func (e *entry) apply(c *Change, scratch *index.Account) {
	c.Into(scratch)
	e.acct.Apply(scratch)
	if scratch.Set.Has(index.RepoField) {
		e.rev = c.Repo.Rev
	}
	e.last = max(e.last, c.At)
}

// mark returns what is known of a host.
func (e *entry) mark(host string) *index.Mark {
	for i := range e.acct.Marks {
		if e.acct.Marks[i].Host == host {
			return &e.acct.Marks[i]
		}
	}
	return nil
}

// account aliases e.
func (e *entry) account() Account {
	a := Account{Upstream: e.acct.Upstream, Local: e.acct.Local, Host: e.acct.Host}
	if e.rev != "" {
		a.Repo = Repo{Rev: e.rev, Data: e.acct.Repo.Data[:], Commit: e.acct.Repo.Commit[:]}
	}
	return a
}
