package ingest

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/internal/rogue"
)

func newRogue(t *testing.T, kind rogue.Kind, opts rogue.Options) *rogue.Host {
	t.Helper()
	h, err := rogue.New(kind, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// On a pipe each write is one read's, so the split is one. The first event is glued to
// the answer, and is split too.
func TestAHandshakeSplitAtAnyByteIsUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newRogue(t, rogue.SplitResponse, rogue.Options{Messages: eventsOf(alice, 1)})
		const splits = 400 // more than there are bytes
		for k := range splits {
			s := newStreet(t, homes{alice: "pds.example"}, map[string]func(net.Conn){"pds.example": h.Play}, nil)
			synctest.Wait()
			s.hasOnce("pds.example", 1)
			s.stop()
			if t.Failed() {
				t.Fatalf("split %d", k)
			}
		}
		if c := h.Count(); c.Fired != splits {
			t.Errorf("%+v, want %d splits", c, splits)
		}
	})
}

func TestAResponseCutAtAnyByteIsAskedForAgain(t *testing.T) {
	for _, kind := range []rogue.Kind{rogue.CutResponse, rogue.ResetResponse} {
		synctest.Test(t, func(t *testing.T) {
			const cuts = 200 // more than there are bytes
			h := newRogue(t, kind, rogue.Options{Messages: eventsOf(alice, 3), Reform: cuts})
			s := newStreet(t, homes{alice: "pds.example"}, map[string]func(net.Conn){"pds.example": h.Play}, nil)
			time.Sleep(cuts * 30 * time.Second)
			s.stop()
			s.hasOnce("pds.example", 3)
			failed := s.counters("cistern_ingest_dials_total", "result")["failed"]
			if c := h.Count(); c.Fired != cuts || failed != cuts {
				t.Errorf("%s: %+v, %d dials failed, want %d", kind, c, failed, cuts)
			}
		})
	}
}

// Each connection brings one message whole and a part of the next.
func TestAMessageCutAtAnyByteIsReadFromItsBeginning(t *testing.T) {
	for _, kind := range []rogue.Kind{rogue.CutMessage, rogue.ResetMessage} {
		synctest.Test(t, func(t *testing.T) {
			const cuts = 200 // more than a message has bytes
			h := newRogue(t, kind, rogue.Options{Reform: cuts, Messages: func(cursor uint64) [][]byte {
				return eventsOf(alice, cursor+2)(cursor)
			}})
			s := newStreet(t, homes{alice: "pds.example"}, map[string]func(net.Conn){"pds.example": h.Play}, nil)
			time.Sleep(cuts * 30 * time.Second)
			s.stop()
			s.hasOnce("pds.example", cuts+2) // the last two of the host that has reformed
			for i, cursor := range h.Cursors() {
				if cursor != uint64(i) {
					t.Fatalf("%s: connection %d has cursor %d", kind, i, cursor)
				}
			}
			if c := h.Count(); c.Fired != cuts {
				t.Errorf("%s: %+v, want %d cuts", kind, c, cuts)
			}
		})
	}
}

// Over TCP a reset throws away what was on its way.
func TestResetsLoseNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const events = 40
	for kind, reform := range map[rogue.Kind]int{rogue.ResetResponse: 20, rogue.ResetMessage: 20, rogue.Resets: 20} {
		t.Run(string(kind), func(t *testing.T) {
			h, err := rogue.Serve("127.0.0.1:0", newRogue(t, kind, rogue.Options{
				Seed: seed, Messages: eventsOf(alice, events), Reform: reform, Every: 10 * time.Millisecond,
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := newRig(t, "http://127.0.0.1:1", &memLog{}, func(o *Options) {
				o.Resolver = believer{strings.TrimPrefix(h.URL, "http://")}
			})
			r.addHosts(h.URL)
			until(t, "the host to reform", func() bool { return len(h.Cursors()) > reform })
			var want []uint64
			for i := range events {
				want = append(want, uint64(i+1))
			}
			r.hasSeqs(want...)
			r.stop()
			if c := h.Count(); c.Fired < int64(reform) {
				t.Errorf("%+v, want %d resets", c, reform)
			}
		})
	}
}
