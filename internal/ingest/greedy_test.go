package ingest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// someDID makes the n-th of many DIDs.
func someDID(n int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	b := []byte(strings.Repeat("a", 24))
	for i := len(b) - 1; n > 0; i, n = i-1, n/len(alphabet) {
		b[i] = alphabet[n%len(alphabet)]
	}
	return "did:plc:" + string(b)
}

// paddedFrame is an #account message of more than n bytes.
func paddedFrame(did string, seq uint64, n int) []byte {
	f := dagcbor.AppendHead(header(1, "#account"), dagcbor.MajorMap, 5)
	f = dagcbor.AppendText(dagcbor.AppendText(f, "did"), did)
	f = dagcbor.AppendUint(dagcbor.AppendText(f, "seq"), seq)
	f = dagcbor.AppendText(dagcbor.AppendText(f, "time"), "2026-01-01T00:00:00.000Z")
	f = append(dagcbor.AppendText(f, "active"), 0xf5) // true
	return dagcbor.AppendText(dagcbor.AppendText(f, "padding"), strings.Repeat("x", n))
}

// slowHomes is a Resolver that must be asked, and answers about the accounts of greedy
// hosts when it is told to.
type slowHomes struct {
	homes
	prompt  string        // the account that it answers about at once
	answers chan struct{} // closed when it answers about all
}

func (s *slowHomes) Cached(string) (identity.Identity, bool, error) {
	return identity.Identity{}, false, nil
}

func (s *slowHomes) Lookup(ctx context.Context, did string) (identity.Identity, error) {
	if did != s.prompt {
		select {
		case <-s.answers:
		case <-ctx.Done():
			return identity.Identity{}, ctx.Err()
		}
	}
	return s.homes.Lookup(ctx, did)
}

// greedy plays a host that sends a large event of each of many accounts. The connection
// goes on after them.
func greedy(first, n, size int) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		ws, err := answerUpgrade(c)
		if err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			drain(ws)
		}()
		for i := range n {
			if ws.WriteMessage(websocket.BinaryMessage, paddedFrame(someDID(first+i), uint64(i+1), size)) != nil {
				return
			}
		}
		<-gone
	}
}

// Everybody's events wait for an identity here, and the neighbour's need room for it too.
func TestGreedyHostsLeaveTheirNeighbourMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			hosts, each, size = 3, 20, 500_000 // 30 MB
			waiting, reading  = 4 << 20, 2 << 20
		)
		r := &slowHomes{homes: homes{bob: "pds.example"}, prompt: bob, answers: make(chan struct{})}
		play := map[string]func(net.Conn){"pds.example": eachSecond(bob)}
		for h := range hosts {
			name := fmt.Sprintf("greedy%d.example", h)
			play[name] = greedy(h*each, each, size)
			for i := range each {
				r.homes[someDID(h*each+i)] = name
			}
		}
		s := newStreet(t, r, play, func(o *Options) {
			o.Bounds.WaitingBytes, o.Bounds.ReadingBytes, o.Bounds.HoldFor = waiting, reading, time.Hour
		})
		most := make(map[string]int)
		watch := func(seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				for name, bound := range map[string]int{"waiting": waiting, "reading": reading, "held": waiting / 2} {
					in := s.counters("cistern_ingest_"+name+"_bytes", "")[""]
					if most[name] = max(most[name], in); in > bound {
						t.Fatalf("%d bytes are %s, of %d", in, name, bound)
					}
				}
			}
		}
		time.Sleep(time.Second / 2)
		watch(60)
		if most["waiting"] < waiting/2 || s.counters("cistern_ingest_window_full_total", "")[""] < hosts {
			t.Errorf("the hosts were not greedy: %v of %d bytes", most, waiting)
		}
		close(r.answers)
		watch(60)
		s.stop()
		s.onTime("pds.example", 120)
		for h := range hosts {
			seqs := s.seqs(fmt.Sprintf("greedy%d.example", h))
			slices.Sort(seqs) // of accounts of its own each
			if len(seqs) != each || len(slices.Compact(seqs)) != each || seqs[each-1] != each {
				t.Errorf("of greedy host %d the log has %v, want 1 to %d once", h, seqs, each)
			}
		}
	})
}
