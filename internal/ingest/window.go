package ingest

import (
	"cmp"
	"slices"
	"sync"
)

// window follows the upstream seqs of a host within one of its epochs: which of
// those that came are still undecided, and so up to where everything is decided.
//
// Only undecided events cost memory, so one account that waits for its identity
// does not stop the others however many of their events pass it.
type window struct {
	epoch uint64

	mu      sync.Mutex
	last    uint64 // highest seq that came, waiting or decided
	tickets uint64 // given out
	slots   []slot // by ticket; slots[0] waits, others may be decided and not yet compacted away
	done    int    // decided slots
}

type slot struct {
	ticket, seq uint64
	done        bool
}

func newWindow(epoch, floor uint64) *window { return &window{epoch: epoch, last: floor} }

// floor is the host's durable cursor: every seq up to it is in the log or decided
// against.
func (w *window) floor() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.slots) > 0 {
		return w.slots[0].seq - 1
	}
	return w.last
}

// cursor is where a new connection of this process begins: behind all that came,
// since what waits is in memory.
func (w *window) cursor() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// pass notes an event that was decided as it came. seq is above all before it.
func (w *window) pass(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = seq
}

// enter notes an event that waits, and returns a ticket to leave with. seq is above
// all before it.
func (w *window) enter(seq uint64) (ticket uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = seq
	w.tickets++
	w.slots = append(w.slots, slot{ticket: w.tickets, seq: seq})
	return w.tickets
}

// leave notes that an event which waited is in the log or decided against.
func (w *window) leave(ticket uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, found := slices.BinarySearchFunc(w.slots, ticket, func(s slot, t uint64) int { return cmp.Compare(s.ticket, t) })
	if !found || w.slots[i].done {
		return
	}
	w.slots[i].done = true
	w.done++
	if i > 0 && w.done <= len(w.slots)/2 {
		return
	}
	// Compact: the first slot, when there is one, must be undecided, and at most half
	// of the slots may be decided, so that this costs a constant a ticket on average.
	w.compact()
}

func (w *window) compact() {
	head := 0
	for head < len(w.slots) && w.slots[head].done {
		head++
	}
	w.slots = w.slots[head:]
	w.done -= head
	if w.done <= len(w.slots)/2 {
		return
	}
	kept := w.slots[:0]
	for _, s := range w.slots {
		if !s.done {
			kept = append(kept, s)
		}
	}
	w.slots, w.done = kept, 0
}
