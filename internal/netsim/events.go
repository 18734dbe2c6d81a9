package netsim

import (
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
)

// shape says how one honest commit differs from the usual. The zero value is a
// random commit of the account, as the reference PDS writes it.
type shape struct {
	ops    []op           // nil: random ones
	empty  bool           // no ops at all
	draft  func(*draft)   // edits that a relay serves as they are
	wire   func(*message) // edits that a relay re-encodes
	expect expectation
	rev    string // instead of a new one
	key    *signer
}

// commit emits an honest commit and moves the account's state. The network is locked.
func (h *Host) commit(a *Account, s shape) (*entry, error) {
	if err := a.ensureRepo(); err != nil {
		return nil, err
	}
	at := h.net.clock.next()
	d, err := a.draft(s, at)
	if err != nil {
		return nil, err
	}
	if s.draft != nil {
		s.draft(d)
	}
	sealed, err := d.seal()
	if err != nil {
		return nil, err
	}
	em := h.emissionOf(d, sealed.msg, at, s.expect)
	if s.wire != nil {
		em.want = sealed.msg
		em.sent = sealed.msg.clone()
		s.wire(em.sent)
	}
	a.repo.rev, a.repo.commit, a.object, a.known = d.rev, sealed.commit, sealed.object, true
	return h.emit(em)
}

// emissionOf wraps a commit or sync; no outcome means accept.
func (h *Host) emissionOf(d *draft, m *message, at int64, x expectation) emission {
	if x.outcome == "" {
		x.outcome = Accept
	}
	kind := "#commit"
	if d.sync {
		kind = "#sync"
	}
	return emission{did: d.did, kind: kind, rev: d.rev, sent: m, expect: x, at: at}
}

// draft applies a shape's ops to the account's tree and drafts the commit. The
// account's rev is not moved yet.
func (a *Account) draft(s shape, at int64) (*draft, error) {
	return a.draftOn(a.repo, s, at)
}

// draftOn is draft on another tree, such as a fork of the account's.
func (a *Account) draftOn(r *repo, s shape, at int64) (*draft, error) {
	d := &draft{
		did: a.DID, since: r.rev, prevData: r.data, time: formatTime(at), key: a.key, rev: s.rev, ops: s.ops,
	}
	if d.rev == "" {
		d.rev = a.nextRev(at)
	}
	if s.key != nil {
		d.key = s.key
	}
	if d.ops == nil && !s.empty {
		d.ops = a.randomOps(r, at)
	}
	var err error
	if len(d.ops) == 0 {
		root, err := r.rootNode()
		if err != nil {
			return nil, err
		}
		d.nodes, d.data = []block{root}, r.data
		return d, nil
	}
	if d.nodes, err = r.apply(d.ops); err != nil {
		return nil, fmt.Errorf("commit of %s: %w", a.DID, err)
	}
	d.data = r.data
	for _, o := range d.ops {
		if o.record != nil {
			d.records = append(d.records, block{cid: o.cid, data: o.record})
		}
	}
	return d, nil
}

// sync emits a #sync with the account's newest commit, making one when there is
// none yet. The network is locked.
func (h *Host) sync(a *Account) (*entry, error) {
	if err := a.ensureRepo(); err != nil {
		return nil, err
	}
	at := h.net.clock.next()
	d := a.syncDraft(at)
	var x expectation
	if a.known {
		x.flags = segmentlog.Repeat
		d.onObject = func([]byte) []byte { return a.object }
	}
	sealed, err := d.seal()
	if err != nil {
		return nil, err
	}
	a.repo.commit, a.object, a.known = sealed.commit, sealed.object, true
	return h.emit(h.emissionOf(d, sealed.msg, at, x))
}

// syncDraft drafts a #sync at the account's state.
func (a *Account) syncDraft(at int64) *draft {
	return &draft{did: a.DID, rev: a.repo.rev, data: a.repo.data, key: a.key, time: formatTime(at), sync: true}
}

// identity emits an #identity. The network is locked.
func (h *Host) identity(a *Account) (*entry, error) {
	at := h.net.clock.next()
	return h.emit(h.plain(a.DID, "#identity", identityMessage(a.DID, a.handle, formatTime(at)), at, expectation{}))
}

// account emits an #account with the account's status. The network is locked.
func (h *Host) account(a *Account) (*entry, error) {
	return h.accountStatus(a, a.status, expectation{})
}

func (h *Host) accountStatus(a *Account, status string, x expectation) (*entry, error) {
	at := h.net.clock.next()
	return h.emit(h.plain(a.DID, "#account", accountMessage(a.DID, status, formatTime(at), status == ""), at, x))
}

// plain wraps an event without a rev.
func (h *Host) plain(did, kind string, m *message, at int64, x expectation) emission {
	if x.outcome == "" {
		x.outcome = Accept
	}
	return emission{did: did, kind: kind, sent: m, expect: x, at: at}
}
