package verify

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipld/go-car"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// rehash makes the CID of each block in a CAR that can be walked fit its data.
func rehash(car []byte) {
	_, blocks, err := readCARHeader(car)
	for err == nil && len(blocks) > 0 {
		var cid, data []byte
		if cid, data, blocks, err = nextBlock(blocks); err == nil {
			digest := sha256.Sum256(data)
			copy(cid[4:], digest[:])
		}
	}
}

// FuzzCAR compares the CAR reader with go-car: what ours takes, that takes too, with
// the same root and the same blocks.
func FuzzCAR(f *testing.F) {
	b := newBlock([]byte("data"))
	f.Add(encodeCAR([][]byte{b.cid}, []tblock{b, b, newBlock(nil)}), true)
	f.Add(encodeCAR([][]byte{b.cid, b.cid}, nil), false)
	f.Add(encodeCAR(nil, []tblock{b}), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		b = bytes.Clone(b)
		if fix {
			rehash(b)
		}
		root, blocks, err := readCARHeader(b)
		if err != nil {
			return
		}
		var table blockTable
		table.reset()
		if err := table.readBlocks(blocks); err != nil {
			return
		}
		theirs, err := car.NewCarReader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("go-car: %v", err)
		}
		if got := theirs.Header.Roots[0].Bytes(); !bytes.Equal(got, root) {
			t.Fatalf("root %x, go-car %x", root, got)
		}
		for _, ours := range table.list {
			blk, err := theirs.Next()
			if err != nil {
				t.Fatalf("go-car: %v", err)
			}
			if !bytes.Equal(blk.Cid().Bytes(), ours.cid) || !bytes.Equal(blk.RawData(), ours.data) {
				t.Fatalf("block %x, go-car %s", ours.cid, blk.Cid())
			}
			if found := table.find(ours.cid); found == nil || !bytes.Equal(found.data, ours.data) {
				t.Fatalf("block %x is not found", ours.cid)
			}
		}
		if _, err := theirs.Next(); err == nil {
			t.Fatal("go-car has more blocks")
		}
		absent := sum(append([]byte("not in the CAR"), b...))
		if table.find(absent) != nil {
			t.Fatal("found what is not there")
		}
	})
}

// FuzzNode compares the reading of MST nodes with indigo's, and with our own encoder.
func FuzzNode(f *testing.F) {
	r := newRepo(f, 77)
	for range 5 {
		for _, n := range r.apply(true, r.randomChanges(12, true)...).nodes {
			f.Add(n.data)
		}
	}
	f.Add([]byte("\xa2\x61e\x80\x61l\xf6"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tr tree
		var table blockTable
		table.reset()
		table.list = append(table.list, block{cid: sum(b), data: b})
		table.buildIndex()
		tr.reset(&table)
		n := tr.newNode(-1)
		if err := tr.decode(n, b); err != nil {
			return
		}
		theirs, err := mst.NodeDataFromCBOR(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("indigo: %v", err)
		}
		if len(theirs.Entries) != len(n.entries) || (theirs.Left != nil) != !n.left.none() {
			t.Fatalf("%d entries, indigo %d", len(n.entries), len(theirs.Entries))
		}
		var prev []byte
		shortest := true
		for i, e := range theirs.Entries {
			key := append(bytes.Clone(prev[:e.PrefixLen]), e.KeySuffix...)
			if !bytes.Equal(key, n.entries[i].key) || !bytes.Equal(e.Value.Bytes(), n.entries[i].value) {
				t.Fatalf("entry %d: key %q, indigo %q", i, n.entries[i].key, key)
			}
			shortest = shortest && int(e.PrefixLen) == commonPrefix(prev, key)
			prev = key
		}
		if got := appendNode(nil, n, tr.cidOf); bytes.Equal(got, b) != shortest {
			t.Fatalf("encodes to %x, read %x", got, b)
		}
		if err := tr.loadTree(sum(b)); err == nil && !bytes.Equal(tr.rootCID(), sum(b)) {
			t.Fatal("an unchanged tree has another root")
		}
	})
}

// FuzzCommitObject compares the commit decoder with indigo's, and what is signed.
func FuzzCommitObject(f *testing.F) {
	r := newRepo(f, 78)
	d := r.apply(true, r.put(testKeys[0][0]))
	f.Add(d.commitBlock().data)
	d.fields["extra"] = []byte("\xa1\x61a\x01")
	f.Add(d.commitBlock().data)
	f.Fuzz(func(t *testing.T, b []byte) {
		var ours commit
		if ours.decodeCommit(sum(b), b) != nil {
			return
		}
		if err := dagcbor.Valid(b); err != nil {
			t.Fatalf("took what is not canonical: %v", err)
		}
		unsigned := ours.appendUnsigned(nil)
		if err := dagcbor.Valid(unsigned); err != nil {
			t.Fatalf("signed bytes are not canonical: %v", err)
		}
		var theirs repo.Commit
		if err := theirs.UnmarshalCBOR(bytes.NewReader(b)); err != nil {
			return // it bounds strings more tightly
		}
		if theirs.DID != string(ours.did) || theirs.Rev != string(ours.rev) || !bytes.Equal(theirs.Data.Bytes(), ours.data) || !bytes.Equal(theirs.Sig, ours.sig) {
			t.Fatalf("indigo reads %+v, we %+v", theirs, ours)
		}
		want, err := theirs.UnsignedBytes()
		if err == nil && ours.pairs == 6 && len(ours.sig) > 0 && len(ours.rev) > 0 && !bytes.Equal(unsigned, want) {
			t.Fatalf("signed bytes %x, indigo %x", unsigned, want)
		}
	})
}

// FuzzRecord reads records: no panic, and what has no defect is canonical.
func FuzzRecord(f *testing.F) {
	f.Add(inlineRecord("x"))
	f.Add([]byte("\xbf\x61a\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00\xff"))
	f.Add(bytes.Repeat([]byte{0x9f}, 600))
	f.Fuzz(func(t *testing.T, b []byte) {
		defect, err := checkRecordContent(b)
		if err == nil && !defect && dagcbor.Valid(b) != nil {
			t.Fatal("a defect went unseen")
		}
	})
}

// FuzzPath compares paths and revs with indigo's syntax package.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"app.bsky.feed.post/3jqfcqzm3fo2j", "a.b.c/self", "a.b/self", "a.b.c/.", "a.b.c/..", "a.b.c/...", "a.b.c/", "/x", "a..c/x",
		"a.b-.c/x", "a.-b.c/x", "a.b.c-d/x", "1a.b.c/x", "a.1b.c/x", "a.b.1c/x", "a.b.c1/x", "a.b.c/é", "a.b.c/x/y", "A.B.C/X~_:-.", "a.b.c", "a.b.c/x\n",
		"3jqfcqzm3fo2j", "zzzzzzzzzzzzz", "2222222222222", "jzzzzzzzzzzzz", "3jqfcqzm3fo2", "3jqfcqzm3fo21",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _, err := syntax.ParseRepoPath(s)
		if got := validPath(s); got != (err == nil) {
			t.Errorf("path %q: %v, indigo %v", s, got, err)
		}
		rev, err := syntax.ParseTID(s)
		micros, ok := tidMicros([]byte(s))
		if ok != (err == nil) {
			t.Errorf("tid %q: %v, indigo %v", s, ok, err)
		}
		// indigo's Time drops the top bit, which only TIDs beyond the year 2255 have set.
		if ok && micros < 1<<53 && micros != rev.Time().UnixMicro() {
			t.Errorf("tid %q: %d, indigo %d", s, micros, rev.Time().UnixMicro())
		}
	})
}

// FuzzBlocks feeds whole CARs to everything: no panic, whatever is in them. Hashes and
// the message's own fields are made to fit, so that the input reaches the rules behind.
func FuzzBlocks(f *testing.F) {
	r := newRepo(f, 79)
	for range 4 {
		ev := r.apply(true, r.randomChanges(6, true)...).event()
		f.Add(ev.Blocks, ev.Ops[0].Path)
	}
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		b = bytes.Clone(b)
		root, blocks, err := readCARHeader(b)
		if err != nil || !blockCID(root) {
			return
		}
		// Every link to a block follows the block's new hash.
		for range 6 {
			for rest := blocks; len(rest) > 0; {
				cid, data, next, err := nextBlock(rest)
				if err != nil {
					break
				}
				if now := sum(data); !bytes.Equal(now[4:], cid[4:]) {
					old := bytes.Clone(cid[4:])
					for i := bytes.Index(b, old); i >= 0; i = bytes.Index(b, old) {
						copy(b[i:], now[4:])
					}
				}
				rest = next
			}
		}
		ev := &frame.Event{Kind: frame.Commit, DID: testDID, Commit: root, Blocks: b}
		if state, err := StateOf(ev); err == nil {
			ev.Rev, ev.PrevData = state.Rev, state.Data
		}
		ev.Ops = []frame.Op{{Action: "delete", Path: path, Prev: root}, {Action: "create", Path: testKeys[0][3], CID: root}}
		v := testVerifier()
		_, _ = v.Commit(ev, r.key, State{})
		ev.Ops = ev.Ops[:1]
		_, _ = v.Commit(ev, r.key, State{})
		ev.Kind = frame.Sync
		_, _ = v.Sync(ev, r.key, State{})
	})
}
