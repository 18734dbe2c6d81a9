package verify

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// field sets or, with nil, takes out a field of the commit object.
func field(name string, encoded []byte) func(*testing.T, *draft) {
	return func(_ *testing.T, d *draft) {
		if encoded == nil {
			delete(d.fields, name)
		} else {
			d.fields[name] = encoded
		}
	}
}

// rewrap puts other bytes in the place of the commit block, under their own CID.
func rewrap(edit func(block []byte) []byte) func(*frame.Event) {
	return func(ev *frame.Event) {
		root, blocks, err := readCARHeader(ev.Blocks)
		if err != nil {
			panic(err)
		}
		var out []tblock
		for len(blocks) > 0 {
			cid, data, rest, err := nextBlock(blocks)
			if err != nil {
				panic(err)
			}
			if bytes.Equal(cid, root) {
				b := newBlock(edit(bytes.Clone(data)))
				ev.Commit, cid, data = b.cid, b.cid, b.data
			}
			out = append(out, tblock{cid, data})
			blocks = rest
		}
		ev.Blocks = encodeCAR([][]byte{ev.Commit}, out)
	}
}

func rawCodec(cid []byte) []byte {
	c := bytes.Clone(cid)
	c[1] = codecRaw
	return c
}

// at sets message and commit to a rev.
func at(rev string) func(*testing.T, *draft) {
	return func(_ *testing.T, d *draft) {
		d.ev.Rev = rev
		d.fields["rev"] = dagcbor.AppendText(nil, rev)
	}
}

func tid(offset time.Duration) string {
	// The Verifier's clock stands an hour after testNow.
	return syntax.NewTID(testNow.Add(time.Hour+offset).UnixMicro(), 0).String()
}

// T24–T27: the commit object.
func TestCommitObjectRules(t *testing.T) {
	const row24, object = 24, "commit_object"
	text := func(s string) []byte { return dagcbor.AppendText(nil, s) }
	rules := []rule{
		{name: "T24 version 2", alter: field("version", []byte{2}), row: row24, reason: object},
		{name: "T24 version is text", alter: field("version", text("3")), row: row24, reason: object},
		{name: "T24 did is not text", alter: field("did", []byte{0}), row: row24, reason: object},
		{name: "T24 data of codec raw", alter: func(t *testing.T, d *draft) {
			d.fields["data"] = dagcbor.AppendCID(nil, rawCodec(d.repo.root))
		}, row: row24, reason: object},
		{name: "T24 data is null", alter: field("data", []byte{0xf6}), row: row24, reason: object},
		{name: "T24 prev of another hash", alter: field("prev", dagcbor.AppendCID(nil, append([]byte{1, 0x71, 0x13, 0x20}, make([]byte, 32)...))), row: row24, reason: object},
		{name: "T24 a prev link passes", alter: func(t *testing.T, d *draft) { d.fields["prev"] = dagcbor.AppendCID(nil, d.repo.root) }},
		{name: "T24 rev is no TID", alter: at("not-a-tid-at-"), row: row24, reason: object},
		{name: "T24 rev is a TID with its top bits set", alter: at("zzzzzzzzzzzzz"), row: row24, reason: object},
		{name: "T24 a float", alter: field("extra", []byte{0xfb, 0, 0, 0, 0, 0, 0, 0, 0}), row: row24, reason: object},
		{name: "T24 unsorted keys", after: rewrap(func(b []byte) []byte {
			return append(append([]byte{b[0] + 1}, b[1:]...), "\x61aA"...)
		}), row: row24, reason: object},
		{name: "T24 bytes behind", after: rewrap(func(b []byte) []byte { return append(b, 0) }), row: row24, reason: object},
		{name: "T24 ends early", after: rewrap(func(b []byte) []byte { return b[:len(b)-1] }), row: row24, reason: object},
		{name: "T24 not a map", after: rewrap(func([]byte) []byte { return []byte{0x80} }), row: row24, reason: object},
		{name: "T24 commit CID of codec raw", alter: func(t *testing.T, d *draft) {
			fixSignature(d)
			c := rawCodec(d.commitBlock().cid)
			d.roots = [][]byte{c}
			d.blocks = func(commit tblock) []tblock { return append(d.nodes, tblock{c, commit.data}) }
		}, after: func(ev *frame.Event) { ev.Commit = rawCodec(ev.Commit) }, row: row24, reason: object},
		{name: "T24 unknown fields pass, signed", alter: field("extra", []byte{0xa1, 0x61, 'x', 0x01})},
		{name: "T24 25 fields pass, 24 of them signed", alter: func(t *testing.T, d *draft) {
			for i := range 19 {
				d.fields["extra"+string(rune('a'+i))] = []byte{byte(i)}
			}
		}},
		{name: "T25 commit of another did", alter: field("did", text("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")), row: 25, reason: "commit_did"},
		{name: "T25 message of another did", after: func(ev *frame.Event) { ev.DID += "x" }, row: 25, reason: "commit_did"},
		{name: "T25 commit of another rev", alter: field("rev", text(tid(-time.Second))), row: 25, reason: "commit_rev"},
		{name: "T27 rev 5 min and 1 µs ahead", alter: at(tid(5*time.Minute + time.Microsecond)), row: 27, reason: "rev_in_future"},
		{name: "T27 rev 5 min ahead passes", alter: at(tid(5 * time.Minute))},
	}
	for _, f := range []string{"did", "rev", "data", "prev", "version"} {
		rules = append(rules, rule{name: "T24 no " + f, alter: field(f, nil), row: row24, reason: object})
	}
	rules = append(rules, rule{name: "T24 no sig", after: rewrap(func(b []byte) []byte {
		var c commit
		if err := c.decodeCommit(sum(b), b); err != nil {
			t.Fatal(err)
		}
		return c.appendUnsigned(nil)
	}), row: row24, reason: object})
	checkRules(t, rules)
}

// T26: the signature.
func TestSignatureRules(t *testing.T) {
	stranger, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(with func(d *draft, unsigned []byte) []byte) func(*testing.T, *draft) {
		return func(t *testing.T, d *draft) { d.sig = func(u []byte) []byte { return with(d, u) } }
	}
	checkRules(t, []rule{
		{name: "T26 another key", alter: sign(func(_ *draft, u []byte) []byte {
			sig, err := stranger.HashAndSign(u)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}), row: 26, reason: "bad_signature"},
		{name: "T26 an unknown field added after signing", alter: func(t *testing.T, d *draft) {
			fixSignature(d)
			d.fields["extra"] = []byte{1}
		}, row: 26, reason: "bad_signature"},
		{name: "T26 high S", alter: sign(func(d *draft, u []byte) []byte {
			sig, err := d.repo.priv.HashAndSign(u)
			if err != nil {
				t.Fatal(err)
			}
			return highS(sig)
		}), row: 26, reason: "signature_form"},
		{name: "T26 63 bytes", alter: sign(func(d *draft, u []byte) []byte { return make([]byte, 63) }), row: 26, reason: "signature_form"},
		{name: "T26 no bytes", alter: sign(func(d *draft, u []byte) []byte { return nil }), row: 26, reason: "signature_form"},
	})
	r, state := known(t)
	ev := r.next().event()
	v := testVerifier()
	_, err = v.Commit(ev, publicKey(t, stranger), state)
	wantRejected(t, err, 26, Drop, "bad_signature")
	if !errors.Is(err, ErrSignature) {
		t.Error("a signature of another key does not ask for a refresh")
	}
	// The caller refreshes the identity and checks the same event again.
	if _, err = v.Commit(ev, r.key, state); err != nil {
		t.Error(err)
	}
	_, err = v.Commit(ev, nil, state)
	wantRejected(t, err, 26, Drop, "no_key")
	d := r.apply(false, r.put(testKeys[1][60]))
	d.sig = func(unsigned []byte) []byte { return make([]byte, signing.SignatureSize) }
	_, err = v.Commit(d.event(), r.key, state)
	wantRejected(t, err, 26, Drop, "signature_form")
	if errors.Is(err, ErrSignature) {
		t.Error("a signature that no key could fit asks for a refresh")
	}
	_, err = v.Sync(r.next().sync(), nil, State{})
	wantRejected(t, err, 26, Drop, "no_key")
}

// highS gives the other, malleated form of a k256 signature: n - s.
func highS(sig []byte) []byte {
	n := []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
		0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
	}
	out := bytes.Clone(sig)
	borrow := 0
	for i := 31; i >= 0; i-- {
		d := int(n[i]) - int(sig[32+i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		out[32+i] = byte(d)
	}
	return out
}

// T26 for the other curve.
func TestP256CommitsPass(t *testing.T) {
	priv, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	r, state := known(t)
	r.priv, r.key = priv, publicKey(t, priv)
	got, err := testVerifier().Commit(r.next().event(), r.key, state)
	if err != nil || got.Verdict != honest {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
	if r.key.Curve() != signing.P256 {
		t.Fatal("not on P-256")
	}
}

// T28: a #commit at or below the stored rev is ignored.
func TestOldCommitsAreIgnored(t *testing.T) {
	r, state := known(t)
	ev := r.next().event()
	state.Rev = ev.Rev
	_, err := testVerifier().Commit(ev, r.key, state)
	wantRejected(t, err, 28, Ignore, "rev_old")
	state.Rev = tid(0)
	_, err = testVerifier().Commit(ev, r.key, state)
	wantRejected(t, err, 28, Ignore, "rev_old")
}

// T29: #sync against the stored rev.
func TestSyncRules(t *testing.T) {
	r, before := known(t)
	d := r.next()
	fixSignature(d)
	ev := d.sync()
	v := testVerifier()
	check := func(name string, state State, want segmentlog.Verdict) State {
		t.Helper()
		got, err := v.Sync(ev, r.key, state)
		if err != nil || got.Verdict != want {
			t.Fatalf("%s: %s, %v", name, got.Verdict, err)
		}
		if !bytes.Equal(got.State.Data, r.root) || got.State.Rev != ev.Rev {
			t.Fatalf("%s: state %v", name, got.State)
		}
		return got.State
	}
	check("nothing stored", State{}, segmentlog.Signature|segmentlog.FirstSeen)
	after := check("newer", before, segmentlog.Signature)
	check("same commit again", after, segmentlog.Signature|segmentlog.Repeat)

	other := after
	other.Commit = sum([]byte("another"))
	_, err := v.Sync(ev, r.key, other)
	wantRejected(t, err, 29, Drop, "sync_rev_reused")
	other.Rev = tid(0)
	_, err = v.Sync(ev, r.key, other)
	wantRejected(t, err, 29, Ignore, "sync_rev_old")

	// The state moved, so the next honest commit chains.
	got, err := v.Commit(r.apply(false, r.put(testKeys[1][60])).event(), r.key, after)
	if err != nil || got.Verdict != honest {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
	// One that another key signed is dropped, and so is a forged one, whatever is stored.
	stranger, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Sync(ev, publicKey(t, stranger), before)
	wantRejected(t, err, 26, Drop, "bad_signature")
	ev.Blocks[len(ev.Blocks)-1] ^= 1
	_, err = v.Sync(ev, r.key, State{})
	wantRejected(t, err, 23, Drop, "block_hash")
}

// The bytes that a signature covers are those that the reference library signs.
func TestUnsignedBytesAreTheReferences(t *testing.T) {
	r, _ := known(t)
	b := r.next().commitBlock()
	var ours commit
	if err := ours.decodeCommit(b.cid, b.data); err != nil {
		t.Fatal(err)
	}
	var theirs repo.Commit
	if err := theirs.UnmarshalCBOR(bytes.NewReader(b.data)); err != nil {
		t.Fatal(err)
	}
	want, err := theirs.UnsignedBytes()
	if err != nil {
		t.Fatal(err)
	}
	if got := ours.appendUnsigned(nil); !bytes.Equal(got, want) {
		t.Fatalf("unsigned %x, want %x", got, want)
	}
}
