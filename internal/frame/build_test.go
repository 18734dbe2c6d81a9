package frame_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// The frames of these tests are put together item by item, so that each can be
// wrong in exactly one place.

// item is one encoded CBOR item.
type item []byte

// field is a pair of a map; the key is encoded too, so that it can be odd.
type field struct{ key, value item }

func uintItem(n uint64) item   { return dagcbor.AppendUint(nil, n) }
func textItem(s string) item   { return dagcbor.AppendText(nil, s) }
func bytesItem(b []byte) item  { return dagcbor.AppendBytes(nil, b) }
func boolItem(b bool) item     { return dagcbor.AppendBool(nil, b) }
func linkItem(cid []byte) item { return dagcbor.AppendCID(nil, cid) }
func f(key string, value item) field {
	return field{textItem(key), value}
}

var (
	nullItem  = item{0xf6}
	emptyList = item{0x80}
)

// cidOf is a well-formed CID that is told by n.
func cidOf(n byte) []byte {
	return append([]byte{1, 0x71, 0x12, 32}, bytes.Repeat([]byte{n}, 32)...)
}

func list(items ...item) item {
	return append(dagcbor.AppendHead(nil, dagcbor.MajorArray, uint64(len(items))), slices.Concat(items...)...)
}

// unsorted makes a map of the pairs as they come.
func unsorted(pairs ...field) item {
	m := dagcbor.AppendHead(nil, dagcbor.MajorMap, uint64(len(pairs)))
	for _, p := range pairs {
		m = slices.Concat(m, p.key, p.value)
	}
	return m
}

// object makes a canonical map.
func object(pairs ...field) item {
	pairs = slices.Clone(pairs)
	slices.SortStableFunc(pairs, func(a, b field) int { return bytes.Compare(a.key, b.key) })
	return unsorted(pairs...)
}

// with replaces the pair of a key, or adds it; a nil value takes it away.
func with(pairs []field, key string, value item) []field {
	out := slices.DeleteFunc(slices.Clone(pairs), func(p field) bool { return bytes.Equal(p.key, textItem(key)) })
	if value != nil {
		out = append(out, f(key, value))
	}
	return out
}

func headerOf(t string) item { return object(f("op", uintItem(1)), f("t", textItem(t))) }

// message makes a canonical frame.
func message(t string, pairs []field) []byte { return slices.Concat(headerOf(t), object(pairs...)) }

const (
	testDID  = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	testTime = "2026-11-23T18:45:53.123Z"
	testRev  = "3mabcdefghij2"
)

func opFields() []field {
	return []field{
		f("action", textItem("update")), f("path", textItem("app.bsky.feed.post/3mabcdefghij2")),
		f("cid", linkItem(cidOf(3))), f("prev", linkItem(cidOf(4))),
	}
}

func commitFields() []field {
	return []field{
		f("seq", uintItem(123456)), f("repo", textItem(testDID)), f("time", textItem(testTime)),
		f("rev", textItem(testRev)), f("since", textItem("3mabcdefghij3")), f("commit", linkItem(cidOf(1))),
		f("prevData", linkItem(cidOf(2))), f("blocks", bytesItem(bytes.Repeat([]byte{0xa0, 0xff}, 150))),
		f("ops", list(object(opFields()...))), f("blobs", emptyList), f("rebase", boolItem(false)), f("tooBig", boolItem(false)),
	}
}

func syncFields() []field {
	return []field{
		f("seq", uintItem(9)), f("did", textItem(testDID)), f("time", textItem(testTime)),
		f("rev", textItem(testRev)), f("blocks", bytesItem([]byte("a car"))),
	}
}

func identityFields() []field {
	return []field{
		f("seq", uintItem(9)), f("did", textItem(testDID)), f("time", textItem(testTime)), f("handle", textItem("alice.test")),
	}
}

func accountFields() []field {
	return []field{
		f("seq", uintItem(9)), f("did", textItem(testDID)), f("time", textItem(testTime)),
		f("active", boolItem(false)), f("status", textItem("deactivated")),
	}
}

func infoFields() []field {
	return []field{f("name", textItem("OutdatedCursor")), f("message", textItem("gone"))}
}

// samples is one canonical frame of each kind that has a lexicon type.
func samples() map[string][]byte {
	return map[string][]byte{
		"#commit": message("#commit", commitFields()), "#sync": message("#sync", syncFields()),
		"#identity": message("#identity", identityFields()), "#account": message("#account", accountFields()),
		"#info": message("#info", infoFields()),
	}
}

func mustParse(tb testing.TB, raw []byte) *frame.Event {
	tb.Helper()
	ev, err := frame.Parse(raw)
	if err != nil {
		tb.Fatalf("%v\n%x", err, raw)
	}
	return ev
}
