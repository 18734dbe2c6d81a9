package accounts

import (
	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Repo is the state of an account's repo.
type Repo = verify.State

// Change is what one record of the log changes about its account.
type Change struct {
	At      uint64 // the record's seq in the log
	Host    string // "" for an event of our own
	Epoch   uint64
	Seq     uint64 // the host's
	Verdict segmentlog.Verdict
	Repo    Repo    // of a #commit or #sync; zero for others
	Status  *Status // of an #account as its host gave it, or as we set it; nil for others
}

// Into writes the change into a as the index keeps it; a keeps the room of its marks.
// It is the one place that says what a record means: the table in memory and the
// index on disk both apply what it makes.
func (c *Change) Into(a *index.Account) {
	*a = index.Account{Marks: a.Marks[:0]}
	if c.Host != "" {
		a.Marks = append(a.Marks, index.Mark{Host: c.Host, At: c.At, Epoch: c.Epoch, Seq: c.Seq})
		if c.Verdict.Has(segmentlog.Authority) {
			a.Set |= index.HostField
			a.Host = c.Host
		}
	}
	if c.Status != nil {
		c.setStatus(a)
	}
	if r := &c.Repo; len(r.Rev) == index.RevSize && len(r.Data) == index.CIDSize && len(r.Commit) == index.CIDSize {
		a.Set |= index.RepoField
		copy(a.Repo.Rev[:], r.Rev)
		copy(a.Repo.Data[:], r.Data)
		copy(a.Repo.Commit[:], r.Commit)
	}
}

// setStatus takes a host's word as upstream status. An event of our own that says
// active holds for both; one that says deleted tells that the DID was given up;
// any other is a decision of ours.
func (c *Change) setStatus(a *index.Account) {
	s := *c.Status
	switch {
	case !c.Verdict.Has(segmentlog.Local):
		a.Set |= index.Upstream
		a.Upstream = s
	case !s.Inactive:
		a.Set |= index.Upstream | index.Local
	case s.Reason == Deleted:
		a.Set |= index.Upstream
		a.Upstream = s
	default:
		a.Set |= index.Local
		a.Local = s
	}
}
