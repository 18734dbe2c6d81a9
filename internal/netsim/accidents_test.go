package netsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// follower is a subscriber that pings, leaves when it hears nothing, and comes back
// where it was. It counts what it got, once each.
type follower struct {
	mu   sync.Mutex
	seqs map[uint64]bool
	last uint64
}

func (f *follower) follow(ctx context.Context, h *Host) {
	f.seqs = make(map[uint64]bool)
	for ctx.Err() == nil {
		url := fmt.Sprintf("ws%s/xrpc/com.atproto.sync.subscribeRepos?cursor=%d", strings.TrimPrefix(h.URL, "http"), f.last)
		c, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
		if err != nil {
			continue // it is down: a dial of the loopback fails at once
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		f.read(c)
		stop()
		_ = c.Close()
	}
}

func (f *follower) read(c *websocket.Conn) {
	const silence = 100 * time.Millisecond
	heard := func(string) error { return c.SetReadDeadline(time.Now().Add(2 * silence)) }
	c.SetPongHandler(heard)
	done := make(chan struct{})
	var pings sync.WaitGroup
	pings.Go(func() {
		tick := time.NewTicker(silence / 2)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.WriteControl(websocket.PingMessage, nil, time.Now().Add(silence))
			case <-done:
				return
			}
		}
	})
	defer pings.Wait()
	defer close(done)
	for heard("") == nil {
		_, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		if p, err := Peek(b); err == nil {
			f.mu.Lock()
			f.seqs[p.Seq], f.last = true, p.Seq
			f.mu.Unlock()
		}
	}
}

func (f *follower) has(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seqs) == n
}

func TestEveryAccidentIsFeltAndLosesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := online(t, Options{Seed: seed, Accounts: 2, Records: 10})
	ctx, cancel := context.WithCancel(t.Context())
	var f follower
	var wg sync.WaitGroup
	wg.Go(func() { f.follow(ctx, n.Host(0)) })
	defer wg.Wait()
	defer cancel()
	for _, kind := range []Accident{AccidentRestart, AccidentStall, AccidentCut, AccidentRST, AccidentSilence} {
		step(t, n, 20)
		waitFor(t, func() bool { return n.Host(0).Subscribers() > 0 })
		joined, ledger := n.Host(0).Joined(), n.Len()
		counts := sufferUntil(t, n, kind, 10*time.Second, func() bool {
			return n.Host(0).Joined() > joined || kind == AccidentStall && n.Len() > ledger
		})
		if c := counts[kind]; c.Injected == 0 || c.Felt != c.Injected || len(counts) != 1 {
			t.Errorf("%s: %v", kind, counts)
		}
	}
	waitFor(t, func() bool { return f.has(n.Len()) })
}

func TestAnAccidentThatNobodyFeelsIsNotCountedAsFelt(t *testing.T) {
	n := online(t, Options{Accounts: 1, Records: 10})
	dial(t, n.Host(0), "") // and does not come back
	waitFor(t, func() bool { return n.Host(0).Subscribers() == 1 })
	counts := sufferUntil(t, n, AccidentRST, time.Millisecond, func() bool { return n.Host(0).Subscribers() == 0 })
	if c := counts[AccidentRST]; c.Injected != 1 || c.Felt != 0 {
		t.Error(counts)
	}
}

// sufferUntil has accidents of one kind until a condition holds.
func sufferUntil(t *testing.T, n *Network, kind Accident, patience time.Duration, enough func() bool) (counts map[Accident]AccidentCount) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		counts, err = n.Accidents(ctx, AccidentOptions{
			Seed: n.opts.Seed, Kinds: []Accident{kind}, Every: time.Millisecond, Down: 20 * time.Millisecond, Patience: patience,
		})
		if err != nil {
			t.Error(err)
		}
	})
	waitFor(t, enough)
	stop()
	wg.Wait()
	return counts
}

func TestHostsSpeakTLSOnEveryAddress(t *testing.T) {
	n := online(t, Options{Hosts: 2, Accounts: 1, Records: 10, TLS: true, Listen: []string{"127.0.0.1", "127.0.0.2"}})
	step(t, n, 4)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(n.CA()) {
		t.Fatal("no certificate")
	}
	for i, h := range n.Hosts() {
		if want := fmt.Sprintf("https://127.0.0.%d:", i+1); !strings.HasPrefix(h.URL, want) || h.Name != strings.TrimPrefix(h.URL, "https://") {
			t.Errorf("host %d: %s, %s", i, h.URL, h.Name)
		}
		d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool}}
		c, _, err := d.Dial("wss"+strings.TrimPrefix(h.URL, "https")+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		if h.Seq() > 0 {
			read(t, c)
		}
		_ = c.Close()
	}
	if n := online(t, Options{}); n.CA() != nil {
		t.Error("a network without TLS has a CA")
	}
	if _, err := New(Options{TLS: true, Listen: []string{"localhost"}}); err == nil {
		t.Error("a name that is no address was taken")
	}
}
