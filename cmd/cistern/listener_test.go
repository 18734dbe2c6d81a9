package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// listener is a consumer that reconnects where it was, whatever happens to the
// relay, and remembers what every number named.
type listener struct {
	mu     sync.Mutex
	names  map[uint64][32]byte
	last   uint64
	left   map[string]bool // the accounts that it saw become inactive
	keep   bool
	frames [][]byte // when keep is set
	err    error    // a number that named two events, or that came twice
	closed []int    // close codes seen
}

func newListener(keep bool) *listener {
	return &listener{names: map[uint64][32]byte{}, left: map[string]bool{}, keep: keep}
}

// follow reads from cursor on until ctx ends.
func (l *listener) follow(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		l.mu.Lock()
		cursor := l.last
		l.mu.Unlock()
		url := fmt.Sprintf("ws://%s/xrpc/com.atproto.sync.subscribeRepos?cursor=%d", addr, cursor)
		conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if err != nil {
			continue // the relay is down: a loopback dial fails at once, and a new one costs little
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		l.read(conn)
		stop()
		conn.Close()
	}
}

func (l *listener) read(conn *websocket.Conn) {
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			var c *websocket.CloseError
			if errors.As(err, &c) {
				l.mu.Lock()
				l.closed = append(l.closed, c.Code)
				l.mu.Unlock()
			}
			return
		}
		l.add(frame)
	}
}

func (l *listener) add(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := netsim.Peek(frame)
	if err != nil {
		l.err = errors.Join(l.err, err)
		return
	}
	sum := sha256.Sum256(frame)
	if p.Seq <= l.last {
		l.err = errors.Join(l.err, fmt.Errorf("seq %d after %d", p.Seq, l.last))
	}
	l.names[p.Seq], l.last = sum, p.Seq
	if p.Kind == "#account" && bytes.Contains(frame, inactive) {
		l.left[p.DID] = true
	}
	if l.keep {
		l.frames = append(l.frames, frame)
	}
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.names)
}

// end is the last number seen.
func (l *listener) end() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// contains says whether everything that other saw stands here under the same
// number with the same bytes.
func (l *listener) contains(other *listener) error {
	for seq, sum := range other.names {
		got, ok := l.names[seq]
		if !ok {
			return fmt.Errorf("seq %d was served and is not in the log", seq)
		}
		if got != sum {
			return fmt.Errorf("seq %d named two events", seq)
		}
	}
	return nil
}

// compared is what it saw against what the network sent.
func (l *listener) compared(network *netsim.Network) netsim.Report {
	c := netsim.NewComparison(network.Ledger())
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.frames {
		c.Add(f)
	}
	return c.Report()
}

// pending is what the network sent and l must still get: what it misses, but for commits
// and syncs of an account that left, when later events of the account came without them:
// whoever is behind when it leaves is not sent what it did before, though it may be back soon.
func (l *listener) pending(network *netsim.Network) []netsim.Entry {
	report := l.compared(network)
	l.mu.Lock()
	defer l.mu.Unlock()
	withheld := map[int]bool{}
	for _, e := range report.Overtaken {
		withheld[e.Index] = l.left[e.DID] && (e.Kind == "#commit" || e.Kind == "#sync")
	}
	return slices.DeleteFunc(report.Missing, func(e netsim.Entry) bool { return withheld[e.Index] })
}

// inactive is the field of an #account that says so.
var inactive = []byte("\x66active\xf4")
