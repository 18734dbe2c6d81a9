package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/internal/accounts"
)

// slowDialer hangs until its caller gives up, and keeps count.
type slowDialer struct {
	mu          sync.Mutex
	under, most int
	begun       int
	at          map[string]int // how many had begun before the first to a host did
}

func (d *slowDialer) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.under++
	d.most = max(d.most, d.under)
	host, _, _ := strings.Cut(addr, ":")
	if _, seen := d.at[host]; !seen {
		d.at[host] = d.begun
	}
	d.begun++
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.under--
	return nil, ctx.Err()
}

func (d *slowDialer) read(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func TestAStormOfHostsThatHangNeverHasMoreDialsUnderWayThanTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts = 3000
		d := &slowDialer{at: make(map[string]int)}
		m, err := New(Options{
			Log: &memLog{}, Resolver: believer{"x"}, Accounts: accounts.NewTable(accounts.Options{}),
			Dial: DialOptions{DialPublic: d.dial},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range hosts {
			if err := m.AddHost(fmt.Sprintf("h%d.example", i), false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		d.read(func() {
			if d.under != 64 || d.begun > 100 {
				t.Errorf("after a second %d dials are under way and %d have begun", d.under, d.begun)
			}
		})
		// Somebody who waits for an answer does not wait for all of them.
		asked := make(chan error)
		var before int
		d.read(func() { before = d.begun })
		go func() { asked <- m.TryHost(t.Context(), "asked.example", false) }()
		if err := <-asked; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the host that hangs: %v", err)
		}
		d.read(func() {
			if waited := d.at["asked.example"] - before; waited > 4 {
				t.Errorf("%d others were dialled before the one that was asked for", waited)
			}
		})
		time.Sleep(hosts / 64 * 15 * time.Second * 2)
		d.read(func() {
			if d.most != 64 || len(d.at) != hosts+1 {
				t.Errorf("at most %d dials were under way, want 64; %d hosts of %d were dialled", d.most, len(d.at), hosts+1)
			}
		})
		if got := len(m.Hosts()); got != hosts {
			t.Errorf("%d hosts are kept, want %d: not the one that did not answer", got, hosts)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if d.under != 0 {
			t.Errorf("%d dials are under way after the end", d.under)
		}
	})
}

func TestNewHostsAndThoseThatComeBackTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&DialOptions{AtOnce: 1, PerSecond: 1000})
		if err := g.enter(t.Context(), dialFirst); err != nil {
			t.Fatal(err)
		}
		var order []string
		enter := func(c dialClass, name string) {
			go func() {
				if err := g.enter(t.Context(), c); err != nil {
					t.Error(err)
				}
				order = append(order, name)
			}()
			synctest.Wait()
		}
		for i := range 4 {
			enter(dialAgain, fmt.Sprint("again", i))
		}
		enter(dialFirst, "first0")
		enter(dialFirst, "first1")
		enter(dialAsked, "asked0")
		for range 8 {
			g.leave()
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		got := strings.Join(order, " ")
		if got != "asked0 first0 again0 first1 again1 again2 again3" {
			t.Errorf("order %s", got)
		}
		if g.free != 1 {
			t.Errorf("%d places are free, want 1", g.free)
		}
	})
}

func TestDialsBeginAtAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&DialOptions{AtOnce: 1000, PerSecond: 100})
		began := time.Now()
		for range 301 {
			if err := g.enter(t.Context(), dialFirst); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 2990*time.Millisecond || d > 3010*time.Millisecond {
			t.Errorf("301 dials began within %v, want 3 s", d)
		}
	})
}

func TestWhoGivesUpWaitingToDialTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&DialOptions{AtOnce: 3, PerSecond: 1_000_000})
		var wg sync.WaitGroup
		var gaveUp sync.Map
		for i := range 2000 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(time.Second))
				defer cancel()
				if g.enter(ctx, dialClass(i%3)) != nil {
					gaveUp.Store(i, true)
					return
				}
				time.Sleep(rand.N(5 * time.Millisecond))
				g.leave()
			})
		}
		wg.Wait()
		n := 0
		gaveUp.Range(func(any, any) bool { n++; return true })
		waiting := 0
		for i := range g.waiting {
			waiting += g.waiting[i].Len()
		}
		if g.free != 3 || waiting != 0 || n == 0 || n == 2000 {
			t.Errorf("%d places free of 3, %d wait, %d gave up", g.free, waiting, n)
		}
	})
}
