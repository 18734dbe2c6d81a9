package archive

import (
	"bytes"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
)

// TestASignatureThatDoesNotFitIsFound writes logs in which everything but what a
// record says of its frame is right.
func TestASignatureThatDoesNotFitIsFound(t *testing.T) {
	s := theSample(t)
	var commit, other *segmentlog.Entry // of two accounts
	for _, e := range s.events {
		switch {
		case e.Key == nil:
		case commit == nil:
			commit = e
		case e.DID != commit.DID && other == nil:
			other = e
		}
	}
	at := bytes.LastIndex(commit.Tail, []byte("csig")) // "sig" in the commit block of the CAR
	if at < 0 {
		t.Fatal("no signature in the frame")
	}
	forged := bytes.Clone(commit.Tail)
	forged[at+10] ^= 1
	for _, c := range []struct {
		what  string
		entry segmentlog.Entry
		want  string
	}{
		{"another account's key", with(commit, func(e *segmentlog.Entry) { e.Key = other.Key }), "signature"},
		{"no key", with(commit, func(e *segmentlog.Entry) { e.Key = nil }), "key"},
		{"another account", with(commit, func(e *segmentlog.Entry) { e.DID = other.DID }), "the record of " + other.DID},
		{"a bit of the signature", with(commit, func(e *segmentlog.Entry) { e.Tail = forged }), "T23"}, // the block is not its CID
		{"a frame cut short", with(commit, func(e *segmentlog.Entry) { e.Tail = e.Tail[:len(e.Tail)-3] }), "cannot be read"},
		{"another seq", with(commit, func(e *segmentlog.Entry) {
			e.Head, e.Tail = append(appendSeq(bytes.Clone(e.Head), 9), e.Tail...), nil
		}), ""},
	} {
		var bad sample
		entry := c.entry
		if err := bad.write(t.TempDir(), []*segmentlog.Entry{other, &entry}); err != nil {
			t.Fatal(err)
		}
		if r := mustVerify(t, find(t, bad.dir), VerifyOptions{}); !r.OK() {
			t.Errorf("%s: found without looking at signatures: %v", c.what, r.Problems)
		}
		r := mustVerify(t, find(t, bad.dir), VerifyOptions{Signatures: true})
		t.Log(c.what, r.Problems)
		wantProblem(t, r, "seq 2", c.want)
	}
}

func with(e *segmentlog.Entry, change func(*segmentlog.Entry)) segmentlog.Entry {
	c := *e
	change(&c)
	return c
}

func TestACommitThatClaimsNoSignatureIsCounted(t *testing.T) {
	s := theSample(t)
	var bad sample
	var entries []*segmentlog.Entry
	for _, e := range s.events {
		if e.Key != nil && len(entries) < 5 {
			c := with(e, func(e *segmentlog.Entry) { e.Verdict &^= segmentlog.Signature })
			entries = append(entries, &c)
		}
	}
	if err := bad.write(t.TempDir(), entries); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, find(t, bad.dir), VerifyOptions{Signatures: true})
	if !r.OK() || r.Checked.Unsigned != 5 || r.Checked.Verified != 0 {
		t.Fatalf("%+v %+v", r, r.Checked)
	}
}
