package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// script hands out a fuzz input byte by byte, and zeros after its end.
type script struct{ b []byte }

func (s *script) next(n int) int {
	if len(s.b) == 0 || n <= 0 {
		return 0
	}
	c := int(s.b[0])
	s.b = s.b[1:]
	return c % n
}

// altered builds a small repo, makes one more commit, and alters that as the script
// says: honest with an empty script, else mostly a lie.
func altered(t testing.TB, s *script) (*testRepo, *draft) {
	r := newRepo(t, uint64(s.next(256))<<8|uint64(s.next(256)))
	tall := s.next(2) == 0
	for range s.next(6) {
		r.apply(false, r.randomChanges(12, tall)...)
	}
	d := r.apply(s.next(3) == 0, r.randomChanges(1+s.next(16), tall)...)
	for range s.next(4) {
		alter(d, s)
	}
	return r, d
}

func alter(d *draft, s *script) {
	r, ev := d.repo, d.ev
	var op *frame.Op
	if len(ev.Ops) > 0 {
		op = &ev.Ops[s.next(len(ev.Ops))]
	} else {
		op = &frame.Op{}
	}
	other := r.post().Bytes()
	switch s.next(16) {
	case 0:
		if len(d.nodes) > 0 {
			i := s.next(len(d.nodes))
			d.nodes = slices.Delete(d.nodes, i, i+1)
		}
	case 1:
		op.CID = other
	case 2:
		op.Prev = other
	case 3:
		if i := s.next(len(ev.Ops)); i < len(ev.Ops) {
			ev.Ops = slices.Delete(ev.Ops, i, i+1)
		}
	case 4:
		ev.Ops = append(ev.Ops, *op)
	case 5:
		ev.PrevData = other
	case 6:
		ev.PrevData = nil
	case 7:
		ev.Since = ""
	case 8:
		op.Action = []string{"create", "update", "delete", "upsert"}[s.next(4)]
	case 9:
		op.Path = r.pick(true)
	case 10:
		if len(d.records) > 0 {
			d.records = d.records[1:]
		}
	case 11:
		op.CID, op.Prev = op.Prev, op.CID
	case 12:
		op.Prev = op.CID
	case 13:
		ev.Ops = append(ev.Ops, frame.Op{Action: "delete", Path: r.pick(true), Prev: other})
	default:
		alterNode(d, s)
	}
}

// alterNode changes one MST node and the links of all above it.
func alterNode(d *draft, s *script) {
	if len(d.nodes) == 0 {
		return
	}
	at := s.next(len(d.nodes))
	nd, err := mst.NodeDataFromCBOR(bytes.NewReader(d.nodes[at].data))
	if err != nil {
		d.repo.t.Fatal(err)
	}
	other := toCID(d.repo.t, d.nodes[s.next(len(d.nodes))].cid)
	value := d.repo.post()
	i := s.next(len(nd.Entries))
	switch n := len(nd.Entries); {
	case s.next(8) == 0:
		nd.Left = nil
	case s.next(8) == 0:
		nd.Left = &other
	case n == 0:
		nd.Entries = append(nd.Entries, mst.EntryData{KeySuffix: []byte(d.repo.pick(true)), Value: value})
	case s.next(6) == 0:
		nd.Entries = slices.Delete(nd.Entries, i, i+1)
		if i < len(nd.Entries) {
			nd.Entries[i].PrefixLen = 0
		}
	case s.next(5) == 0:
		nd.Entries[i].Value = value
	case s.next(4) == 0:
		nd.Entries[i].PrefixLen++
	case s.next(3) == 0:
		nd.Entries[i].Right = &other
	case s.next(2) == 0:
		nd.Entries[i].Right = nil
	default:
		nd.Entries = append(nd.Entries, nd.Entries[i])
	}
	d.replaceNode(at, encodeNode(d.repo.t, *nd), len(d.nodes))
}

// replaceNode puts another node in a node's place and follows its CID up to the root,
// at most depth links: a forged link may point to a node above.
func (d *draft) replaceNode(at int, b tblock, depth int) {
	from := d.nodes[at].cid
	d.nodes[at] = b
	if bytes.Equal(from, b.cid) || depth == 0 {
		return
	}
	for i := range d.nodes {
		if bytes.Contains(d.nodes[i].data, from) && i != at {
			d.replaceNode(i, newBlock(bytes.ReplaceAll(d.nodes[i].data, from, b.cid)), depth-1)
		}
	}
	if bytes.Equal(from, d.repo.root) {
		d.repo.root = b.cid
		d.setData(b.cid)
	}
}

func lexLink(t testing.TB, b []byte) *lexutil.LexLink {
	if len(b) == 0 {
		return nil
	}
	c, err := cid.Cast(b)
	if err != nil {
		t.Fatal(err)
	}
	l := lexutil.LexLink(c)
	return &l
}

func toIndigo(t testing.TB, ev *frame.Event) *comatproto.SyncSubscribeRepos_Commit {
	msg := &comatproto.SyncSubscribeRepos_Commit{
		Repo: ev.DID, Rev: ev.Rev, Time: "2026-11-02T12:00:00.000Z", Blocks: ev.Blocks,
		Commit: *lexLink(t, ev.Commit), PrevData: lexLink(t, ev.PrevData),
	}
	for _, o := range ev.Ops {
		msg.Ops = append(msg.Ops, &comatproto.SyncSubscribeRepos_RepoOp{
			Action: o.Action, Path: o.Path, Cid: lexLink(t, o.CID), Prev: lexLink(t, o.Prev),
		})
	}
	return msg
}

// askIndigo runs the reference verification, which may panic on forged nodes.
func askIndigo(t testing.TB, ev *frame.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = repo.VerifyCommitMessage(context.Background(), toIndigo(t, ev))
	return err
}

// askIndigoInOrder is the reference inversion in the order that it documents. Its
// sort ("deletions first, then by path") is not an order where a create sorts before
// a delete by path, so it may undo the create first; when that empties the tree, the
// key that comes back hangs under a top node that is never trimmed.
func askIndigoInOrder(ev *frame.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, r, err := repo.LoadRepoFromCAR(context.Background(), bytes.NewReader(ev.Blocks))
	if err != nil {
		return err
	}
	for _, deletes := range []bool{true, false} {
		for _, o := range ev.Ops {
			if (o.Action == "delete") != deletes {
				continue
			}
			op := repo.Operation{Path: o.Path}
			if c, err := cid.Cast(o.CID); err == nil {
				op.Value = &c
			}
			if c, err := cid.Cast(o.Prev); err == nil {
				op.Prev = &c
			}
			if err := repo.InvertOp(&r.MST, &op); err != nil {
				return err
			}
		}
	}
	root, err := r.MST.RootCID()
	if err != nil {
		return err
	}
	if !bytes.Equal(root.Bytes(), ev.PrevData) {
		return errors.New("root is not prevData")
	}
	return nil
}

// explained says why a difference from indigo's verdict is right, or "".
func explained(ev *frame.Event, ours, theirs error, verdict segmentlog.Verdict) string {
	var rej *Rejection
	if errors.As(ours, &rej) && theirs == nil {
		switch rej.Row {
		case 30:
			return "indigo leaves ops unchecked that it does not look up, and skips the inversion when an update or delete has no prev"
		case 33:
			return "indigo does not check the structure of the MST"
		case 35:
			// Its inversion of no ops is the comparison that T35 makes.
			return ""
		case 36:
			return "indigo skips the comparison without prevData"
		case 34:
			if len(ev.PrevData) == 0 {
				return "indigo skips the comparison without prevData"
			}
		}
		return ""
	}
	if ours == nil && theirs != nil {
		if verdict.Has(segmentlog.Unproven) {
			return "a first commit without prevData may be unproven; indigo's relay does not call its verification then"
		}
		for _, o := range ev.Ops {
			if o.Action == "update" && bytes.Equal(o.CID, o.Prev) {
				return "indigo does not invert an update to the same value, which is harmless"
			}
		}
		if askIndigoInOrder(ev) == nil {
			return "indigo undid the ops in another order than it says"
		}
		if len(ev.Ops) == 0 {
			return "indigo wants the MST root although there is nothing to undo"
		}
	}
	return ""
}

// FuzzAgainstIndigo compares verdicts with the reference library's.
func FuzzAgainstIndigo(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		b := make([]byte, 4+rng.IntN(24))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // the library logs each message
	f.Fuzz(func(t *testing.T, b []byte) {
		r, d := altered(t, &script{b})
		ev := d.event()
		v := testVerifier()
		got, ours := v.Commit(ev, r.key, State{})
		if v.tree.loads > len(d.nodes) {
			t.Fatalf("%d loads of %d nodes", v.tree.loads, len(d.nodes))
		}
		theirs := askIndigo(t, ev)
		if (ours == nil) != (theirs == nil) && explained(ev, ours, theirs, got.Verdict) == "" {
			t.Fatalf("ours: %v (%s), indigo: %v", ours, got.Verdict, theirs)
		}
		if ours == nil && got.Verdict.Has(segmentlog.Inversion) && len(ev.Ops) > 0 {
			want := ev.PrevData
			if want == nil {
				want = emptyTree[:]
			}
			if root := v.tree.rootCID(); !bytes.Equal(root, want) {
				t.Fatalf("inverted to %x, want %x", root, want)
			}
		}
	})
}
