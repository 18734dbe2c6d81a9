package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

var (
	kills    = flag.Int("kills", 10, "how often TestKillNineLosesNothing kills the relay")
	killRate = flag.Float64("kill-rate", 2500, "events/s of its network")
)

func TestKillNineLosesNothingDoublesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 9))
	network, err := netsim.New(netsim.Options{Seed: rng.Uint64(), Hosts: 4, Accounts: 40, Records: 60, WallClock: true, DialectRate: 0.05, LieRate: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	p := buildProgram(t, network, "--log-level", "warn", "--segment-size", "1MiB", "--segment-age", "1s")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	live := []*listener{newListener(false), newListener(false), newListener(false)}
	for _, l := range live {
		running.Go(func() { l.follow(ctx, p.addr) })
	}
	traffic, quiet := context.WithCancel(ctx)
	running.Go(func() {
		if err := network.Run(traffic, *killRate); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	for i := range *kills {
		p.start()
		if i%2 == 0 { // somewhere in the start
			select {
			case <-time.After(time.Duration(rng.Int64N(int64(400 * time.Millisecond)))):
			case err := <-p.exit:
				t.Fatalf("round %d: the relay ended by itself: %v", i, err)
			}
		} else { // somewhere in the flow
			p.waitEvents(live[0], 100+rng.IntN(4000))
		}
		p.kill()
	}
	took := time.Since(began)
	p.start()
	p.waitHealthy()
	quiet()
	t.Logf("%d kills in %s, %d events sent by the network (%.0f/s)", *kills, took.Round(time.Millisecond), network.Len(), float64(network.Len())/took.Seconds())

	all := newListener(true)
	running.Go(func() { all.follow(ctx, p.addr) })
	p.waitAll(network, all)
	p.terminate() // drains: whatever is doubled is in the log now
	report := compare(network, all)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("served %d events, %d matched", report.Served, report.Matched)

	p.start() // and once more after a clean stop
	again := newListener(false)
	running.Go(func() { again.follow(ctx, p.addr) })
	p.until("serving all again", func() bool { return again.count() >= all.count() })
	p.terminate()
	cancel()
	running.Wait()
	for i, l := range append(live, all, again) {
		if l.err != nil {
			t.Errorf("consumer %d: %v", i, l.err)
		}
		if err := all.contains(l); err != nil {
			t.Errorf("consumer %d: %v", i, err)
		}
		if len(l.names) == 0 {
			t.Errorf("consumer %d saw nothing", i)
		}
	}
	for _, code := range all.closed {
		if code != 1012 {
			t.Errorf("closed with %d at a clean stop", code)
		}
	}
}

// waitEvents waits until the consumer has n more events.
func (p *program) waitEvents(l *listener, n int) {
	p.t.Helper()
	want := l.count() + n
	p.until("serving", func() bool { return l.count() >= want })
}

// waitAll waits until the relay has served all that it should have.
func (p *program) waitAll(network *netsim.Network, all *listener) {
	p.t.Helper()
	want := 0
	for _, e := range network.Ledger() {
		if e.Outcome == netsim.Accept {
			want++
		}
	}
	p.until("serving everything", func() bool { return all.count() >= want })
}

func compare(network *netsim.Network, all *listener) netsim.Report {
	c := netsim.NewComparison(network.Ledger())
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, f := range all.frames {
		c.Add(f)
	}
	return c.Report()
}
