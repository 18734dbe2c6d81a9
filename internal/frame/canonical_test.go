package frame_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// oracle decodes CBOR as leniently as we mean to, by another's code.
var oracle = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 200, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// content is what a frame says, whatever its encoding: the header and the payload
// as Go values, with row T7's repairs made to a #commit.
func content(tb testing.TB, raw []byte) (header, payload map[any]any) {
	tb.Helper()
	rest, err := oracle.UnmarshalFirst(raw, &header)
	if err != nil {
		tb.Fatalf("the other decoder cannot read the header of what we accepted: %v\n%x", err, raw)
	}
	if err := oracle.Unmarshal(rest, &payload); err != nil {
		tb.Fatalf("the other decoder cannot read the payload of what we accepted: %v\n%x", err, raw)
	}
	if header["t"] != "#commit" {
		return header, payload
	}
	for key, value := range map[string]any{"rebase": false, "tooBig": false, "blobs": []any{}, "since": nil} {
		if _, ok := payload[key]; !ok {
			payload[key] = value
		}
	}
	dropNull(payload, "prevData")
	ops, _ := payload["ops"].([]any) // of another type it would not have been accepted
	for _, op := range ops {
		if m, ok := op.(map[any]any); ok {
			dropNull(m, "prev")
		}
	}
	return header, payload
}

func dropNull(m map[any]any, key string) {
	if v, ok := m[key]; ok && v == nil {
		delete(m, key)
	}
}

// reencodes checks that raw is readable but not fit to be served, and that what is
// served instead says the same, is canonical and is taken as it is.
func reencodes(tb testing.TB, raw []byte) *frame.Event {
	tb.Helper()
	ev := mustParse(tb, raw)
	if !ev.Reencoded {
		tb.Fatalf("accepted as it came: %x", raw)
	}
	if !ev.HasSeq() {
		return ev
	}
	served := ev.AppendFrame(nil, ev.Seq)
	r := dagcbor.Reader{Buf: served, DataModel: true}
	for _, part := range []string{"header", "payload"} {
		if err := r.Skip(); err != nil {
			tb.Fatalf("%s of the new frame: %v\n%x", part, err, served)
		}
	}
	wantHeader, wantPayload := content(tb, raw)
	gotHeader, gotPayload := content(tb, served)
	if !reflect.DeepEqual(wantHeader, gotHeader) || !reflect.DeepEqual(wantPayload, gotPayload) {
		tb.Fatalf("the content changed\nwant %v %v\ngot  %v %v", wantHeader, wantPayload, gotHeader, gotPayload)
	}
	again := mustParse(tb, served)
	if again.Reencoded {
		tb.Fatalf("the new frame is not canonical either: %x", served)
	}
	sameAsIndigo(tb, served, again)
	diffEvents(tb, again, ev)
	return ev
}

// loosen encodes a canonical item in another way that means the same; how picks
// which. It is the inverse of what row T6 asks for.
type loosen struct {
	src []byte
	how func(n int) int // a number below n
}

func (l *loosen) item(dst []byte) []byte {
	r := dagcbor.Reader{Buf: l.src}
	major, arg, err := r.Head()
	if err != nil {
		panic(err) // only fed with canonical items
	}
	l.src = l.src[r.Off:]
	switch major {
	case dagcbor.MajorBytes, dagcbor.MajorText:
		b := l.src[:arg]
		l.src = l.src[arg:]
		return l.str(dst, major, b)
	case dagcbor.MajorArray:
		return l.container(dst, major, int(arg), func(dst []byte) []byte { return l.item(dst) })
	case dagcbor.MajorMap:
		return l.mapping(dst, int(arg))
	case dagcbor.MajorTag:
		return l.item(l.head(dst, major, arg))
	case dagcbor.MajorOther:
		return dagcbor.AppendHead(dst, major, arg)
	}
	return l.head(dst, major, arg)
}

// head writes a head of any of the widths that hold arg.
func (l *loosen) head(dst []byte, major byte, arg uint64) []byte {
	least := dagcbor.HeadLen(arg)
	width := []int{1, 2, 3, 5, 9}[l.how(5)]
	if width <= least {
		return dagcbor.AppendHead(dst, major, arg)
	}
	info := map[int]byte{2: 24, 3: 25, 5: 26, 9: 27}[width]
	dst = append(dst, major<<5|info)
	for i := width - 2; i >= 0; i-- {
		dst = append(dst, byte(arg>>(8*i)))
	}
	return dst
}

func (l *loosen) str(dst []byte, major byte, b []byte) []byte {
	if l.how(3) > 0 {
		return append(l.head(dst, major, uint64(len(b))), b...)
	}
	cut := l.how(len(b) + 1)
	for major == dagcbor.MajorText && cut > 0 && cut < len(b) && b[cut]&0xc0 == 0x80 {
		cut--
	}
	dst = append(dst, major<<5|31)
	dst = append(l.head(dst, major, uint64(cut)), b[:cut]...)
	dst = append(l.head(dst, major, uint64(len(b)-cut)), b[cut:]...)
	return append(dst, 0xff)
}

func (l *loosen) container(dst []byte, major byte, n int, each func([]byte) []byte) []byte {
	indefinite := l.how(3) == 0
	if indefinite {
		dst = append(dst, major<<5|31)
	} else {
		dst = l.head(dst, major, uint64(n))
	}
	for range n {
		dst = each(dst)
	}
	if indefinite {
		dst = append(dst, 0xff)
	}
	return dst
}

func (l *loosen) mapping(dst []byte, n int) []byte {
	var pairs []item
	for range n {
		pairs = append(pairs, l.item(l.item(nil)))
	}
	for i := len(pairs) - 1; i > 0; i-- {
		j := l.how(i + 1)
		pairs[i], pairs[j] = pairs[j], pairs[i]
	}
	return l.container(dst, dagcbor.MajorMap, n, func(dst []byte) []byte {
		dst = append(dst, pairs[0]...)
		pairs = pairs[1:]
		return dst
	})
}

func TestReadableFramesAreReencoded(t *testing.T) { // T6
	widest := func(n int) int { return n - 1 }
	indefinite := func(int) int { return 0 }
	for name, how := range map[string]func(int) int{"widest heads, maps in their order": widest, "indefinite, rotated": indefinite} {
		for kind, raw := range samples() {
			l := loosen{src: raw, how: how}
			loose := l.item(l.item(nil))
			if bytes.Equal(loose, raw) {
				t.Fatalf("%s, %s: nothing was loosened", kind, name)
			}
			ev := reencodes(t, loose)
			if ev.HasSeq() && !bytes.Equal(ev.AppendFrame(nil, ev.Seq), raw) {
				t.Errorf("%s, %s: did not come back to the canonical frame", kind, name)
			}
		}
	}
}

func TestOneOddityIsEnoughToReencode(t *testing.T) { // T6
	sync := syncFields()
	swapped := slices.Clone(sync)
	slices.Reverse(swapped)
	extra := func(v ...byte) []byte { return message("#sync", append(syncFields(), f("extra", v))) }
	for name, raw := range map[string][]byte{
		"op before t":             slices.Concat(unsorted(f("op", uintItem(1)), f("t", textItem("#sync"))), object(sync...)),
		"op in two bytes":         slices.Concat(object(f("op", item{0x18, 1}), f("t", textItem("#sync"))), object(sync...)),
		"payload not sorted":      slices.Concat(headerOf("#sync"), unsorted(swapped...)),
		"seq in nine bytes":       message("#sync", with(sync, "seq", item{0x1b, 0, 0, 0, 0, 0, 0, 0, 9})),
		"seq in two bytes":        message("#sync", with(sync, "seq", item{0x18, 9})),
		"key in two":              message("#sync", append(sync, field{item{0x78, 2, 'z', 'z'}, nullItem})),
		"indefinite key":          message("#sync", append(sync, field{item{0x7f, 0x61, 'z', 0x61, 'z', 0xff}, nullItem})),
		"indefinite map":          extra(0xbf, 0x61, 'b', 1, 0x61, 'a', 2, 0xff),
		"empty indefinite map":    extra(0xbf, 0xff),
		"indefinite list":         extra(0x9f, 1, 2, 3, 0xff),
		"empty indefinite text":   extra(0x7f, 0xff),
		"link in chunks":          extra(slices.Concat([]byte{0xd8, 42, 0x5f, 0x41, 0, 0x58, 36}, cidOf(1), []byte{0xff})...),
		"tag 42 in three bytes":   extra(slices.Concat([]byte{0xd9, 0, 42, 0x58, 37, 0}, cidOf(1))...),
		"negative in three bytes": extra(0x39, 0, 5),
		"300 in an open list":     extra(slices.Concat([]byte{0x9f}, bytes.Repeat([]byte{0}, 300), []byte{0xff})...),
		"as deep as it goes":      extra(slices.Concat(bytes.Repeat([]byte{0x9f}, 63), bytes.Repeat([]byte{0xff}, 63))...),
	} {
		ev := reencodes(t, raw)
		if ev.Kind != frame.Sync || ev.Seq != 9 {
			t.Errorf("%s: got kind %d, seq %d", name, ev.Kind, ev.Seq)
		}
	}
}

func TestChunksMustBeWhole(t *testing.T) { // T6
	extra := func(v ...byte) []byte { return message("#sync", append(syncFields(), f("extra", v))) }
	rejects(t, "a character over two chunks", extra(0x7f, 0x61, 0xc3, 0x61, 0xa9, 0xff), 6, "bad_utf8")
	rejects(t, "a chunk of another type", extra(0x7f, 0x41, 'x', 0xff), 6, "malformed_cbor")
	rejects(t, "chunks within chunks", extra(0x7f, 0x7f, 0xff, 0xff), 6, "malformed_cbor")
	rejects(t, "no end", slices.Concat(headerOf("#sync"), item{0xbf}), 6, "truncated")
	rejects(t, "an odd number of items", slices.Concat(headerOf("#sync"), item{0xbf, 0x61, 'a', 0xff}), 6, "malformed_cbor")
	rejects(t, "same key in two encodings", message("#sync", append(syncFields(),
		field{item{0x61, 'z'}, nullItem}, field{item{0x78, 1, 'z'}, nullItem})), 6, "duplicate_key")
}

func TestRearrangingIsBounded(t *testing.T) { // T6
	// A megabyte inside sixty maps that are each out of order: every level would
	// move all of it.
	inner := bytesItem(make([]byte, 1<<20))
	for range 60 {
		inner = unsorted(f("b", inner), f("a", nullItem))
	}
	rejects(t, "sixty levels", message("#sync", append(syncFields(), f("extra", inner))), 6, "tangled")
}
