package netsim

import (
	"math"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// dialects is the table of honest ways to write that are not the reference PDS's.
var dialects = []Dialect{
	{Name: "prevdata-null", About: "a first commit with prevData null instead of absent",
		Flags: segmentlog.Reencoded, speak: firstCommitWithNull},
	{Name: "absent-rebase", About: "rebase left out", Flags: segmentlog.Reencoded, speak: absent("rebase")},
	{Name: "absent-toobig", About: "tooBig left out", Flags: segmentlog.Reencoded, speak: absent("tooBig")},
	{Name: "absent-blobs", About: "blobs left out", Flags: segmentlog.Reencoded, speak: absent("blobs")},
	{Name: "absent-all", About: "rebase, tooBig and blobs left out",
		Flags: segmentlog.Reencoded, speak: absent("rebase", "tooBig", "blobs")},
	{Name: "absent-since", About: "since left out",
		Flags: segmentlog.Reencoded, speak: withoutSince(func(m *message) { m.remove("since") })},
	{Name: "since-null", About: "since null although there was a commit before", speak: withoutSince(nil)},
	{Name: "op-prev-null", About: "the prev of a create is null instead of absent",
		Flags: segmentlog.Reencoded, speak: createWithNullPrev},
	{Name: "header-op-first", About: "op before t in the header", Flags: segmentlog.Reencoded,
		speak: rewritten(func(m *message) {
			m.edit = func(frame []byte) []byte { return swapHeader(frame, m.header) }
		})},
	{Name: "payload-unsorted", About: "payload keys in the order of the lexicon", Flags: segmentlog.Reencoded,
		speak: rewritten(func(m *message) { m.unsorted = true })},
	{Name: "wide-ints", About: "seq and lengths of maps in eight bytes", Flags: segmentlog.Reencoded,
		speak: rewritten(func(m *message) { m.wideInts = true })},
	{Name: "indefinite-map", About: "the payload map has no stated length", Flags: segmentlog.Reencoded,
		speak: rewritten(func(m *message) { m.indefinite = true })},
	{Name: "blocks-reversed", About: "CAR blocks in another order",
		speak: inCAR(func(c *carFile) { slices.Reverse(c.blocks) })},
	{Name: "blocks-doubled", About: "every CAR block twice",
		speak: inCAR(func(c *carFile) { c.blocks = append(c.blocks, c.blocks...) })},
	{Name: "blocks-unlinked", About: "a CAR block that nothing refers to",
		speak: inCAR(func(c *carFile) {
			c.blocks = append(c.blocks, newBlock(encodeFields([]field{{"x", text("unlinked")}})))
		})},
	{Name: "extra-root", About: "a second CAR root",
		speak: inCAR(func(c *carFile) { c.roots = append(c.roots, c.blocks[1].cid) })},
	{Name: "sync-repeat", About: "a #sync at the rev of the commit before",
		Flags: segmentlog.Repeat, speak: commitAndSync},
	{Name: "seq-micros", About: "sequence numbers are timestamps in microseconds, from here on", speak: numbersOfTime},
	{Name: "record-float", About: "a record with a float", Flags: segmentlog.RecordDefect,
		speak: written("com.example.measure", func([]byte) []byte {
			return encodeFields([]field{{"$type", text("com.example.measure")}, {"value", float64Value(math.Float64bits(0.5))}})
		})},
	{Name: "record-unsorted", About: "a record whose keys are not sorted", Flags: segmentlog.RecordDefect,
		speak: written("com.example.unsorted", func([]byte) []byte {
			m := message{unsorted: true}
			return m.appendMap(nil, []field{{"zebra", uintValue(1)}, {"ant", uintValue(2)}}, 0)
		})},
	{Name: "empty-commit", About: "no ops, data is prevData, with the root node", speak: emptyCommit(false)},
	{Name: "empty-commit-bare", About: "no ops, data is prevData, no tree blocks", speak: emptyCommit(true)},
	{Name: "unknown-fields", About: "fields that no lexicon knows, in the payload",
		speak: drafted(func(d *draft) {
			d.onMessage = func(m *message) { m.set("zzExtension", encodeFields([]field{{"nested", byteString([]byte{1, 2, 3})}})) }
		})},
	{Name: "unknown-commit-field", About: "the commit object has a signed field more",
		speak: drafted(func(d *draft) {
			d.onCommit = func(f []field) []field { return append(f, field{"extra", text("kept under the signature")}) }
		})},
	{Name: "toobig-true", About: "tooBig and rebase are true, and nothing else is unusual",
		speak: drafted(func(d *draft) {
			d.onMessage = func(m *message) { m.set("tooBig", boolean(true)); m.set("rebase", boolean(true)) }
		})},
	{Name: "first-without-prevdata", About: "the first commit seen of an older repository has neither since nor prevData",
		Flags: segmentlog.Unproven, speak: unprovenCommit},
	{Name: "commit-gap", About: "a commit was lost on the way: prevData is not what was seen last",
		Flags: segmentlog.Discontinuous, speak: commitGap},
	{Name: "repo-again", About: "the repository begins anew: since null, no prevData, one record",
		speak: repoAgain},
	{Name: "account-odd-status", About: "an active account with a status that no lexicon knows", speak: oddStatus},
	{Name: "identity-without-handle", About: "an #identity that only says: look again", speak: bareIdentity},
	{Name: "silent-return", About: "a commit after the #account (active) was lost", Solo: true, speak: silentReturn},
	{Name: "past-key", About: "a commit signed before a key rotation arrives after it",
		Flags: segmentlog.PastKey, Solo: true, speak: pastKey},
}

func firstCommitWithNull(h *Host, _ *Account, x expectation) error {
	a, err := h.net.bornAccount(h)
	if err != nil {
		return err
	}
	_, err = h.commit(a, shape{
		empty: true, draft: genesis, expect: x, wire: func(m *message) { m.set("prevData", null()) },
	})
	return err
}

func createWithNullPrev(h *Host, a *Account, x expectation) error {
	ops := []op{a.create(collLike, h.net.clock.next())}
	_, err := h.commit(a, shape{ops: ops, expect: x, wire: func(m *message) { m.set("ops", nullPrevs(ops)) }})
	return err
}

// swapHeader writes a header's two fields the other way round.
func swapHeader(frame []byte, header []field) []byte {
	sorted := encodeFields(header)
	m := message{unsorted: true}
	swapped := m.appendMap(nil, []field{header[1], header[0]}, 0)
	return append(swapped, frame[len(sorted):]...)
}

func commitAndSync(h *Host, a *Account, x expectation) error {
	if _, err := h.commit(a, shape{}); err != nil {
		return err
	}
	e, err := h.sync(a)
	if err == nil {
		e.expect.dialect = x.dialect
	}
	return err
}

func numbersOfTime(h *Host, a *Account, x expectation) error {
	h.micros = true
	_, err := h.commit(a, shape{expect: x})
	return err
}

func emptyCommit(bare bool) func(*Host, *Account, expectation) error {
	return func(h *Host, a *Account, x expectation) error {
		_, err := h.commit(a, shape{empty: true, expect: x, draft: func(d *draft) {
			if bare {
				d.nodes = nil
			}
		}})
		return err
	}
}

// unprovenCommit is of an account that no relay has seen: row 36.
func unprovenCommit(h *Host, _ *Account, x expectation) error {
	a := h.net.newAccount(h)
	if err := a.ensureRepo(); err != nil {
		return err
	}
	_, err := h.commit(a, shape{ops: []op{a.create(collPost, h.net.clock.next())}, draft: genesis, expect: x})
	return err
}

// commitGap moves the account on without telling anyone, and then commits.
func commitGap(h *Host, a *Account, x expectation) error {
	if !a.known { // there must be something to differ from
		if _, err := h.commit(a, shape{}); err != nil {
			return err
		}
	}
	at := h.net.clock.next()
	lost, err := a.draftOn(a.repo, shape{ops: []op{a.create(collPost, at)}}, at)
	if err != nil {
		return err
	}
	a.repo.rev = lost.rev
	_, err = h.commit(a, shape{expect: x})
	return err
}

func repoAgain(h *Host, a *Account, x expectation) error {
	if a.known {
		x.flags |= segmentlog.Discontinuous
	}
	fresh, err := newRepo()
	if err != nil {
		return err
	}
	fresh.rev, a.repo = a.repo.rev, fresh
	_, err = h.commit(a, shape{ops: []op{a.create(collPost, h.net.clock.next())}, draft: genesis, expect: x})
	return err
}

func oddStatus(h *Host, a *Account, x expectation) error {
	at := h.net.clock.next()
	_, err := h.emit(h.plain(a.DID, "#account", accountMessage(a.DID, "hibernating", formatTime(at), true), at, x))
	return err
}

func bareIdentity(h *Host, a *Account, x expectation) error {
	at := h.net.clock.next()
	_, err := h.emit(h.plain(a.DID, "#identity", identityMessage(a.DID, "", formatTime(at)), at, x))
	return err
}

func silentReturn(h *Host, a *Account, x expectation) error {
	if err := h.leave(a, "deactivated"); err != nil {
		return err
	}
	a.status = ""
	_, err := h.commit(a, shape{expect: x})
	return err
}

func pastKey(h *Host, a *Account, x expectation) error {
	old, at := a.key, h.net.clock.next()
	rev := a.nextRev(at)
	if err := h.net.changeIdentity(a, a.newKey); err != nil {
		return err
	}
	_, err := h.commit(a, shape{rev: rev, key: old, expect: x})
	return err
}

// indefinite turns the head of an encoded map of fewer than 24 fields into one
// without a length.
func indefinite(m []byte) []byte {
	out := append([]byte{dagcbor.MajorMap<<5 | 31}, m[1:]...)
	return append(out, 0xff)
}
