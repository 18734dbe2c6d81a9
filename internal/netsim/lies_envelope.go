package netsim

import (
	"bytes"
	"math"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// envelopeLies are about messages, frames and numbers (rows 1 to 6 and 8).
var envelopeLies = []Lie{
	{Name: "text-message", Row: 1, About: "a WebSocket text message", Closes: true, Once: true, tell: textMessage},
	{Name: "oversized-frame", Row: 2, About: "a frame of more than 5,000,000 bytes, honest but for its size", Solo: true,
		tell: inMessage(func(m *message) { m.set("zzPadding", byteString(make([]byte, 5_100_000))) })},
	{Name: "unknown-op", Row: 3, About: "op 2 in the header", Outcome: Ignore,
		tell: inMessage(func(m *message) { m.header[1].val = uintValue(2) })},
	{Name: "unknown-type", Row: 3, About: "a t that no lexicon knows", Outcome: Ignore,
		tell: inMessage(func(m *message) { m.header[0].val = text("#future") })},
	{Name: "error-frame", Row: 4, About: "an error frame in the middle of the stream", Outcome: Ignore, Closes: true, Once: true,
		tell: errorLie("ConsumerTooSlow")},
	{Name: "error-future-cursor", Row: 4, About: "the error FutureCursor in the middle of the stream", Outcome: Ignore,
		Closes: true, Once: true, Solo: true, tell: errorLie("FutureCursor")},
	{Name: "info-outdated-cursor", Row: 5, About: "an #info that says that something is missing", Outcome: Ignore,
		tell: func(l *liar) error {
			return l.tellMessage("", "#info", newMessage("#info", field{"name", text("OutdatedCursor")}))
		}},
	{Name: "not-cbor", Row: 6, About: "bytes that are not CBOR",
		tell: inBytes(func([]byte) []byte { return []byte("\xff\xfe this is not CBOR") })},
	{Name: "frame-truncated", Row: 6, About: "the last byte is missing",
		tell: inBytes(func(f []byte) []byte { return f[:len(f)-1] })},
	{Name: "frame-trailing-bytes", Row: 6, About: "a byte after the payload",
		tell: inBytes(func(f []byte) []byte { return append(f, 0) })},
	{Name: "frame-empty", Row: 6, About: "a message without a byte", tell: inBytes(func([]byte) []byte { return nil })},
	{Name: "header-alone", Row: 6, About: "a header without a payload",
		tell: inMessage(func(m *message) {
			n := len(encodeFields(m.header))
			m.edit = func(f []byte) []byte { return f[:n] }
		})},
	{Name: "duplicate-key", Row: 6, About: "a payload key twice",
		tell: inMessage(func(m *message) { m.payload = append(m.payload, field{"rev", m.get("rev")}) })},
	{Name: "float-in-envelope", Row: 6, About: "a float in an unknown field of the payload",
		tell: inMessage(func(m *message) { m.set("zzRatio", float64Value(math.Float64bits(1.5))) })},
	{Name: "bad-tag", Row: 6, About: "a tag that is not 42",
		tell: inMessage(func(m *message) { m.set("zzTag", []byte{dagcbor.MajorTag<<5 | 1, 0}) })},
	{Name: "bad-link", Row: 6, About: "tag 42 over bytes that do not begin with 0",
		tell: inMessage(func(m *message) {
			m.set("commit", bytes.Replace(m.get("commit"), []byte{0x25, 0x00, 0x01}, []byte{0x25, 0x07, 0x01}, 1))
		})},
	{Name: "bad-utf8", Row: 6, About: "text that is not UTF-8",
		tell: inMessage(func(m *message) { m.set("zzText", text("\xc3\x28")) })},
	{Name: "deep-nesting", Row: 6, About: "arrays in arrays, 100,000 deep",
		tell: inMessage(func(m *message) { m.set("zzDeep", append(bytes.Repeat([]byte{0x81}, 100_000), 0xf6)) })},
	{Name: "lying-length", Row: 6, About: "an array that claims 2^40 items",
		tell: inMessage(func(m *message) { m.set("zzLong", dagcbor.AppendHead(nil, dagcbor.MajorArray, 1<<40)) })},
	{Name: "seq-zero", Row: 8, About: "seq 0", Closes: true, Once: true, tell: numbered(uintValue(0))},
	{Name: "seq-too-large", Row: 8, About: "seq 2^53", Closes: true, Once: true, tell: numbered(uintValue(1 << 53))},
	{Name: "seq-negative", Row: 8, About: "seq -7", Closes: true, Once: true, tell: numbered(dagcbor.AppendHead(nil, dagcbor.MajorNint, 6))},
	{Name: "seq-repeated", Row: 8, About: "a seq that is not above the one before", Outcome: Ignore, Once: true, tell: repeatedNumber},
}

// fieldLies are about fields that are missing or wrong (rows 7 and 10).
var fieldLies = slices.Concat(missingFields(), []Lie{
	{Name: "mistyped-repo", Row: 7, About: "repo is a number", tell: mistyped("repo", uintValue(7))},
	{Name: "mistyped-blocks", Row: 7, About: "blocks is text", tell: mistyped("blocks", text("car"))},
	{Name: "mistyped-ops", Row: 7, About: "ops is a map", tell: mistyped("ops", encodeFields(nil))},
	{Name: "mistyped-commit", Row: 7, About: "commit is text", tell: mistyped("commit", text("bafy"))},
	{Name: "mistyped-seq", Row: 7, About: "seq is text", tell: mistyped("seq", text("12"))},
	{Name: "mistyped-active", Row: 7, About: "active is a number", tell: func(l *liar) error {
		m := accountMessage(l.a.DID, "", formatTime(l.h.net.clock.next()), true)
		m.set("active", uintValue(1))
		return l.tellMessage(l.a.DID, "#account", m)
	}},
	{Name: "missing-active", Row: 7, About: "an #account without active", tell: func(l *liar) error {
		m := accountMessage(l.a.DID, "", formatTime(l.h.net.clock.next()), true)
		m.remove("active")
		return l.tellMessage(l.a.DID, "#account", m)
	}},
	{Name: "missing-did", Row: 7, About: "an #identity without did", tell: func(l *liar) error {
		m := identityMessage(l.a.DID, l.a.handle, formatTime(l.h.net.clock.next()))
		m.remove("did")
		return l.tellMessage(l.a.DID, "#identity", m)
	}},
	{Name: "bad-time", Row: 7, About: "time is not a datetime", tell: mistyped("time", text("yesterday"))},
	{Name: "bad-rev", Row: 7, About: "rev is not a TID, in message and commit", tell: bent(func(d *draft) { d.rev = "not-a-tid" })},
	{Name: "did-upper-case", Row: 10, About: "a did:plc in capitals", tell: renamed(func(did string) string {
		return "did:plc:" + string(bytes.ToUpper([]byte(did[len("did:plc:"):])))
	})},
	{Name: "did-unknown-method", Row: 10, About: "a DID of another method", tell: renamed(func(string) string { return "did:example:abcdefghijkl" })},
	{Name: "did-bad-syntax", Row: 10, About: "a did:plc that is too short", tell: renamed(func(string) string { return "did:plc:short" })},
	{Name: "did-web-path", Row: 10, About: "a did:web with a path", tell: renamed(func(string) string { return "did:web:example.com:user" })},
})

// missingFields are commits with one required field left out.
func missingFields() []Lie {
	var out []Lie
	for _, key := range []string{"repo", "rev", "time", "commit", "ops", "blocks", "seq"} {
		out = append(out, Lie{
			Name: "missing-" + key, Row: 7, About: "a #commit without " + key,
			tell: inMessage(func(m *message) { m.remove(key) }),
		})
	}
	return out
}

func mistyped(key string, val []byte) func(*liar) error {
	return inMessage(func(m *message) { m.set(key, val) })
}

// numbered is an honest commit whose seq is a given value.
func numbered(val []byte) func(*liar) error { return mistyped(seqKey, val) }

// renamed is a commit in the name of another DID, signed with the account's key.
func renamed(rename func(string) string) func(*liar) error {
	return bent(func(d *draft) { d.did = rename(d.did) })
}

func repeatedNumber(l *liar) error {
	if err := l.known(); err != nil {
		return err
	}
	return numbered(uintValue(l.h.seq))(l)
}

func textMessage(l *liar) error {
	m := &message{edit: func([]byte) []byte { return []byte(`{"t":"#commit","op":1}`) }}
	return l.tellMessage("", "text", m)
}

func errorLie(name string) func(*liar) error {
	return func(l *liar) error { return l.tellMessage("", "error", errorMessage(name, "go away")) }
}
