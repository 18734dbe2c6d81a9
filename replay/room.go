package replay

import "slices"

// roomFor is what a block of about raw bytes takes of the budget: buffers are of few
// sizes, so that they can be used again.
func roomFor(raw int) int {
	const step = 256 << 10
	return (raw + step - 1) / step * step
}

// awaitRoom waits until a load's size fits into the budget.
func (b *Blocks) awaitRoom(l *load) error {
	b.mu.Lock()
	b.waiting = append(b.waiting, l)
	b.admit()
	b.mu.Unlock()
	select {
	case <-l.room:
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// admit gives room to the loads that wait, the first ones first.
func (b *Blocks) admit() {
	for len(b.waiting) > 0 && b.makeRoom(b.waiting[0].size) {
		l := b.waiting[0]
		b.waiting = slices.Delete(b.waiting, 0, 1)
		b.bytes += l.size
		close(l.room)
	}
}

// makeRoom forgets blocks that nobody uses, the one that was used longest ago first, until
// size more bytes fit, and says whether they do. Who holds the others is asked to let go.
func (b *Blocks) makeRoom(size int) bool {
	for b.bytes+size > b.budget {
		oldest := -1
		for i, k := range b.ready {
			if k.refs.Load() == 1 && (oldest < 0 || k.used < b.ready[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			for _, k := range b.ready {
				k.dropped.Store(true)
			}
			return false
		}
		b.forget(oldest)
	}
	return true
}

// forget gives up a block of which only the cache has a share, and only the cache gives new
// ones.
func (b *Blocks) forget(i int) {
	k := b.ready[i]
	b.ready = slices.Delete(b.ready, i, i+1)
	k.refs.Store(0)
	b.bytes -= k.size
	b.keep(k.run)
}

func (b *Blocks) giveBack(size int) {
	b.bytes -= size
	b.admit()
}

// maxSpare is how many blocks' memory is kept for the next ones.
const maxSpare = 4

// room is the memory of a block.
type room struct {
	buf    []byte
	events []event
}

// keep keeps a block's memory to use it again.
func (b *Blocks) keep(r *run) {
	poison(r.buf)
	if len(b.spare) < maxSpare {
		b.spare = append(b.spare, room{r.buf, r.events})
	}
}

// space returns room for size bytes of frames.
func (b *Blocks) space(size int) room {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, m := range slices.Backward(b.spare) { // the newest is most likely in the processor's cache
		if len(m.buf) == size {
			b.spare = slices.Delete(b.spare, i, i+1)
			return m
		}
	}
	return room{buf: make([]byte, size)}
}
