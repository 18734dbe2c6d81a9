package frame_test

import (
	"bytes"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// sameAsIndigo checks that indigo's decoder finds in a canonical frame what ev
// holds. The header is skipped: its form is this package's own business.
func sameAsIndigo(tb testing.TB, raw []byte, ev *frame.Event) {
	tb.Helper()
	r := dagcbor.Reader{Buf: raw}
	if err := r.Skip(); err != nil {
		tb.Fatal(err)
	}
	var want frame.Event
	var err error
	payload := bytes.NewReader(raw[r.Off:])
	switch ev.Kind {
	case frame.Commit:
		err = wantCommit(&want, payload)
	case frame.Sync:
		var m comatproto.SyncSubscribeRepos_Sync
		err = m.UnmarshalCBOR(payload)
		want = frame.Event{DID: m.Did, Seq: uint64(m.Seq), Time: m.Time, Rev: m.Rev, Blocks: m.Blocks}
	case frame.Identity:
		var m comatproto.SyncSubscribeRepos_Identity
		err = m.UnmarshalCBOR(payload)
		want = frame.Event{DID: m.Did, Seq: uint64(m.Seq), Time: m.Time, Handle: text(m.Handle)}
	case frame.Account:
		var m comatproto.SyncSubscribeRepos_Account
		err = m.UnmarshalCBOR(payload)
		want = frame.Event{DID: m.Did, Seq: uint64(m.Seq), Time: m.Time, Active: m.Active, Status: text(m.Status)}
	case frame.Info:
		var m comatproto.SyncSubscribeRepos_Info
		err = m.UnmarshalCBOR(payload)
		want = frame.Event{Name: m.Name, Message: text(m.Message)}
	default:
		return
	}
	if err != nil {
		tb.Fatalf("indigo cannot read what we accepted: %v\n%x", err, raw)
	}
	diffEvents(tb, &want, ev)
}

func wantCommit(want *frame.Event, payload *bytes.Reader) error {
	var m comatproto.SyncSubscribeRepos_Commit
	if err := m.UnmarshalCBOR(payload); err != nil {
		return err
	}
	*want = frame.Event{
		DID: m.Repo, Seq: uint64(m.Seq), Time: m.Time, Rev: m.Rev, Since: text(m.Since), Commit: link(&m.Commit),
		PrevData: link(m.PrevData), Blocks: m.Blocks, TooBig: m.TooBig, Rebase: m.Rebase,
	}
	for _, op := range m.Ops {
		want.Ops = append(want.Ops, frame.Op{Action: op.Action, Path: op.Path, CID: link(op.Cid), Prev: link(op.Prev)})
	}
	return nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func link(l *lexutil.LexLink) []byte {
	if l == nil {
		return nil
	}
	return cid.Cid(*l).Bytes()
}

// diffEvents compares what a message says, field by field.
func diffEvents(tb testing.TB, want, got *frame.Event) {
	tb.Helper()
	same := func(field string, equal bool, w, g any) {
		tb.Helper()
		if !equal {
			tb.Errorf("%s of %s: want %v, got %v", field, got.Type, w, g)
		}
	}
	for _, f := range []struct{ name, want, got string }{
		{"did", want.DID, got.DID}, {"time", want.Time, got.Time}, {"rev", want.Rev, got.Rev},
		{"since", want.Since, got.Since}, {"handle", want.Handle, got.Handle}, {"status", want.Status, got.Status},
		{"name", want.Name, got.Name}, {"message", want.Message, got.Message},
	} {
		same(f.name, f.want == f.got, f.want, f.got)
	}
	same("seq", want.Seq == got.Seq, want.Seq, got.Seq)
	same("commit", bytes.Equal(want.Commit, got.Commit), want.Commit, got.Commit)
	same("prevData", bytes.Equal(want.PrevData, got.PrevData), want.PrevData, got.PrevData)
	same("blocks", bytes.Equal(want.Blocks, got.Blocks), len(want.Blocks), len(got.Blocks))
	same("flags", want.TooBig == got.TooBig && want.Rebase == got.Rebase && want.Active == got.Active, want, got)
	same("ops", len(want.Ops) == len(got.Ops), len(want.Ops), len(got.Ops))
	for i := range min(len(want.Ops), len(got.Ops)) {
		w, g := want.Ops[i], got.Ops[i]
		same("op", w.Action == g.Action && w.Path == g.Path, w, g)
		same("op cid", bytes.Equal(w.CID, g.CID) && bytes.Equal(w.Prev, g.Prev), w, g)
	}
}
