package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestAnyCursorYieldsExactlyTheRestOfTheLogWhileEventsArrive(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 0))
	g := newRig(t, 4<<20, nil) // most of the log is in files alone
	const before, after, cursors = 50_000, 5_000, 200
	g.append(before, 60)
	g.waitFor(before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for g.next < before+after { // in small groups, so that commits and reads interleave
			g.append(1, 60)
			g.waitFor(g.next)
		}
	}()
	starts := make([]uint64, cursors)
	for i := range starts {
		starts[i] = uint64(rng.IntN(before + 1))
	}
	starts[0], starts[1] = 0, before
	var readers errgroup.Group
	readers.SetLimit(16)
	for _, cursor := range starts {
		readers.Go(func() error {
			c := g.dial(fmt.Sprintf("cursor=%d", cursor))
			defer c.conn.Close()
			if err := c.expect(g.from(cursor, before)); err != nil {
				return fmt.Errorf("cursor %d: %w", cursor, err)
			}
			<-done
			g.waitFor(before + after)
			if err := c.expect(g.from(max(cursor, before), before+after)); err != nil {
				return fmt.Errorf("cursor %d, live: %w", cursor, err)
			}
			return nil
		})
	}
	if err := readers.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestACursorGoesOnAcrossARestartWithNoGap(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	dir := t.TempDir()
	g.close()
	total := 0
	for range 4 { // each start begins a new file and an empty ring
		g.open(dir, 1<<20, nil)
		g.clean = false
		g.append(500, 60)
		total += 500
		g.waitFor(total)
		for _, cursor := range []uint64{0, 1, 499, 500, 501, 999, 1000, 1001, uint64(total) - 1} {
			if cursor >= uint64(total) {
				continue
			}
			c := g.dial(fmt.Sprintf("cursor=%d", cursor))
			if err := c.expect(g.from(cursor, total)); err != nil {
				t.Fatalf("cursor %d of %d: %v", cursor, total, err)
			}
			c.conn.Close()
		}
		g.close()
	}
}

// wireOf is what is written for a batch of which nothing is suppressed.
func wireOf(b Batch) (out []byte) {
	for _, frame := range b.All() {
		out = appendFrame(out, opBinary, frame)
	}
	return out
}

func TestAReaderThatIsLappedFallsBackToTheFilesAndReturns(t *testing.T) {
	g := newRig(t, 2<<20, nil)
	g.append(10, 100)
	g.waitFor(10)
	r := g.src.NewReader(0)
	defer r.Close()
	tiers := map[Tier]int{}
	var got int
	read := func() {
		b, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g.mu.Lock()
		start := 0
		if got > 0 {
			start = g.ends[got-1]
		}
		want := g.wire[start:g.ends[got+b.Len()-1]]
		g.mu.Unlock()
		if string(want) != string(wireOf(b)) {
			t.Fatalf("events %d to %d differ", got, got+b.Len())
		}
		got += b.Len()
		tiers[r.Tier()]++
	}
	read()
	for range 3 {
		g.append(9000, 1000) // about 9 MB: laps a ring of 2 MiB
		g.waitFor(g.next)
		for got < g.next {
			read()
		}
	}
	if tiers[Memory] == 0 || tiers[Disk] == 0 {
		t.Fatalf("batches by tier: %v", tiers)
	}
}
