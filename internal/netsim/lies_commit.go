package netsim

import (
	"bytes"
	"math"
	"slices"
	"time"
)

// commitLies are about the commit object, its signature and its rev (rows 24 to 29).
var commitLies = []Lie{
	{Name: "commit-version-2", Row: 24, About: "version 2, signed", tell: bentCommit(func(f []field) []field {
		return replaced(f, "version", uintValue(2))
	})},
	{Name: "commit-without-prev", Row: 24, About: "no prev field, signed", tell: bentCommit(without("prev"))},
	{Name: "commit-without-data", Row: 24, About: "no data field, signed", tell: bentCommit(without("data"))},
	{Name: "commit-without-did", Row: 24, About: "no did field, signed", tell: bentCommit(without("did"))},
	{Name: "commit-without-rev", Row: 24, About: "no rev field, signed", tell: bentCommit(without("rev"))},
	{Name: "commit-without-sig", Row: 24, About: "no signature", tell: bent(func(d *draft) { d.onObject = withoutSig })},
	{Name: "commit-float", Row: 24, About: "a float in the commit object, signed", tell: bentCommit(func(f []field) []field {
		return append(f, field{"weight", float64Value(math.Float64bits(0.25))})
	})},
	{Name: "commit-bad-cid", Row: 24, About: "the link to the tree lacks its leading zero byte, signed", tell: bentCommit(func(f []field) []field {
		for _, x := range f {
			if x.key == "data" {
				return replaced(f, "data", bytes.Replace(x.val, []byte{0x25, 0x00}, []byte{0x25, 0x05}, 1))
			}
		}
		return f
	})},
	{Name: "commit-unsorted", Row: 24, About: "the keys of the commit object are not sorted; the signature is over the sorted form",
		tell: bent(func(d *draft) { d.onObject = unsortedObject })},
	{Name: "commit-trailing-byte", Row: 24, About: "a byte after the commit object, within its block", tell: bent(func(d *draft) {
		d.onObject = func(o []byte) []byte { return append(o, 0) }
	})},
	{Name: "commit-other-did", Row: 25, About: "the commit object names another DID", tell: bentCommit(func(f []field) []field {
		return replaced(f, "did", text("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"))
	})},
	{Name: "commit-other-rev", Row: 25, About: "the commit object has an older rev than the message", tell: bentCommit(func(f []field) []field {
		return replaced(f, "rev", text(tid(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), 1)))
	})},
	{Name: "signature-wrong-key", Row: 26, About: "signed with a key that never was the account's", tell: wrongKey},
	{Name: "signature-high-s", Row: 26, About: "the other, malleable form of the signature", tell: bent(func(d *draft) {
		d.onSignature = d.key.highS
	})},
	{Name: "signature-short", Row: 26, About: "a signature of 63 bytes", tell: bent(func(d *draft) {
		d.onSignature = func(sig []byte) []byte { return sig[:63] }
	})},
	{Name: "signature-stale", Row: 26, About: "the tree was changed after signing", tell: staleSignature},
	{Name: "rev-in-future", Row: 27, About: "a rev of the year 2200", tell: bent(func(d *draft) { d.rev = futureRev })},
	{Name: "commit-old-rev", Row: 28, About: "an honest commit whose rev is older than what was seen", Outcome: Ignore, tell: oldCommit},
	{Name: "sync-old-rev", Row: 29, About: "a #sync older than what was seen", Outcome: Ignore, tell: oldSync},
	{Name: "sync-other-commit", Row: 29, About: "a #sync at the rev of the newest commit, with another one", tell: otherSyncCommit},
}

// futureRev is a TID of the year 2200; TIDs end in 2255.
var futureRev = tid(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), 1)

func bentCommit(edit func([]field) []field) func(*liar) error {
	return bent(func(d *draft) { d.onCommit = edit })
}

func replaced(fields []field, key string, val []byte) []field {
	out := slices.Clone(fields)
	for i := range out {
		if out[i].key == key {
			out[i].val = val
		}
	}
	return out
}

func without(key string) func([]field) []field {
	return func(fields []field) []field {
		return slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.key == key })
	}
}

// withoutSig takes the signature, whose key sorts second, out of an encoded commit.
func withoutSig(object []byte) []byte {
	i := bytes.Index(object, []byte("\x63sig\x58\x40"))
	out := append([]byte{object[0] - 1}, object[1:i]...)
	return append(out, object[i+4+2+64:]...)
}

// unsortedObject moves the first field of an encoded commit, its DID, to the end.
func unsortedObject(object []byte) []byte {
	n := 1 + 4 + 2 + len("did:plc:") + 24 // map head, key, text head, the DID
	out := append([]byte{object[0]}, object[n:]...)
	return append(out, object[1:n]...)
}

func wrongKey(l *liar) error {
	key, err := newSigner(l.a.key.curve(), l.h.net.opts.Seed, "stranger", l.a.index, 0)
	if err != nil {
		return err
	}
	return bent(func(d *draft) { d.key = key })(l)
}

// staleSignature puts a signature over one tree into a commit of another.
func staleSignature(l *liar) error {
	d, err := l.honest()
	if err != nil {
		return err
	}
	before := encodeFields([]field{
		{"did", text(d.did)}, {"rev", text(d.rev)}, {"data", link(d.prevData)}, {"prev", null()}, {"version", uintValue(3)},
	})
	sig, err := d.key.sign(before)
	if err != nil {
		return err
	}
	return l.tellDraft(d, func(d *draft) { d.onSignature = func([]byte) []byte { return sig } })
}

// beforeAll is a rev older than any of a network's.
var beforeAll = tid(time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), 3)

func oldCommit(l *liar) error {
	if err := l.known(); err != nil {
		return err
	}
	return bent(func(d *draft) { d.rev = beforeAll })(l)
}

func oldSync(l *liar) error {
	if err := l.known(); err != nil {
		return err
	}
	d := l.a.syncDraft(l.h.net.clock.next())
	d.rev = beforeAll
	return l.sealDraft(d)
}

func otherSyncCommit(l *liar) error {
	if err := l.known(); err != nil {
		return err
	}
	d := l.a.syncDraft(l.h.net.clock.next())
	return l.tellDraft(d, func(d *draft) {
		d.onCommit = func(f []field) []field { return append(f, field{"fork", boolean(true)}) }
	})
}
