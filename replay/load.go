package replay

import (
	"errors"
	"io"
	"slices"
)

// load is the preparing of one block. Its fields are guarded by its Blocks.
type load struct {
	pos   uint64
	view  *view // nil while the file is not open
	index int   // of the block in view
	wakes []chan<- struct{}
	room  chan struct{} // closed when size bytes of the budget are its own
	size  int

	done bool
	run  *run // with a share for each of wakes
	err  error
	into *load // the load of the same block that began before
}

// load returns the load for a position, beginning one if there is none.
func (b *Blocks) load(pos uint64) *load {
	if l := b.opening[pos]; l != nil {
		return l
	}
	l := &load{pos: pos, room: make(chan struct{})}
	if v := b.viewAt(pos); v != nil {
		if other := b.assign(l, v); other != nil {
			return other
		}
	} else {
		b.opening[pos] = l
	}
	b.running.Go(func() {
		k, err := b.prepare(l)
		b.finish(l, k, err)
	})
	return l
}

// assign gives a load its block of an open file, unless another load has that: then it
// returns that one.
func (b *Blocks) assign(l *load, v *view) *load {
	i := v.Find(l.pos)
	_, through, _ := v.Block(i)
	if other := b.loads[through]; other != nil {
		return other
	}
	v.users++
	l.view, l.index = v, i
	b.loads[through] = l
	return nil
}

// last is the load that prepares the block of this one.
func (l *load) last() *load {
	for l.into != nil {
		l = l.into
	}
	return l
}

// take returns what a load came to: done is false while it has not ended. A reader takes
// its share once.
func (b *Blocks) take(l *load) (r *run, done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l = l.last()
	return l.run, l.done, l.err
}

// abandon gives up the share that a reader would have of a load.
func (b *Blocks) abandon(l *load, wake chan<- struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l = l.last()
	switch {
	case l.done && l.run != nil:
		l.run.release()
		b.admit()
	case !l.done:
		if i := slices.Index(l.wakes, wake); i >= 0 {
			l.wakes = slices.Delete(l.wakes, i, i+1)
		}
	}
}

// prepare makes the block of a load. A nil block without an error: another load makes it, or
// it was ready.
func (b *Blocks) prepare(l *load) (*block, error) {
	if l.view == nil {
		if joined, err := b.open(l); joined || err != nil {
			return nil, err
		}
	}
	_, through, raw := l.view.Block(l.index)
	l.size = roomFor(int(raw))
	if err := b.awaitRoom(l); err != nil {
		return nil, err
	}
	r, err := b.decode(l)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.giveBack(l.size)
		return nil, err
	}
	return &block{run: r, through: through, size: l.size}, nil
}

// open opens the file of a load, and says whether the load has nothing left to do.
func (b *Blocks) open(l *load) (joined bool, err error) {
	v, err := b.openView(l.pos)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.opening, l.pos)
	if err != nil {
		return false, err
	}
	v = b.share(v)
	if k := b.find(max(l.pos, v.After)); k != nil {
		b.end(l, k.run, nil)
		return true, nil
	}
	if other := b.assign(l, v); other != nil {
		other.wakes = append(other.wakes, l.wakes...)
		l.into = other
		return true, nil
	}
	return false, nil
}

// finish ends a load.
func (b *Blocks) finish(l *load, k *block, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.view != nil {
		_, through, _ := l.view.Block(l.index)
		delete(b.loads, through)
		b.doneWith(l.view)
	}
	switch {
	case err != nil:
		b.end(l, nil, err)
	case k != nil:
		b.put(k)
		b.end(l, k.run, nil)
		b.admit() // who waits for room must ask this block's holders for it too
	}
}

// end tells those who wait for a load.
func (b *Blocks) end(l *load, r *run, err error) {
	if errors.Is(err, io.EOF) {
		err = nil // there is nothing above the position yet: run stays nil
	}
	l.done, l.run, l.err = true, r, err
	for _, wake := range l.wakes {
		if r != nil {
			r.hold()
		}
		nudge(wake)
	}
}
