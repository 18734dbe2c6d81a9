package frame_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

// seedFrames are canonical, repairable, re-encodable and broken frames.
func seedFrames() [][]byte {
	var seeds [][]byte
	for _, raw := range samples() {
		l := loosen{src: raw, how: func(n int) int { return n / 2 }}
		seeds = append(seeds, raw, l.item(l.item(nil)), raw[:len(raw)*2/3])
	}
	short := with(with(commitFields(), "blobs", nil), "prevData", nullItem)
	odd := object(f("x", list(linkItem(cidOf(9)), item{0x3a, 1, 2, 3, 4})))
	return append(seeds,
		message("#commit", short),
		message("#commit", with(commitFields(), "ops", list(object(with(opFields(), "prev", nullItem)...)))),
		message("#sync", append(syncFields(), f("extra", odd))),
		message("#sync", with(syncFields(), "seq", uintItem(0))),
		message("#sync", append(syncFields(), f("extra", item{0xbf, 0x61, 'b', 1, 0x61, 'a', 0x9f, 2, 0xff, 0xff}))),
		message("#other", nil),
		slices.Concat(object(f("op", item{0x20})), object(f("error", textItem("FutureCursor")))),
	)
}

func FuzzParse(f *testing.F) {
	for _, raw := range seedFrames() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		ev, err := frame.Parse(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("parsing wrote into the frame")
		}
		if err != nil {
			var e *frame.Error
			if !errors.As(err, &e) || e.Row == 0 || e.Reason == "" || e.Reason == "undecodable" || ev != nil {
				t.Fatalf("not an error that a caller can act on: %#v", err)
			}
			return
		}
		switch {
		case ev.Kind == frame.Unknown:
		case ev.Reencoded:
			reencodes(t, raw)
		case !ev.HasSeq():
			sameAsIndigo(t, raw, ev)
		default:
			if !bytes.Equal(ev.AppendFrame(nil, ev.Seq), raw) {
				t.Fatal("head, seq and tail are not the frame")
			}
			content(t, raw)
			sameAsIndigo(t, raw, ev)
		}
	})
}

func FuzzSpliceIsReversible(f *testing.F) {
	for i, raw := range seedFrames() {
		f.Add(raw, seqs[i%len(seqs)])
	}
	f.Fuzz(func(t *testing.T, raw []byte, seq uint64) {
		ev, err := frame.Parse(raw)
		if err != nil || ev.Reencoded || !ev.HasSeq() {
			return
		}
		seq = 1 + seq%frame.MaxSeq
		there, err := frame.Splice(raw, seq)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustParse(t, there); got.Seq != seq || got.Reencoded || len(there) != ev.FrameLen(seq) {
			t.Fatalf("spliced to %d: parsed as %d, reencoded %v, %d bytes", seq, got.Seq, got.Reencoded, len(there))
		}
		back, err := frame.Splice(there, ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back, raw) {
			t.Fatalf("there and back again differs\nraw  %x\nback %x", raw, back)
		}
	})
}

// FuzzReencode loosens canonical frames as the choices say, and wants them back.
func FuzzReencode(f *testing.F) {
	for i, raw := range seedFrames() {
		f.Add(raw, []byte{byte(i), 0, 255, 17, 3})
	}
	f.Fuzz(func(t *testing.T, raw, choices []byte) {
		ev, err := frame.Parse(raw)
		if err != nil || ev.Reencoded || !ev.HasSeq() || len(choices) == 0 {
			return
		}
		at := 0
		l := loosen{src: raw, how: func(n int) int {
			at++
			return (int(choices[at%len(choices)]) + at/len(choices)) % n
		}}
		loose := l.item(l.item(nil))
		if bytes.Equal(loose, raw) {
			return
		}
		var e *frame.Error
		if _, err := frame.Parse(loose); errors.As(err, &e) && e.Reason == "tangled" {
			return
		}
		got := reencodes(t, loose)
		if served := got.AppendFrame(nil, got.Seq); !bytes.Equal(served, raw) {
			t.Fatalf("did not come back\nwant %x\ngot  %x", raw, served)
		}
	})
}

func FuzzWithStatus(f *testing.F) {
	for _, raw := range seedFrames() {
		f.Add(raw, true, "takendown")
	}
	f.Fuzz(func(t *testing.T, raw []byte, active bool, status string) {
		ev, err := frame.Parse(raw)
		if err != nil || ev.Kind != frame.Account {
			return
		}
		there, err := ev.WithStatus(active, status)
		if err != nil {
			return // the status is not UTF-8
		}
		if there.Active != active || there.Status != status || there.Seq != ev.Seq || there.DID != ev.DID {
			t.Fatalf("asked for %v %q, got %+v", active, status, there)
		}
		back, err := there.WithStatus(ev.Active, ev.Status)
		if err != nil {
			t.Fatal(err)
		}
		// An empty status and an absent one are the same event, and ours is absent.
		want, err := ev.WithStatus(ev.Active, ev.Status)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := want.AppendFrame(nil, 1), back.AppendFrame(nil, 1); !bytes.Equal(a, b) {
			t.Fatalf("there and back again differs\nwant %x\ngot  %x", a, b)
		}
	})
}
