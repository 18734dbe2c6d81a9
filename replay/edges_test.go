package replay

import (
	"errors"
	"io"
	"testing"
)

// Relays have lost events silently where a cursor was in their first file, at a file's last
// event, or in a file that was open at a restart. Here each file of each tier, and each block
// in it, is read from just before, at and behind its first and last event, before and after a
// restart.
func TestNoCursorAtTheEdgeOfAFileOrABlockSkipsAnything(t *testing.T) {
	w := newWorld(t, seed(t))
	for range 30 {
		w.append()
	}
	w.mu.Lock()
	for w.sealed < 3 {
		w.cond.Wait()
	}
	w.mu.Unlock()
	w.ship()
	w.evict()
	w.src.Blocks.budget = minBlockBytes
	tiers := map[Tier]bool{}
	for range 2 { // before a restart, and after it
		for _, after := range w.edges() {
			r := &watched{Reader: w.src.NewReader(after), pos: after, next: w.at(after)}
			for r.next < len(w.events) {
				w.check(r, w.get(r))
				tiers[r.Tier()] = true
			}
			r.Close()
		}
		w.append()
		w.restart()
	}
	if !tiers[Memory] || !tiers[Disk] && !tiers[Archive] {
		t.Errorf("only %v were read", tiers)
	}
}

// edges returns cursors around the first and the last event of every block of every file.
func (w *world) edges() (out []uint64) {
	w.t.Helper()
	for after := uint64(0); ; {
		v, err := w.src.Log.View(after)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range v.Blocks() {
			from, through, _ := v.Block(i)
			out = append(out, from, from+1, through-1, through)
		}
		after = v.Through
		v.Close()
	}
}
