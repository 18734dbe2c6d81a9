package frame_test

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

func TestEveryKindGivesItsFields(t *testing.T) {
	want := map[string]frame.Event{
		"#commit": {
			Kind: frame.Commit, Seq: 123456, DID: testDID, Time: testTime, Rev: testRev, Since: "3mabcdefghij3",
			Commit: cidOf(1), PrevData: cidOf(2), Blocks: bytes.Repeat([]byte{0xa0, 0xff}, 150),
			Ops: []frame.Op{{Action: "update", Path: "app.bsky.feed.post/3mabcdefghij2", CID: cidOf(3), Prev: cidOf(4)}},
		},
		"#sync":     {Kind: frame.Sync, Seq: 9, DID: testDID, Time: testTime, Rev: testRev, Blocks: []byte("a car")},
		"#identity": {Kind: frame.Identity, Seq: 9, DID: testDID, Time: testTime, Handle: "alice.test"},
		"#account":  {Kind: frame.Account, Seq: 9, DID: testDID, Time: testTime, Status: "deactivated"},
		"#info":     {Kind: frame.Info, Name: "OutdatedCursor", Message: "gone"},
	}
	for name, raw := range samples() {
		got := mustParse(t, raw)
		if got.HasSeq() && !bytes.Equal(got.AppendFrame(nil, got.Seq), raw) {
			t.Errorf("%s: head, seq and tail are not the frame", name)
		}
		sameAsIndigo(t, raw, got)
		w := want[name]
		w.Type, w.Head, w.Tail = name, got.Head, got.Tail
		if !reflect.DeepEqual(w, *got) {
			t.Errorf("%s:\nwant %+v\ngot  %+v", name, w, *got)
		}
	}
}

func TestUnknownMessagesAreLeftToBeIgnored(t *testing.T) { // T3
	junk := []byte{0xff, 0x00, 0xfb}
	for name, header := range map[string]item{
		"unknown t":               headerOf("#tombstone"),
		"long t":                  headerOf("#" + strings.Repeat("x", 500)),
		"full name as t":          headerOf("com.atproto.sync.subscribeRepos#commit"),
		"unknown op":              object(f("op", uintItem(2)), f("t", textItem("#commit"))),
		"unknown negative op":     object(f("op", item{0x21})),
		"unknown op, odd t":       object(f("op", uintItem(7)), f("t", nullItem)),
		"unknown t, not sorted":   unsorted(f("op", uintItem(1)), f("t", textItem("#tombstone"))),
		"unknown t, other fields": object(f("op", uintItem(1)), f("t", textItem("#x")), f("zzz", list(nullItem))),
	} {
		ev := mustParse(t, slices.Concat(header, junk))
		if ev.Kind != frame.Unknown || ev.HasSeq() || ev.Reencoded || len(ev.Type) > 64 {
			t.Errorf("%s: got kind %d, type %q, reencoded %v", name, ev.Kind, ev.Type, ev.Reencoded)
		}
	}
}

func TestErrorFramesNameTheirError(t *testing.T) { // T4
	for name, c := range map[string]struct {
		payload       item
		code, message string
	}{
		"both":         {object(f("error", textItem("FutureCursor")), f("message", textItem("too far"))), "FutureCursor", "too far"},
		"code":         {object(f("error", textItem("ConsumerTooSlow"))), "ConsumerTooSlow", ""},
		"null message": {object(f("error", textItem("X")), f("message", nullItem)), "X", ""},
		"nothing":      {object(), "", ""},
		"not sorted":   {unsorted(f("message", textItem("m")), f("error", textItem("X"))), "X", "m"},
	} {
		ev := mustParse(t, slices.Concat(object(f("op", item{0x20})), c.payload))
		if ev.Kind != frame.ErrorFrame || ev.Name != c.code || ev.Message != c.message || ev.HasSeq() {
			t.Errorf("%s: got %+v", name, ev)
		}
	}
}

// rejects checks that raw is refused by a row for a reason.
func rejects(t *testing.T, name string, raw []byte, row int, reason string) {
	t.Helper()
	ev, err := frame.Parse(raw)
	var e *frame.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: want T%d %s, got error %v, event %+v", name, row, reason, err, ev)
		return
	}
	if e.Row != row || e.Reason != reason || e.Ignore || e.Close != (row == 8) {
		t.Errorf("%s: want T%d %s, got %+v", name, row, reason, e)
	}
	if !strings.HasPrefix(e.Error(), "T") || errors.Unwrap(e) == nil {
		t.Errorf("%s: error without detail: %v", name, e)
	}
}

func TestUndecodableEnvelopesAreDropped(t *testing.T) { // T6
	add := func(value ...byte) []byte { return message("#commit", append(commitFields(), f("extra", value))) }
	commit := samples()["#commit"]
	deep := append(bytes.Repeat([]byte{0x81}, 65), 0x00)
	for name, c := range map[string]struct {
		raw    []byte
		reason string
	}{
		"nothing":               {nil, "truncated"},
		"header alone":          {headerOf("#commit"), "truncated"},
		"cut in the middle":     {commit[:len(commit)/2], "truncated"},
		"cut by one":            {commit[:len(commit)-1], "truncated"},
		"a byte more":           {append(slices.Clone(commit), 0), "trailing_bytes"},
		"text, not CBOR":        {[]byte(`{"op":1,"t":"#commit"}`), "bad_header"},
		"header is a list":      {append(list(), commit...), "bad_header"},
		"header without op":     {slices.Concat(object(f("t", textItem("#commit"))), object(commitFields()...)), "bad_header"},
		"op 1 without t":        {slices.Concat(object(f("op", uintItem(1))), object(commitFields()...)), "bad_header"},
		"op is text":            {slices.Concat(object(f("op", textItem("1")), f("t", textItem("#commit")))), "bad_header"},
		"float16":               {add(0xf9, 0x3c, 0x00), "float"},
		"float32":               {add(0xfa, 0, 0, 0, 0), "float"},
		"float64 within":        {add(0x81, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0), "float"},
		"float in header":       {slices.Concat(object(f("op", uintItem(1)), f("t", textItem("#commit")), f("x", item{0xf9, 0, 0}))), "float"},
		"tag 0":                 {add(0xc0, 0x60), "bad_tag"},
		"bignum":                {add(0xc2, 0x41, 1), "bad_tag"},
		"tag 42 over text":      {add(0xd8, 42, 0x60), "bad_tag"},
		"tag 42, no zero":       {add(append([]byte{0xd8, 42, 0x58, 36}, cidOf(1)...)...), "bad_tag"},
		"tag 42, empty":         {add(0xd8, 42, 0x41, 0), "bad_tag"},
		"CIDv0":                 {add(linkItem(append([]byte{0x12, 32}, make([]byte, 32)...))...), "bad_cid"},
		"short CID":             {add(linkItem(cidOf(1)[:35])...), "bad_cid"},
		"undefined":             {add(0xf7), "bad_simple_value"},
		"simple 32":             {add(0xf8, 32), "bad_simple_value"},
		"reserved head":         {add(0x1c), "malformed_cbor"},
		"stray break":           {add(0xff), "malformed_cbor"},
		"indefinite integer":    {add(0x1f), "malformed_cbor"},
		"bad UTF-8":             {add(0x61, 0xc3), "bad_utf8"},
		"long bad UTF-8":        {add(append([]byte{0x78, 40}, bytes.Repeat([]byte{0xed, 0xa0}, 20)...)...), "bad_utf8"},
		"bad UTF-8 in a key":    {message("#commit", append(commitFields(), field{item{0x61, 0xff}, nullItem})), "bad_utf8"},
		"integer key":           {message("#commit", append(commitFields(), field{uintItem(1), nullItem})), "bad_key"},
		"integer over 2^53-1":   {add(uintItem(1 << 53)...), "bad_integer"},
		"integer under -2^53+1": {add(0x3b, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "bad_integer"},
		"nested too deeply":     {add(deep...), "nested_too_deeply"},
		"list of 2^60":          {add(0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0), "truncated"},
		"bytes of 2^63":         {add(0x5b, 0x80, 0, 0, 0, 0, 0, 0, 0), "truncated"},
		"duplicate key":         {message("#commit", append(commitFields(), f("seq", uintItem(5)))), "duplicate_key"},
		"duplicate deep key":    {add(unsorted(f("a", nullItem), f("a", nullItem))...), "duplicate_key"},
		"duplicate in header":   {slices.Concat(object(f("op", uintItem(1)), f("op", uintItem(1)), f("t", textItem("#sync")))), "duplicate_key"},
	} {
		rejects(t, name, c.raw, 6, c.reason)
		// The lenient reader, which a non-minimal op asks for, agrees with the strict one.
		if body, ok := bytes.CutPrefix(c.raw, headerOf("#commit")); ok {
			loose := slices.Concat(object(f("op", item{0x18, 1}), f("t", textItem("#commit"))), body)
			rejects(t, name+", read leniently", loose, 6, c.reason)
		}
	}
}

func TestNestingIsCountedFromThePayload(t *testing.T) { // T6
	lists := func(n int) item { return append(bytes.Repeat([]byte{0x81}, n), 0x00) }
	inOp := func(v item) []byte {
		return message("#commit", with(commitFields(), "ops", list(object(append(opFields(), f("zzz", v))...))))
	}
	mustParse(t, message("#commit", append(commitFields(), f("extra", lists(63)))))
	mustParse(t, inOp(lists(61)))
	rejects(t, "65 levels below the payload", message("#commit", append(commitFields(), f("extra", lists(64)))), 6, "nested_too_deeply")
	rejects(t, "65 levels, three of them the ops'", inOp(lists(62)), 6, "nested_too_deeply")
	rejects(t, "65 levels in a header", slices.Concat(object(f("op", uintItem(1)), f("t", lists(64)))), 6, "nested_too_deeply")
}

func TestOversizedFramesAreDropped(t *testing.T) { // T2
	raw := message("#sync", with(syncFields(), "blocks", bytesItem(make([]byte, frame.MaxFrame))))
	rejects(t, "5 MB and a header", raw, 2, "frame_too_large")
}

func TestFieldsOfTheLexiconAreRequired(t *testing.T) { // T7
	kinds := map[string][]field{
		"#commit": commitFields(), "#sync": syncFields(), "#identity": identityFields(), "#account": accountFields(), "#info": infoFields(),
	}
	optional := []string{"prevData", "handle", "status", "message", "rebase", "tooBig", "blobs", "since"}
	tried := 0
	for kind, fields := range kinds {
		for _, p := range fields {
			name := string(p.key[1:])
			if slices.Contains(optional, name) {
				continue
			}
			tried++
			rejects(t, kind+" without "+name, message(kind, with(fields, name, nil)), 7, "missing_field")
		}
	}
	for _, p := range opFields()[:3] {
		name := string(p.key[1:])
		op := object(with(opFields(), name, nil)...)
		rejects(t, "op without "+name, message("#commit", with(commitFields(), "ops", list(op))), 7, "missing_field")
	}
	if tried != 20 {
		t.Errorf("tried %d fields, want 20", tried)
	}
}

func TestFieldsOfAnotherTypeAreDropped(t *testing.T) { // T7
	kinds := map[string][]field{
		"#commit": commitFields(), "#sync": syncFields(), "#identity": identityFields(), "#account": accountFields(), "#info": infoFields(),
	}
	wrong := object(f("x", nullItem))
	for kind, fields := range kinds {
		for _, p := range fields {
			name := string(p.key[1:])
			rejects(t, kind+" with a map as "+name, message(kind, with(fields, name, wrong)), 7, "mistyped_field")
			if name == "since" || name == "prevData" || name == "message" {
				continue
			}
			rejects(t, kind+" with null as "+name, message(kind, with(fields, name, nullItem)), 7, "mistyped_field")
		}
		rejects(t, kind+" that is a list", slices.Concat(headerOf(kind), list()), 7, "mistyped_field")
	}
	for _, p := range opFields() {
		name := string(p.key[1:])
		op := object(with(opFields(), name, wrong)...)
		rejects(t, "op with a map as "+name, message("#commit", with(commitFields(), "ops", list(op))), 7, "mistyped_field")
	}
	rejects(t, "ops of text", message("#commit", with(commitFields(), "ops", list(textItem("x")))), 7, "mistyped_field")
	rejects(t, "blobs of text", message("#commit", with(commitFields(), "blobs", list(textItem("x")))), 7, "mistyped_field")
	rejects(t, "blob that is no CID", message("#commit", with(commitFields(), "blobs", list(linkItem([]byte{1})))), 6, "bad_cid")
}

func TestTimesAndRevsHaveTheirForm(t *testing.T) { // T7
	for _, bad := range []string{"", "yesterday", "2026-11-23", "2026-11-23T18:45:53", "2026-13-23T18:45:53Z", "2026-11-23T18:45:53-00:00"} {
		rejects(t, "time "+bad, message("#identity", with(identityFields(), "time", textItem(bad))), 7, "bad_time")
	}
	for _, bad := range []string{"", "3mabcdefghij", "zmabcdefghij2", "3mabcdefghij1", "3MABCDEFGHIJ2", strings.Repeat("2", 500)} {
		rejects(t, "rev "+bad, message("#sync", with(syncFields(), "rev", textItem(bad))), 7, "bad_rev")
		rejects(t, "rev "+bad, message("#commit", with(commitFields(), "rev", textItem(bad))), 7, "bad_rev")
		rejects(t, "since "+bad, message("#commit", with(commitFields(), "since", textItem(bad))), 7, "bad_since")
	}
	if ev := mustParse(t, message("#commit", with(commitFields(), "since", nullItem))); ev.Since != "" || ev.Reencoded {
		t.Errorf("since null: got %q, reencoded %v", ev.Since, ev.Reencoded)
	}
}

func TestSeqOutsideItsRangeClosesTheConnection(t *testing.T) { // T8
	for name, seq := range map[string]item{
		"zero": uintItem(0), "minus one": {0x20}, "2^53": uintItem(1 << 53), "2^64-1": uintItem(1<<64 - 1), "least": {0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		for kind, fields := range map[string][]field{
			"#commit": commitFields(), "#sync": syncFields(), "#identity": identityFields(), "#account": accountFields(),
		} {
			rejects(t, kind+" with seq "+name, message(kind, with(fields, "seq", seq)), 8, "seq_out_of_range")
		}
	}
	for _, seq := range []uint64{1, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, frame.MaxSeq} {
		if ev := mustParse(t, message("#sync", with(syncFields(), "seq", uintItem(seq)))); ev.Seq != seq {
			t.Errorf("seq %d: got %d", seq, ev.Seq)
		}
	}
	rejects(t, "seq as text", message("#sync", with(syncFields(), "seq", textItem("1"))), 7, "mistyped_field")
}

func TestAnyStatusAndHandlePass(t *testing.T) { // T17
	for _, s := range []string{"", "takendown", "on-holiday", "\u00e9"} {
		if ev := mustParse(t, message("#account", with(accountFields(), "status", textItem(s)))); ev.Status != s {
			t.Errorf("status %q: got %q", s, ev.Status)
		}
		if ev := mustParse(t, message("#identity", with(identityFields(), "handle", textItem(s)))); ev.Handle != s {
			t.Errorf("handle %q: got %q", s, ev.Handle)
		}
	}
	mustParse(t, message("#account", with(accountFields(), "status", nil)))
	mustParse(t, message("#identity", with(identityFields(), "handle", nil)))
}

func TestUnknownFieldsSurviveByteForByte(t *testing.T) {
	odd := object(f("did", uintItem(1)), f("list", list(linkItem(cidOf(9)), item{0x3a, 1, 2, 3, 4}, nullItem)))
	for kind, fields := range map[string][]field{
		"#commit": commitFields(), "#sync": syncFields(), "#identity": identityFields(), "#account": accountFields(),
	} {
		fields = append(fields, f("a", odd), f("zzzzzzzzzzzz", odd))
		header := object(f("op", uintItem(1)), f("t", textItem(kind)), f("more", odd))
		raw := slices.Concat(header, object(fields...))
		ev := mustParse(t, raw)
		if ev.Reencoded || !bytes.Equal(ev.AppendFrame(nil, ev.Seq), raw) {
			t.Errorf("%s: unknown fields changed (reencoded %v)", kind, ev.Reencoded)
		}
	}
	op := object(append(opFields(), f("zzz", odd))...)
	raw := message("#commit", with(commitFields(), "ops", list(op, op)))
	if ev := mustParse(t, raw); len(ev.Ops) != 2 || !bytes.Equal(ev.AppendFrame(nil, ev.Seq), raw) {
		t.Error("unknown fields of an op changed")
	}
	// `did` is no field of a #commit and `repo` none of the others: any type passes.
	mustParse(t, message("#commit", append(commitFields(), f("did", uintItem(1)))))
	mustParse(t, message("#sync", append(syncFields(), f("repo", uintItem(1)))))
}

func TestOneEventIsUsedForManyFrames(t *testing.T) {
	var ev frame.Event
	all := samples()
	for range 3 {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if err := frame.ParseInto(all[name], &ev); err != nil {
				t.Fatal(err)
			}
			fresh := mustParse(t, all[name])
			ops, want := ev.Ops, fresh.Ops
			ev.Ops, fresh.Ops = nil, nil
			if !reflect.DeepEqual(ev, *fresh) || len(ops) != len(want) || (len(ops) > 0 && !reflect.DeepEqual(ops, want)) {
				t.Errorf("%s: an event used again differs from a fresh one", name)
			}
			ev.Ops = ops
		}
	}
}

func TestTooManyOpsAreNotRead(t *testing.T) { // T19
	ops := slices.Repeat([]item{object(opFields()...)}, frame.MaxOps)
	if ev := mustParse(t, message("#commit", with(commitFields(), "ops", list(ops...)))); len(ev.Ops) != frame.MaxOps {
		t.Errorf("got %d ops", len(ev.Ops))
	}
	ops = append(ops, ops[0])
	rejects(t, "201 ops", message("#commit", with(commitFields(), "ops", list(ops...))), 19, "op_count")
}

func TestParsingAllocatesForItsTextsAlone(t *testing.T) {
	raw := samples()["#commit"]
	var ev frame.Event
	again := testing.AllocsPerRun(100, func() {
		if err := frame.ParseInto(raw, &ev); err != nil {
			t.Fatal(err)
		}
	})
	fresh := testing.AllocsPerRun(100, func() { mustParse(t, raw) })
	if again > 2 || fresh > 5 {
		t.Errorf("%v allocations into a used event (want ≤ 2), %v into a fresh one (want ≤ 5)", again, fresh)
	}
}
