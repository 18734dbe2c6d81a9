package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// The relay and the mirror behind it are killed in turn while events flow: the mirror
// has the relay's events under the relay's numbers, each once. Nobody
// leaves, since what an account that left did just before would be withheld from a mirror
// that is behind.
func TestKillNineOfAMirrorAndOfItsRelayLosesNothingAndMovesNoNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 11))
	network := newNetwork(t, netsim.Options{Seed: rng.Uint64(), Hosts: 4, Accounts: 40, Records: 60, WallClock: true, Churn: 0.05, Settled: true})
	relay := buildProgram(t, network, "--log-level", "warn", "--segment-size", "1MiB", "--segment-age", "1s")
	mirror := relay.follower("--log-level", "warn", "--segment-size", "1MiB", "--segment-age", "1s")
	relay.start()
	relay.waitHealthy()

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	live := newListener(false)
	running.Go(func() { live.follow(ctx, mirror.addr) })
	traffic, quiet := context.WithCancel(ctx)
	running.Go(func() {
		if err := network.Run(traffic, *killRate/2); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for i := range *kills {
		mirror.start()
		if i%2 == 0 { // somewhere in the start
			select {
			case <-time.After(time.Duration(rng.Int64N(int64(400 * time.Millisecond)))):
			case err := <-mirror.exit:
				t.Fatalf("round %d: the mirror ended by itself: %v", i, err)
			}
		} else { // somewhere in the flow
			mirror.waitEvents(live, 100+rng.IntN(2000))
		}
		if i%2 == 1 { // the relay, too, half as often
			relay.kill()
			relay.start()
		}
		mirror.kill()
	}
	mirror.start()
	mirror.waitHealthy()
	mirror.waitEvents(live, 100)
	quiet()

	of, here := newListener(true), newListener(false)
	running.Go(func() { of.follow(ctx, relay.addr) })
	running.Go(func() { here.follow(ctx, mirror.addr) })
	k := killing{t: t, network: network}
	k.waitServed(relay, of)
	mirror.until("as far as its relay", func() bool { return here.count() >= of.count() })
	mirror.terminate()
	relay.terminate()
	cancel()
	running.Wait()
	if of.err != nil || here.err != nil || live.err != nil {
		t.Error(of.err, here.err, live.err)
	}
	if err := of.contains(here); err != nil {
		t.Errorf("the mirror has what its relay has not: %v", err)
	}
	if n := len(of.compared(network).Missing); n > 0 {
		t.Errorf("the relay misses %d events", n)
	}
	if err := here.contains(of); err != nil {
		t.Errorf("the mirror misses what its relay has: %v", err)
	}
	if err := here.contains(live); err != nil {
		t.Errorf("a consumer of the mirror saw something else: %v", err)
	}
	t.Logf("%d events at both after %d kills", here.count(), *kills)
}
