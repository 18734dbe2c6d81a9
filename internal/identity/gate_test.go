package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flood sends n requests of a class to a gate and notes when they are let through.
type flood struct {
	mu      sync.Mutex
	through map[class][]time.Time
	wg      sync.WaitGroup
}

func (f *flood) send(ctx context.Context, g *gate, c class, n int) {
	for range n {
		f.wg.Go(func() {
			if g.enter(ctx, newTicket(c)) != nil {
				return
			}
			f.mu.Lock()
			f.through[c] = append(f.through[c], time.Now())
			f.mu.Unlock()
			g.leave()
		})
	}
}

func runGate(t *testing.T, perSecond float64, concurrent int) (*gate, func()) {
	t.Helper()
	g := newGate(new(sync.Mutex), perSecond, concurrent)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.run(ctx) })
	return g, func() {
		cancel()
		wg.Wait()
	}
}

func TestADirectoryGetsNoMoreRequestsASecondThanItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := runGate(t, 10, 64)
		defer stop()
		f := flood{through: make(map[class][]time.Time)}
		begin := time.Now()
		f.send(t.Context(), g, forLookup, 100)
		f.wg.Wait()
		if took := time.Since(begin); took < 8900*time.Millisecond || took > 9200*time.Millisecond {
			t.Errorf("100 requests at 10 a second, the first 10 at once, took %v", took)
		}
	})
}

func TestNoClassOfRequestsStarvesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := runGate(t, 70, 64)
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		f := flood{through: make(map[class][]time.Time)}
		for c := range classes {
			f.send(ctx, g, c, 2000)
		}
		time.Sleep(11 * time.Second)
		cancel()
		f.wg.Wait()
		total := 0
		for c, share := range shares {
			n := len(f.through[class(c)])
			total += n
			if want := 70 * 11 * share / 7; n < want*9/10 {
				t.Errorf("class %d got %d requests through, want about %d", c, n, want)
			}
		}
		if total < 11*70 || total > 13*70 {
			t.Errorf("%d in 11 s at 70 a second", total)
		}
	})
}

func TestALookupDoesNotWaitBehindAFloodOfRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := runGate(t, 10, 64)
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		f := flood{through: make(map[class][]time.Time)}
		f.send(ctx, g, forRefresh, 5000)
		f.send(ctx, g, forNobody, 5000)
		synctest.Wait()
		begin := time.Now()
		f.send(ctx, g, forLookup, 1)
		time.Sleep(time.Second)
		f.mu.Lock()
		n := len(f.through[forLookup])
		f.mu.Unlock()
		if n != 1 {
			t.Errorf("the lookup still waits after %v", time.Since(begin))
		}
		cancel()
		f.wg.Wait()
	})
}

func TestARequestThatSomeoneUrgentJoinsIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := runGate(t, 1, 1)
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		f := flood{through: make(map[class][]time.Time)}
		f.send(ctx, g, forNobody, 1000)
		synctest.Wait()
		mine := newTicket(forNobody)
		done := make(chan error)
		go func() { done <- g.enter(ctx, mine) }()
		synctest.Wait()
		if !mine.raise(g.mu, forLookup) {
			t.Error("it is said to be sent already")
		}
		begin := time.Now()
		if err := <-done; err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("%v, after %v", err, time.Since(begin))
		}
		if mine.raise(g.mu, forLookup) {
			t.Error("it is said not to be sent yet")
		}
		g.leave()
		cancel()
		f.wg.Wait()
	})
}

func TestWhoGoesAwayLeavesTheGateAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, stop := runGate(t, 0, 2)
		defer stop()
		for range 2 { // all that may be on their way
			if err := g.enter(t.Context(), newTicket(forLookup)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		var wg sync.WaitGroup
		for c := range classes {
			wg.Go(func() {
				if err := g.enter(ctx, newTicket(c)); !errors.Is(err, cause) {
					t.Errorf("%v, want that the caller went away", err)
				}
			})
		}
		synctest.Wait()
		cancel(cause)
		wg.Wait()
		if g.len != 0 || g.waiting() != [classes]int{} {
			t.Errorf("%d still wait: %v", g.len, g.waiting())
		}
		g.leave()
		g.leave()
		for range 2 {
			if err := g.enter(t.Context(), newTicket(forRefresh)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestTheRequestsThatWaitAreBounded(t *testing.T) {
	g := newGate(new(sync.Mutex), 0, 1) // nobody runs it
	g.len = maxWaiting
	if err := g.enter(context.Background(), newTicket(forLookup)); !errors.Is(err, errCrowded) {
		t.Errorf("%v, want errCrowded", err)
	}
	f := flights[Identity]{gates: g.mu, m: make(map[string]*flight[Identity])}
	for i := range maxFlights {
		f.m[fmt.Sprint(i)] = newFlight[Identity](someDID, forLookup)
	}
	if _, err := f.join(someDID, forLookup, false); !errors.Is(err, errCrowded) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want errCrowded", err)
	}
}

func TestARefreshSharesARequestThatWasNotSentYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.set("plc.example", func(path string) answer { return doc(docOf(t, path[1:], "pds.example")) })
		r := wired(t, w, func(o *Options) { o.PLCRate = 1 }, "https://plc.example")
		var wg sync.WaitGroup
		for i := range 5 { // others wait before it
			wg.Go(func() { _, _ = r.Lookup(t.Context(), plcDID(i)) })
		}
		synctest.Wait()
		for _, ask := range []func(context.Context, string) (Identity, error){r.Lookup, r.Refresh, r.Refresh} {
			wg.Go(func() {
				if _, err := ask(t.Context(), someDID); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if n := w.count("plc.example"); n != 6 {
			t.Errorf("%d requests, want 6", n)
		}
	})
}
