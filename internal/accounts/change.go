package accounts

import (
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Repo is the state of an account's repo.
type Repo = verify.State

// Change is what one record of the log changes about its account.
type Change struct {
	Host    string // "" for an event of our own
	Epoch   uint64
	Seq     uint64
	Verdict segmentlog.Verdict
	Repo    Repo    // of a #commit or #sync; zero for others
	Status  *Status // of an #account as its sender gave it; nil for others and when that is not known
}

// apply is the one way in which an entry changes. A Rewritten event's frame no
// longer has the host's word, so a rebuilt table may lack an upstream status that
// the live one knew; the account's local status covers it for as long as it lasts.
func (e *entry) apply(c *Change) {
	if c.Host != "" {
		host := e.raise(c.Host, c.Epoch, c.Seq)
		if c.Verdict.Has(segmentlog.Authority) {
			e.host = host
		}
	}
	if c.Status != nil {
		e.setStatus(*c.Status, c.Verdict)
	}
	if c.Repo.Known() {
		e.repo.set(c.Repo)
	}
}

// setStatus takes a host's word as upstream status. An event of our own that says
// active holds for both; one that says deleted tells that the DID was given up;
// any other is a decision of ours.
func (e *entry) setStatus(s Status, v segmentlog.Verdict) {
	switch {
	case !v.Has(segmentlog.Local):
		e.upstream = pack(s)
	case !s.Inactive:
		e.upstream, e.local = pack(s), pack(s)
	case s.Reason == Deleted:
		e.upstream = pack(s)
	default:
		e.local = pack(s)
	}
}
