package replay

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"
)

// watched is a reader, and how far it has come.
type watched struct {
	*Reader
	pos  uint64 // where it began
	next int    // the event that it must get next
	gets [tiers]int
	held Batch // a batch that is on its way, as to a slow socket
}

// join adds a reader anywhere, now and then where nothing is yet.
func (w *world) join() {
	pos := uint64(0)
	if n := len(w.events); n > 0 {
		pos = w.events[w.rng.IntN(n)].seq
	}
	if w.rng.IntN(10) == 0 {
		pos = 0 // most likely trimmed by now
	}
	if w.rng.IntN(10) == 0 {
		pos = w.src.Log.Tip() + uint64(w.rng.IntN(5))
	}
	w.readers = append(w.readers, &watched{Reader: w.src.NewReader(pos), pos: pos, next: w.at(pos)})
}

// leave takes one away, whatever it is waiting for.
func (w *world) leave() {
	i := w.rng.IntN(len(w.readers))
	w.readers[i].Close()
	w.readers = append(w.readers[:i], w.readers[i+1:]...)
}

// read lets a reader get a few batches.
func (w *world) read(r *watched) {
	for range 1 + w.rng.IntN(6) {
		if r.held.Len() > 0 {
			w.finish(r)
		}
		for r.next < len(w.events) && w.events[r.next].seq <= r.pos {
			r.next++ // it came after the reader had begun above it
		}
		if r.next >= len(w.events) {
			return
		}
		b := w.get(r)
		w.check(r, b)
		r.gets[r.Tier()]++
		w.did[r.Tier().String()]++
		if w.rng.IntN(4) == 0 { // it stays on its way for a while
			r.held = b
			return
		}
	}
}

// get waits for a reader's next batch. Whoever has what it waits for, and is asked for it,
// lets go, as a consumer's writer does after a second.
func (w *world) get(r *watched) Batch {
	for {
		b, err := r.Poll()
		var trimmed *TrimmedError
		switch {
		case errors.As(err, &trimmed):
			w.skip(r, trimmed)
			continue
		case err != nil:
			w.t.Fatal(err)
		case b.Len() > 0:
			return b
		}
		if r.Loading() && w.rng.IntN(20) == 0 {
			r.Idle() // it gives up what it waits for, and asks again
			w.did["gave up"]++
		}
		for _, other := range w.readers {
			if other.run != nil && other != r && other.run.dropped.Load() {
				w.did["asked"]++
				if other.held.Len() > 0 {
					other.held = other.detach(other.held)
				} else {
					other.Idle()
				}
			}
		}
		select {
		case <-r.Wake():
		case <-time.After(200 * time.Microsecond): // others may be asked meanwhile
		}
	}
}

// skip moves a reader on that was told that events were trimmed, if that is so.
func (w *world) skip(r *watched, e *TrimmedError) {
	if e.Through > w.stream.TrimmedThrough || w.events[r.next].seq > e.Through {
		w.t.Fatalf("%v, but %d comes next, and the log was trimmed through %d", e, w.events[r.next].seq, w.stream.TrimmedThrough)
	}
	r.next = w.at(e.Through)
	w.did["outdated"]++
}

// check holds a batch against the truth.
func (w *world) check(r *watched, b Batch) {
	for seq, frame := range b.All() {
		if r.next == len(w.events) {
			w.t.Fatalf("seq %d, which is not in the log", seq)
		}
		if e := w.events[r.next]; e.seq != seq || !bytes.Equal(e.frame, frame) {
			w.t.Fatalf("seq %d where %d must come, or another frame (tier %s)", seq, e.seq, r.Tier())
		}
		r.next++
	}
	w.checkWire(b)
}

// checkWire looks at what would be written: exactly the events that are not suppressed.
func (w *world) checkWire(b Batch) {
	spans, n := b.wire(nil, w.set, 0)
	var got, want []byte
	for _, s := range spans {
		got = append(got, b.run.buf[s.begin:s.end]...)
	}
	i := w.at(b.run.events[b.from].seq - 1)
	events := 0
	for range b.Len() {
		e := w.events[i]
		i++
		if w.inactive[e.did] && (e.kind == "#commit" || e.kind == "#sync") {
			w.did["skipped"]++
			continue
		}
		events++
		want = appendFrame(want, opBinary, e.frame)
	}
	if events != n || !bytes.Equal(got, want) {
		w.t.Fatalf("%d events are written of seq %d to %d, want %d, or others", n, b.run.events[b.from].seq, b.Last(), events)
	}
}

// finish ends a batch that was on its way: as much as was not written is as it was, though
// its memory may have been asked back, and what is suppressed by now is left out.
func (w *world) finish(r *watched) {
	b := r.held
	spans, _ := b.wire(nil, w.set, 0)
	total := 0
	for _, s := range spans {
		total += s.end - s.begin
	}
	if total > 0 {
		var done int
		b, done = b.after(spans, w.rng.IntN(total+1))
		if b.Len() > 0 && (b.run.dropped.Load() || w.rng.IntN(4) == 0) {
			w.did["detached"]++
			b = r.detach(b)
		}
		if b.Len() > 0 && done == 0 {
			w.checkWire(b)
		}
	}
	r.held = Batch{}
}

// step does something.
func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 22:
		w.append()
	case n < 27:
		w.status()
	case n < 30:
		w.ship()
	case n < 32:
		w.evict()
	case n < 33:
		if w.rng.IntN(3) == 0 {
			w.takeOver()
			w.did["take-over"]++
			return
		}
		w.restart()
		w.did["restart"]++
	case n < 34:
		w.trim()
	case n < 37 && len(w.readers) < 20:
		w.join()
	case n < 38 && len(w.readers) > 10:
		w.leave()
	case len(w.readers) > 0:
		w.read(w.readers[w.rng.IntN(len(w.readers))])
	}
}

// long is how much longer than in CI a test is to run.
func long(t *testing.T) int {
	v := os.Getenv("CISTERN_LONG")
	if v == "" {
		return 1
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryReaderGetsExactlyTheLogWhateverHappensToIt(t *testing.T) {
	w := newWorld(t, seed(t))
	for range 20 {
		w.join()
	}
	steps := 1000 * long(t)
	for i := range steps {
		switch i { // what is rare, at least once
		case steps / 4:
			w.evictSome()
		case steps / 3, steps * 2 / 3:
			w.append() // not shipped
			w.takeOver()
		case steps / 2:
			w.trim()
		}
		w.step()
	}
	for _, r := range w.readers { // everyone gets to the end
		for r.next < len(w.events) {
			w.read(r)
		}
		if r.held.Len() > 0 {
			w.finish(r)
		}
	}
	t.Logf("%d events, %d segments, %v", len(w.events), w.sealed, w.did)
	for _, what := range []string{"memory", "disk", "archive", "skipped", "detached", "evicted", "restart", "large", "asked", "lost", "trimmed", "outdated", "gave up"} {
		if w.did[what] == 0 {
			t.Errorf("no %s took part", what)
		}
	}
}
