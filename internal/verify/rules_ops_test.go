package verify

import (
	"bytes"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// op 0 of an honest draft creates testKeys[0][50], op 1 deletes testKeys[0][40].
func opRule(edit func(create, remove *frame.Op)) func(*frame.Event) {
	return func(ev *frame.Event) { edit(&ev.Ops[0], &ev.Ops[1]) }
}

// withUpdate makes the honest commit an update.
func withUpdate(_ *testing.T, d *draft) { *d = *d.repo.apply(false, d.repo.put(testKeys[0][50])) }

// T30 and T31: the ops, and the ops in the new tree.
func TestOpRules(t *testing.T) {
	other := sum([]byte("other"))
	checkRules(t, []rule{
		{name: "T30 unknown action", after: opRule(func(c, _ *frame.Op) { c.Action = "upsert" }), row: 30, reason: "op_form"},
		{name: "T30 path without a record key", after: opRule(func(c, _ *frame.Op) { c.Path = "app.bsky.feed.post" }), row: 30, reason: "op_form"},
		{name: "T30 path of three parts", after: opRule(func(c, _ *frame.Op) { c.Path += "/x" }), row: 30, reason: "op_form"},
		{name: "T30 path with a bad collection", after: opRule(func(c, _ *frame.Op) { c.Path = "post/3jqfcqzm3fo2j" }), row: 30, reason: "op_form"},
		{name: "T30 path twice", after: func(ev *frame.Event) { ev.Ops = append(ev.Ops, ev.Ops[0]) }, row: 30, reason: "op_path_twice"},
		{name: "T30 create without cid", after: opRule(func(c, _ *frame.Op) { c.CID = nil }), row: 30, reason: "op_form"},
		{name: "T30 create with prev", after: opRule(func(c, _ *frame.Op) { c.Prev = other }), row: 30, reason: "op_form"},
		{name: "T30 delete with cid", after: opRule(func(_, d *frame.Op) { d.CID = other }), row: 30, reason: "op_form"},
		{name: "T30 update without cid", alter: withUpdate, after: func(ev *frame.Event) { ev.Ops[0].CID = nil }, row: 30, reason: "op_form"},
		{name: "T30 update without prev", alter: withUpdate, after: func(ev *frame.Event) { ev.Ops[0].Prev = nil }, row: 30, reason: "op_without_prev", lenient: true},
		{name: "T30 delete without prev", after: opRule(func(_, d *frame.Op) { d.Prev = nil }), row: 30, reason: "op_without_prev", lenient: true},
		{name: "T31 created cid differs", after: opRule(func(c, _ *frame.Op) { c.CID = other }), row: 31, reason: "op_cid_mismatch"},
		{name: "T31 created path is not in the tree", after: opRule(func(c, _ *frame.Op) { c.Path = testKeys[0][52] }), row: 31, reason: "op_cid_mismatch"},
		{name: "T31 created path is above the root", after: opRule(func(c, _ *frame.Op) { c.Path = testKeys[4][0] }), row: 31, reason: "op_cid_mismatch"},
		{name: "T31 updated cid differs", alter: withUpdate, after: func(ev *frame.Event) { ev.Ops[0].CID = other }, row: 31, reason: "op_cid_mismatch"},
		{name: "T31 deleted path is there", after: opRule(func(c, d *frame.Op) { d.Path, c.Path = c.Path, testKeys[0][52] }), row: 31, reason: "op_deleted_present"},
		{name: "T31 record block absent", alter: func(_ *testing.T, d *draft) { d.records = nil }, row: 31, reason: "record_absent", lenient: true},
	})
	// The row above takes its op from the tree, so only the record is missing.
	r, state := known(t)
	d := r.next()
	d.records = nil
	v := testVerifier()
	v.opt.Lenient = true
	got, err := v.Commit(d.event(), r.key, state)
	if err != nil || got.Verdict != honest|segmentlog.Lenient {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
	// An update to the value that stood there before is odd, and proves itself.
	d = r.apply(true, change{testKeys[0][50], ptr(r.values[testKeys[0][50]])})
	if got, err = v.Commit(d.event(), r.key, got.State); err != nil || got.Verdict != honest {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
}

func ptr[T any](v T) *T { return &v }

// T32: content of records.
func TestRecordRules(t *testing.T) {
	deep := func(n int) []byte {
		return append(bytes.Repeat([]byte{0x81}, n), 0)
	}
	inMap := func(value ...byte) []byte { return append([]byte("\xa1\x61k"), value...) }
	cases := []struct {
		name   string
		record []byte
		defect bool
		row    int
	}{
		{"a map", inMap(1), false, 0},
		{"a link to a blob", inMap(dagcbor.AppendCID(nil, rawCodec(sum(nil)))...), false, 0},
		{"a float", inMap(0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0), true, 0},
		{"a long integer", inMap(0x18, 1), true, 0},
		{"the largest integer", inMap(0x1b, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), false, 0},
		{"an integer beyond 2^53-1", inMap(0x1b, 0, 0x20, 0, 0, 0, 0, 0, 0), true, 0},
		{"unsorted keys", []byte("\xa2\x61b\x01\x61a\x01"), true, 0},
		{"a repeated key", []byte("\xa2\x61a\x01\x61a\x01"), true, 0},
		{"an indefinite map", []byte("\xbf\x61a\x01\xff"), true, 0},
		{"another tag", inMap(0xc0, 0x60), true, 0},
		{"a link of another hash", inMap(dagcbor.AppendCID(nil, append([]byte{1, 0x71, 0x13, 0x20}, make([]byte, 32)...))...), true, 0},
		{"a link without its zero byte", inMap(0xd8, 42, 0x41, 1), true, 0},
		{"text that is not UTF-8", inMap(0x61, 0xff), true, 0},
		{"undefined", inMap(0xf7), true, 0},
		{"not a map", []byte{0x80}, true, 0},
		{"nested 64 deep", inMap(deep(63)...), false, 0},
		{"nested 300 deep", inMap(deep(300)...), true, 0},
		{"nested without end", inMap(deep(100_000)...), false, 32},
		{"empty", nil, false, 32},
		{"cut", inMap(), false, 32},
		{"a length beyond the end", inMap(0x5a, 0xff, 0xff, 0xff, 0xff), false, 32},
		{"bytes behind", append(inMap(1), 0), false, 32},
		{"two items", append(inMap(1), inMap(1)...), false, 32},
		{"a break on its own", []byte{0xff}, false, 32},
	}
	v := testVerifier()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, state := known(t)
			record := r.addRecord(c.record)
			got, err := v.Commit(r.apply(false, change{testKeys[0][50], &record}).event(), r.key, state)
			if c.row != 0 {
				wantRejected(t, err, c.row, Drop, "record_not_cbor")
				return
			}
			want := honest
			if c.defect {
				want |= segmentlog.RecordDefect
			}
			if err != nil || got.Verdict != want {
				t.Fatalf("%s, %v, want %s", got.Verdict, err, want)
			}
		})
	}
}

// T32: an op that names its record by a CID of codec raw.
func TestRecordOfCodecRawIsADefect(t *testing.T) {
	r, state := known(t)
	b := inlineRecord("raw")
	c := toCID(t, rawCodec(sum(b)))
	r.records[c] = b
	got, err := testVerifier().Commit(r.apply(false, change{testKeys[0][50], &c}).event(), r.key, state)
	if err != nil || got.Verdict != honest|segmentlog.RecordDefect {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
}

func inlineRecord(text string) []byte {
	return dagcbor.AppendText([]byte("\xa1\x61k"), text)
}
