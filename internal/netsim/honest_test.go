package netsim

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	atrepo "github.com/bluesky-social/indigo/atproto/repo"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // the library logs each null prevData
	// A logging library of indigo's block store keeps a goroutine from its init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// offline makes a network without listeners that the test closes.
func offline(t testing.TB, o Options) *Network {
	t.Helper()
	o.Offline = true
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func step(t testing.TB, n *Network, times int) {
	t.Helper()
	for range times {
		if err := n.Step(); err != nil {
			t.Fatal(err)
		}
	}
}

// decodePayload decodes a frame's payload with the reference implementation's types.
func decodePayload[T any, P interface {
	*T
	UnmarshalCBOR(io.Reader) error
}](t testing.TB, frame []byte) *T {
	t.Helper()
	var v T
	if err := P(&v).UnmarshalCBOR(bytes.NewReader(payloadOf(t, frame))); err != nil {
		t.Fatal(err)
	}
	return &v
}

func payloadOf(t testing.TB, frame []byte) []byte {
	t.Helper()
	r := dagcbor.Reader{Buf: frame}
	if err := r.Skip(); err != nil {
		t.Fatalf("frame header: %v", err)
	}
	return frame[r.Off:]
}

// verifyCommit checks a #commit with indigo: structure, ops, inversion, signature.
func verifyCommit(n *Network, msg *comatproto.SyncSubscribeRepos_Commit) error {
	if _, err := atrepo.VerifyCommitMessage(context.Background(), msg); err != nil {
		return err
	}
	return verifySignature(n, msg.Repo, msg.Blocks)
}

func verifySignature(n *Network, did string, car []byte) error {
	c, _, err := atrepo.LoadCommitFromCAR(context.Background(), bytes.NewReader(car))
	if err != nil {
		return err
	}
	return c.VerifySignature(n.Account(did).document.public)
}

func TestEveryHonestEventVerifies(t *testing.T) {
	n := offline(t, Options{Seed: 7, Hosts: 3, Accounts: 8, Records: 120, Churn: 0.1})
	steps := 3000
	if testing.Short() {
		steps = 500
	}
	step(t, n, steps)
	kinds := map[string]int{}
	size := 0
	for i, e := range n.Ledger() {
		frame, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		kinds[e.Kind]++
		p, err := Peek(frame)
		if err != nil {
			t.Fatalf("entry %v: not canonical: %v", e, err)
		}
		if p.Digest != e.Want || p.Seq != e.HostSeq || p.DID != e.DID || p.Rev != e.Rev || p.Kind != e.Kind {
			t.Fatalf("entry %v does not describe its frame %+v", e, p)
		}
		switch e.Kind {
		case "#commit":
			size += len(frame)
			if err := verifyCommit(n, decodePayload[comatproto.SyncSubscribeRepos_Commit](t, frame)); err != nil {
				t.Fatalf("entry %v: %v", e, err)
			}
		case "#sync":
			if err := verifySignature(n, e.DID, decodePayload[comatproto.SyncSubscribeRepos_Sync](t, frame).Blocks); err != nil {
				t.Fatalf("entry %v: %v", e, err)
			}
		}
	}
	for _, k := range []string{"#commit", "#sync", "#identity", "#account"} {
		if kinds[k] == 0 {
			t.Errorf("no %s among %v", k, kinds)
		}
	}
	t.Logf("%v, %d bytes a commit", kinds, size/kinds["#commit"])
}

func BenchmarkGenerate(b *testing.B) {
	n := offline(b, Options{Seed: 1, Hosts: 8, Accounts: 100})
	step(b, n, 2000) // build the repositories of the active accounts
	for b.Loop() {
		if err := n.Step(); err != nil {
			b.Fatal(err)
		}
	}
}
