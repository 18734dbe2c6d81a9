package verify

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// withHeader replaces the CAR's header.
func withHeader(ev *frame.Event, header []byte) {
	n := int(ev.Blocks[0]) // test headers are shorter than 128 bytes
	ev.Blocks = slices.Concat([]byte{byte(len(header))}, header, ev.Blocks[1+n:])
}

func header(version uint64, roots ...[]byte) []byte {
	b := dagcbor.AppendHead(dagcbor.AppendText(dagcbor.AppendHead(nil, dagcbor.MajorMap, 2), "roots"), dagcbor.MajorArray, uint64(len(roots)))
	for _, r := range roots {
		b = dagcbor.AppendCID(b, r)
	}
	return dagcbor.AppendUint(dagcbor.AppendText(b, "version"), version)
}

// T18–T23: limits, and the CAR.
func TestSizeAndCARRules(t *testing.T) {
	big := func(n int) func(t *testing.T, d *draft) {
		return func(t *testing.T, d *draft) {
			record := dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendHead(nil, dagcbor.MajorMap, 2), "t"), "")
			record = dagcbor.AppendBytes(dagcbor.AppendText(record, "pad"), make([]byte, n-len(record)-4-5))
			if len(record) != n {
				t.Fatalf("record of %d bytes", len(record))
			}
			c := d.repo.addRecord(record)
			*d = *d.repo.apply(false, change{testKeys[0][51], &c})
		}
	}
	checkRules(t, []rule{
		{name: "T18 no blocks", after: func(ev *frame.Event) { ev.Blocks = nil }, row: 18, reason: "blocks_empty"},
		{name: "T18 more than 2,000,000 bytes", after: func(ev *frame.Event) { ev.Blocks = make([]byte, 2_000_001) }, row: 18, reason: "blocks_size"},
		{name: "T18 2,000,000 bytes are not too many", after: func(ev *frame.Event) { ev.Blocks = make([]byte, 2_000_000) }, row: 22, reason: "car_header"},
		{name: "T19 more than 200 ops", after: func(ev *frame.Event) { ev.Ops = make([]frame.Op, 201) }, row: 19, reason: "op_count"},
		{name: "T19 200 ops are not too many", after: func(ev *frame.Event) { ev.Ops = make([]frame.Op, 200) }, row: 30, reason: "op_form"},
		{name: "T20 a record of 1,000,001 bytes", alter: big(1_000_001), row: 20, reason: "record_size"},
		{name: "T21 tooBig is ignored", after: func(ev *frame.Event) { ev.TooBig = true }},
		{name: "T21 rebase is ignored", after: func(ev *frame.Event) { ev.Rebase = true }},
		{name: "T22 version 2", after: func(ev *frame.Event) { withHeader(ev, header(2, ev.Commit)) }, row: 22, reason: "car_version"},
		{name: "T22 no root", after: func(ev *frame.Event) { withHeader(ev, header(1)) }, row: 22, reason: "car_no_root"},
		{name: "T22 header is not a map", after: func(ev *frame.Event) { withHeader(ev, []byte{0x80}) }, row: 22, reason: "car_header"},
		{name: "T22 header with a repeated key", after: func(ev *frame.Event) {
			withHeader(ev, append([]byte{0xa3}, append(header(1, ev.Commit)[1:], "\x67version\x01"...)...))
		}, row: 22, reason: "car_header"},
		{name: "T22 header with bytes behind", after: func(ev *frame.Event) { withHeader(ev, append(header(1, ev.Commit), 0)) }, row: 22, reason: "car_header"},
		{name: "T22 header ends early", after: func(ev *frame.Event) { ev.Blocks = ev.Blocks[:10] }, row: 22, reason: "car_header"},
		{name: "T22 header length is no varint", after: func(ev *frame.Event) { ev.Blocks = bytes.Repeat([]byte{0xff}, 12) }, row: 22, reason: "car_header"},
		{name: "T22 first root is not the commit", alter: func(t *testing.T, d *draft) { d.roots = [][]byte{d.repo.root} }, row: 22, reason: "car_root_mismatch"},
		{name: "T22 message names another commit", after: func(ev *frame.Event) { ev.Commit = ev.PrevData }, row: 22, reason: "car_root_mismatch"},
		{name: "T22 commit block absent", alter: func(t *testing.T, d *draft) {
			d.blocks = func(tblock) []tblock { return d.nodes }
		}, row: 22, reason: "commit_block_absent"},
		{name: "T22 header keys in the other order pass", after: func(ev *frame.Event) {
			h := dagcbor.AppendUint(dagcbor.AppendText(dagcbor.AppendHead(nil, dagcbor.MajorMap, 2), "version"), 1)
			withHeader(ev, dagcbor.AppendCID(append(dagcbor.AppendText(h, "roots"), 0x81), ev.Commit))
		}},
		{name: "T23 truncated", after: func(ev *frame.Event) { ev.Blocks = ev.Blocks[:len(ev.Blocks)-1] }, row: 23, reason: "car_block"},
		{name: "T23 a length of zero", after: func(ev *frame.Event) { ev.Blocks = append(ev.Blocks, 0) }, row: 23, reason: "car_block"},
		{name: "T23 a block with a CID of another hash", after: func(ev *frame.Event) {
			ev.Blocks = append(append(ev.Blocks, 38), append([]byte{1, 0x71, 0x13, 0x20}, make([]byte, 34)...)...)
		}, row: 23, reason: "car_block"},
		{name: "T23 SHA-256 mismatch", after: func(ev *frame.Event) { ev.Blocks[len(ev.Blocks)-1] ^= 1 }, row: 23, reason: "block_hash"},
		{name: "T23 extra roots pass", alter: func(t *testing.T, d *draft) {
			fixSignature(d)
			d.roots = [][]byte{d.commitBlock().cid, d.repo.root, d.repo.root}
		}},
		{name: "T23 blocks in any order, twice and unlinked pass", alter: func(t *testing.T, d *draft) {
			d.blocks = func(commit tblock) []tblock {
				all := slices.Concat(d.records, d.nodes, []tblock{newBlock([]byte("unlinked"))}, d.nodes, []tblock{commit}, d.records)
				slices.Reverse(all)
				return all
			}
		}},
		{name: "T23 raw blocks pass", alter: func(t *testing.T, d *draft) {
			b := newBlock([]byte("raw"))
			b.cid[1] = codecRaw
			d.nodes = append(d.nodes, b)
		}},
	})
}

// fixSignature makes the draft sign once, so that its commit block stays the same.
func fixSignature(d *draft) {
	sig, err := d.repo.priv.HashAndSign(encodeMap(d.fields))
	if err != nil {
		d.repo.t.Fatal(err)
	}
	d.sig = func([]byte) []byte { return sig }
}

// T20, the other side of the limit.
func TestRecordOfAMillionBytesPasses(t *testing.T) {
	if err := checkRecordSize(make([]byte, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	wantRejected(t, checkRecordSize(make([]byte, 1_000_001)), 20, Drop, "record_size")
}

// T18 for #sync.
func TestSyncOfMoreThanTenThousandBytesIsDropped(t *testing.T) {
	r, state := known(t)
	ev := r.next().sync()
	pad := newBlock(make([]byte, 10_000-len(ev.Blocks)-cidSize-2))
	ev.Blocks = append(ev.Blocks, encodeCAR(nil, []tblock{pad})[18:]...)
	if len(ev.Blocks) != 10_000 {
		t.Fatalf("%d bytes", len(ev.Blocks))
	}
	if _, err := testVerifier().Sync(ev, r.key, state); err != nil {
		t.Fatal(err)
	}
	ev.Blocks = append(ev.Blocks, 0)
	_, err := testVerifier().Sync(ev, r.key, state)
	wantRejected(t, err, 18, Drop, "blocks_size")
}
