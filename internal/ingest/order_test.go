package ingest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

const bob = "did:plc:44ybard66vv44zksje25o7dz"

func identityFrame(seq uint64) []byte {
	f := dagcbor.AppendHead(header(1, "#identity"), dagcbor.MajorMap, 3)
	f = dagcbor.AppendText(dagcbor.AppendText(f, "did"), alice)
	f = dagcbor.AppendUint(dagcbor.AppendText(f, "seq"), seq)
	return dagcbor.AppendText(dagcbor.AppendText(f, "time"), "2026-01-01T00:00:00.000Z")
}

// slowDirectory believes that every account lives on one host, and answers a question
// for a new document when it is let.
type slowDirectory struct {
	believer
	gate chan struct{}
}

func (d slowDirectory) Announced(ctx context.Context, did string) (identity.Identity, bool, error) {
	select {
	case <-d.gate:
		return d.believer.Announced(ctx, did)
	case <-ctx.Done():
		return identity.Identity{}, false, ctx.Err()
	}
}

func TestNoEventPassesAnEarlierOneOfItsAccountThatWaits(t *testing.T) {
	other := frame.NewAccount(bob, time.Unix(1_700_000_000, 0), true, "")
	s := newStage(t, func(_ int, c *websocket.Conn) {
		// The first waits for the directory; the document that the second needs is cached.
		send(c, identityFrame(1), accountFrame(2), other.AppendFrame(nil, 3))
		drain(c)
	})
	gate := make(chan struct{})
	r := stageRig(t, s, func(o *Options) { o.Resolver = slowDirectory{believer{s.name()}, gate} })
	seqs := func() (seqs []uint64) {
		for _, rec := range r.log.all() {
			seqs = append(seqs, rec.HostSeq)
		}
		return seqs
	}
	until(t, "the other account's event", func() bool { return slices.Contains(seqs(), 3) })
	if got := seqs(); !slices.Equal(got, []uint64{3}) {
		t.Errorf("upstream seqs %v are in the log while 1 waits, want 3 alone", got)
	}
	close(gate)
	until(t, "all", func() bool { return len(seqs()) == 3 })
	if got := seqs(); !slices.Equal(got, []uint64{3, 1, 2}) {
		t.Errorf("upstream seqs in the log: %v, want 1 before 2", got)
	}
}

// outdated is a directory that fails, of which a resolver still has old documents.
type outdated struct{ believer }

func (o outdated) Refresh(ctx context.Context, did string) (identity.Identity, error) {
	id, err := o.believer.Refresh(ctx, did)
	id.Stale = true
	return id, err
}

func TestAnOldDocumentIsNoAnswerToAQuestionForANewOne(t *testing.T) {
	r := newRig(t, "http://127.0.0.1:1", &memLog{}, func(o *Options) { o.Resolver = outdated{believer{"pds.example"}} })
	h := newHost(r.m, address{name: "pds.example", trusted: true}, Position{})
	for name, q := range map[string]question{"T13": newDocument, "T26": newKey} {
		s := &subject{ev: &frame.Event{DID: alice}}
		err := h.asker(q)(s)
		var unavailable *identity.UnavailableError
		if !errors.As(err, &unavailable) || s.refreshed || s.rekeyed {
			t.Errorf("%s: %v; asked %v and %v, want the event to wait", name, err, s.refreshed, s.rekeyed)
		}
	}
}
