package accounts

import (
	"slices"

	"github.com/cistern-archive/cistern/index"
)

// Status is an account's hosting status (the account page of the AT Protocol
// specification). The zero value is active.
type Status = index.Status

// Reasons that something is decided by.
const (
	Deleted   = "deleted"
	TakenDown = "takendown"
	Throttled = "throttled" // by us: its host has more accounts than it may
)

// maxReason bounds what is remembered of a reason, in bytes: hosts may send any
// text, and one that is longer is none that anybody knows.
const maxReason = 64

// StatusOf is the status that an #account event gives: active alone decides (T17).
func StatusOf(active bool, status string) Status {
	if active {
		return Status{}
	}
	if len(status) > maxReason {
		status = ""
	}
	return Status{Inactive: true, Reason: status}
}

// Account is what the log knows of one account. The zero value is an account that
// the log has nothing of.
type Account struct {
	Upstream Status // as its host last said
	Local    Status // as we set it
	Host     string // that last spoke with authority, as the log writes it
	Repo     Repo
}

// Of copies what the index keeps of an account.
func Of(a *index.Account) Account {
	out := Account{Upstream: a.Upstream, Local: a.Local, Host: a.Host}
	if a.Set.Has(index.RepoField) {
		out.Repo = Repo{Rev: string(a.Repo.Rev[:]), Data: slices.Clone(a.Repo.Data[:]), Commit: slices.Clone(a.Repo.Commit[:])}
	}
	return out
}

// Effective is the status that the relay serves: our own unless that is active,
// else the host's.
func (a Account) Effective() Status {
	if a.Local.Inactive {
		return a.Local
	}
	return a.Upstream
}
