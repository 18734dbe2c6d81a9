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
	Repo    Repo // of a #commit or #sync; zero for others
	// What an #account sets: its host's word, our own decision, or both; nil for what it
	// leaves.
	Upstream, Local *Status
}

// Into writes the change into a as the index keeps it; a keeps the room of its marks.
// It is the one place that says what a change does: the table in memory and the index
// on disk both apply what it makes.
func (c *Change) Into(a *index.Account) {
	*a = index.Account{Marks: a.Marks[:0]}
	if c.Host != "" {
		a.Marks = append(a.Marks, index.Mark{Host: c.Host, At: c.At, Epoch: c.Epoch, Seq: c.Seq})
		if c.Verdict.Has(segmentlog.Authority) {
			a.Set |= index.HostField
			a.Host = c.Host
		}
	}
	if c.Upstream != nil {
		a.Set |= index.Upstream
		a.Upstream = *c.Upstream
	}
	if c.Local != nil {
		a.Set |= index.Local
		a.Local = *c.Local
	}
	if r := &c.Repo; len(r.Rev) == index.RevSize && len(r.Data) == index.CIDSize && len(r.Commit) == index.CIDSize {
		a.Set |= index.RepoField
		copy(a.Repo.Rev[:], r.Rev)
		copy(a.Repo.Data[:], r.Data)
		copy(a.Repo.Commit[:], r.Commit)
	}
}

// SetStatus sets what an #account says whose frame has the status served. One of a
// host's is the host's word, which a Rewritten one has in its verdict, if at all. One
// of our own is our decision, but for three: what says active holds for both; what
// says deleted tells that the DID was given up; what names the host's word lifts our
// decision.
func (c *Change) SetStatus(served Status) {
	active, reason, known := c.Verdict.HostStatus()
	word := StatusOf(active, reason)
	switch {
	case known && c.Verdict.Has(segmentlog.Local):
		c.Upstream, c.Local = &word, new(Status)
	case known:
		c.Upstream = &word
	case c.Verdict.Has(segmentlog.Rewritten): // the record does not have it
	case !c.Verdict.Has(segmentlog.Local):
		c.Upstream = &served
	case !served.Inactive:
		c.Upstream, c.Local = &served, &served
	case served.Reason == Deleted:
		c.Upstream = &served
	default:
		c.Local = &served
	}
}
