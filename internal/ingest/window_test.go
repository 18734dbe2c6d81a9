package ingest

import (
	"math/rand/v2"
	"testing"
)

// The model keeps every seq; the window must give the same floor.
func TestFloorIsNeverAboveAnUndecidedEvent(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWindow(0, 10)
	type waiting struct{ seq, ticket uint64 }
	var undecided []waiting
	seq := uint64(10)
	for range 20_000 {
		switch p := rng.IntN(10); {
		case p < 3:
			seq += 1 + rng.Uint64N(3)
			w.pass(seq)
		case p < 6:
			seq += 1 + rng.Uint64N(3)
			undecided = append(undecided, waiting{seq, w.enter(seq)})
		case len(undecided) > 0:
			i := rng.IntN(len(undecided))
			w.leave(undecided[i].ticket)
			undecided = append(undecided[:i], undecided[i+1:]...)
		}
		want := seq
		if len(undecided) > 0 {
			want = undecided[0].seq - 1
		}
		if got := w.floor(); got != want {
			t.Fatalf("floor is %d, want %d with %d undecided", got, want, len(undecided))
		}
		if got := w.cursor(); got != seq {
			t.Fatalf("cursor is %d, want %d", got, seq)
		}
		if len(w.slots) > 2*len(undecided)+1 {
			t.Fatalf("%d slots for %d undecided events", len(w.slots), len(undecided))
		}
	}
}

func TestOneWaitingEventHoldsTheFloorAndNoMemory(t *testing.T) {
	w := newWindow(0, 0)
	first := w.enter(1)
	for seq := uint64(2); seq < 100_000; seq++ {
		if seq%2 == 0 {
			w.pass(seq)
		} else {
			w.leave(w.enter(seq))
		}
	}
	if w.floor() != 0 || len(w.slots) > 3 {
		t.Fatalf("floor %d with %d slots, want 0 with a few", w.floor(), len(w.slots))
	}
	w.leave(first)
	if w.floor() != 99_999 || len(w.slots) != 0 {
		t.Fatalf("floor %d with %d slots after the last left", w.floor(), len(w.slots))
	}
}
