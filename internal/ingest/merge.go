package ingest

import (
	"hash/maphash"
	"sync"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
)

// mergeRemembers is how many events a Merge knows again that have no rev which tells: 6
// hours of them at 12 a second, in about 10 MB.
const mergeRemembers = 1 << 18

// Merge knows again what one of several relays has brought already: a #commit by its
// rev, since an account's revs only grow, a #sync by account and rev, #identity and
// #account by what they say. It is safe for concurrent use.
type Merge struct {
	seed maphash.Seed

	mu    sync.Mutex
	known map[uint64]struct{}
	order []uint64 // what is in known, the oldest at next once it is full
	next  int
}

// NewMerge returns a Merge that knows nothing: tell it of the log's latest events with
// Note.
func NewMerge() *Merge {
	return &Merge{seed: maphash.MakeSeed(), known: make(map[uint64]struct{})}
}

// has says whether another relay brought the event, whose account is held.
func (g *Merge) has(ev *frame.Event, acct *accounts.Account) bool {
	switch {
	case g == nil:
		return false
	case ev.Kind == frame.Commit:
		return acct.Repo.Known() && ev.Rev <= acct.Repo.Rev
	}
	key := g.key(ev)
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.known[key]
	return known
}

// lacks says whether the log lacks what stands before a #commit, by the commit's word: it
// follows a rev that is newer than the account's last.
func (g *Merge) lacks(ev *frame.Event, acct *accounts.Account) bool {
	return g != nil && ev.Kind == frame.Commit && acct.Repo.Known() && ev.Since > acct.Repo.Rev
}

// note is Note for a Merge that may be nil.
func (g *Merge) note(ev *frame.Event) {
	if g != nil {
		g.Note(ev)
	}
}

// Note remembers an event that is in the log.
func (g *Merge) Note(ev *frame.Event) {
	if ev.Kind == frame.Commit {
		return // the account's state has its rev
	}
	key := g.key(ev)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.known[key]; known {
		return
	}
	g.known[key] = struct{}{}
	if len(g.order) < mergeRemembers {
		g.order = append(g.order, key)
		return
	}
	delete(g.known, g.order[g.next])
	g.order[g.next] = key
	g.next = (g.next + 1) % mergeRemembers
}

// key is what an event is known by. Relays encode what hosts send anew, so it is what the
// fields say, without the number.
func (g *Merge) key(ev *frame.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	part := func(s string) {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	part(ev.Type)
	part(ev.DID)
	if ev.Kind == frame.Sync {
		part(ev.Rev)
		return h.Sum64()
	}
	part(ev.Time)
	part(ev.Handle)
	part(ev.Status)
	if ev.Active {
		part("active")
	}
	return h.Sum64()
}
