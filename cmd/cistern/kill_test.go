package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
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
	network := newNetwork(t, netsim.Options{Seed: rng.Uint64(), Hosts: 4, Accounts: 40, Records: 60, WallClock: true, DialectRate: 0.05, LieRate: 0.01})
	k := &killing{t: t, rng: rng, network: network, kills: *kills, rate: *killRate}
	k.run()
}

// The directory is slow and fails now and then, so that events of different accounts
// are decided out of order; accounts change their status and move between hosts all the
// while.
func TestKillNineWithEverythingInFlightLosesNothingDoublesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 10))
	network := newNetwork(t, netsim.Options{Seed: rng.Uint64(), Hosts: 8, Accounts: 25, Records: 40, WallClock: true, Churn: 0.15})
	faults := rand.New(rand.NewPCG(rng.Uint64(), 0))
	var mu sync.Mutex
	failed := 0
	network.PLC().SetFault(func(string) netsim.PLCFault {
		mu.Lock()
		defer mu.Unlock()
		if faults.IntN(20) == 0 {
			failed++
			return netsim.PLCFault{Status: http.StatusServiceUnavailable}
		}
		return netsim.PLCFault{Delay: time.Duration(faults.Int64N(int64(30 * time.Millisecond)))}
	})
	moved := map[string]string{} // DID to the host it left
	k := &killing{t: t, rng: rng, network: network, kills: max(1, *kills/2), rate: *killRate / 3}
	k.each = func() {
		for range 5 {
			from, to := network.Host(rng.IntN(8)), network.Host(rng.IntN(8))
			if from == to {
				continue
			}
			a, err := network.CreateAccount(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := network.Migrate(a, to); err != nil {
				t.Fatal(err)
			}
			moved[a.DID] = from.Name
		}
	}
	// What its old host said of an account, and the relay read after the move, is dropped.
	k.mayMiss = func(e netsim.Entry) bool { return moved[e.DID] == e.Host }
	k.run()
	mu.Lock()
	defer mu.Unlock()
	if failed == 0 || len(moved) == 0 {
		t.Errorf("%d failures of the directory and %d moves: nothing was in flight", failed, len(moved))
	}
	t.Logf("%d failures of the directory, %d moves", failed, len(moved))
}

func newNetwork(t *testing.T, o netsim.Options) *netsim.Network {
	t.Helper()
	network, err := netsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return network
}

// killing is a relay that is killed again and again while its network goes on.
type killing struct {
	t       *testing.T
	rng     *rand.Rand
	network *netsim.Network
	kills   int
	rate    float64                 // events/s
	each    func()                  // called before each kill; nil for nothing
	mayMiss func(netsim.Entry) bool // accepted events that the relay may never see; nil for none
}

func (k *killing) run() {
	t := k.t
	p := buildProgram(t, k.network, "--log-level", "warn", "--segment-size", "1MiB", "--segment-age", "1s")
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
		if err := k.network.Run(traffic, k.rate); err != nil {
			t.Error(err)
		}
	})
	k.killAll(p, live[0])
	p.start()
	p.waitHealthy()
	quiet()

	all := newListener(true)
	running.Go(func() { all.follow(ctx, p.addr) })
	k.waitServed(p, all)
	p.terminate() // drains: whatever is doubled is in the log now

	p.start() // and once more after a clean stop, when nobody leaves any more
	again := newListener(true)
	running.Go(func() { again.follow(ctx, p.addr) })
	p.until("serving all again", func() bool { return again.end() >= all.end() })
	p.terminate()
	report := again.compared(k.network)
	report.Missing = k.expected(report.Missing)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("served %d events, %d matched", report.Served, report.Matched)
	cancel()
	running.Wait()
	sawTheSame(t, again, append(live, all, again))
}

// killAll kills the relay as often as it should be, in the start and in the flow.
func (k *killing) killAll(p *program, live *listener) {
	began := time.Now()
	for i := range k.kills {
		p.start()
		if k.each != nil {
			k.each()
		}
		if i%2 == 0 { // somewhere in the start
			select {
			case <-time.After(time.Duration(k.rng.Int64N(int64(400 * time.Millisecond)))):
			case err := <-p.exit:
				k.t.Fatalf("round %d: the relay ended by itself: %v", i, err)
			}
		} else { // somewhere in the flow
			p.waitEvents(live, 100+k.rng.IntN(4000))
		}
		p.kill()
	}
	took := time.Since(began)
	k.t.Logf("%d kills in %s, %d events sent by the network (%.0f/s)", k.kills, took.Round(time.Millisecond), k.network.Len(), float64(k.network.Len())/took.Seconds())
}

// expected is entries without those that the relay may never see.
func (k *killing) expected(entries []netsim.Entry) []netsim.Entry {
	if k.mayMiss == nil {
		return entries
	}
	return slices.DeleteFunc(entries, k.mayMiss)
}

// waitServed waits until the consumer, which reads while accounts may still leave, has
// all that the network sent and that such a consumer gets for certain.
func (k *killing) waitServed(p *program, l *listener) {
	k.t.Helper()
	seen := 0
	p.until("serving everything", func() bool {
		n := l.count()
		if n == seen {
			return false
		}
		seen = n
		return len(k.expected(l.pending(k.network))) == 0
	})
}

// sawTheSame wants everything that consumers saw to be in the log, and closes at clean
// stops to say so.
func sawTheSame(t *testing.T, all *listener, consumers []*listener) {
	t.Helper()
	for i, l := range consumers {
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
