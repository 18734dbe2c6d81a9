package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// maxViews is how many files stay open that no load uses. A file that was removed keeps
// its space while it is open.
const maxViews = 8

// view is an open file of the log.
type view struct {
	*segmentlog.View
	users int // loads; guarded by the Blocks
	used  uint64
}

// viewAt returns the open file with the first record above pos.
func (b *Blocks) viewAt(pos uint64) *view {
	for _, v := range b.views {
		if v.After <= pos && pos < v.Through {
			b.clock++
			v.used = b.clock
			return v
		}
	}
	return nil
}

// openView opens the file with the first record above pos, without the lock.
func (b *Blocks) openView(pos uint64) (*view, error) {
	if err := b.fetches.Acquire(b.ctx, 1); err != nil { // it may be in the archive
		return nil, err
	}
	defer b.fetches.Release(1)
	v, err := b.log.View(pos)
	if err != nil {
		return nil, err
	}
	return &view{View: v}, nil
}

// SeqAt is that of the log, whose times are of a microsecond: at t or after it. It may fetch
// from the archive: few do so at a time.
func (b *Blocks) SeqAt(ctx context.Context, t time.Time) (uint64, error) {
	if err := b.fetches.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer b.fetches.Release(1)
	return b.log.SeqAt(t.Add(time.Microsecond - 1).UnixMicro())
}

// share puts a file that was just opened among the others, or closes it when the same
// one is there.
func (b *Blocks) share(v *view) *view {
	b.clock++
	for _, have := range b.views {
		if have.After == v.After && have.Through == v.Through && have.Complete == v.Complete {
			v.Close()
			have.used = b.clock
			return have
		}
	}
	v.used = b.clock
	b.views = append(b.views, v)
	return v
}

func (b *Blocks) doneWith(v *view) {
	v.users--
	keep := maxViews
	if len(b.readers) == 0 {
		keep = 0
	}
	b.closeViews(keep)
}

// closeViews closes files that no load uses, those used longest ago first, until at most
// keep are open.
func (b *Blocks) closeViews(keep int) {
	for len(b.views) > keep {
		oldest := -1
		for i, v := range b.views {
			if v.users == 0 && (oldest < 0 || v.used < b.views[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		b.views[oldest].Close()
		b.views = slices.Delete(b.views, oldest, oldest+1)
	}
}

// decode reads the block of a load and puts its events behind each other.
func (b *Blocks) decode(l *load) (*run, error) {
	slots := b.decodes
	if l.view.Archived {
		slots = b.fetches
	}
	if err := slots.Acquire(b.ctx, 1); err != nil {
		return nil, err
	}
	defer slots.Release(1)
	after, _, _ := l.view.Block(l.index)
	scratch := b.takeScratch()
	defer b.giveScratch(scratch)
	space := b.space(l.size)
	r := &run{after: after, buf: space.buf, events: space.events, archived: l.view.Archived}
	r.refs.Store(1)
	for rec, err := range l.view.Records(l.index, scratch) {
		if err != nil {
			return nil, fmt.Errorf("after seq %d: %w", after, err)
		}
		r.add(rec.Seq, rec.DID, rec.Frame, 0)
	}
	r.publish()
	return r, nil
}

func (b *Blocks) takeScratch() *segmentlog.BlockBuffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.scratch); n > 0 {
		s := b.scratch[n-1]
		b.scratch = b.scratch[:n-1]
		return s
	}
	return &segmentlog.BlockBuffer{}
}

func (b *Blocks) giveScratch(s *segmentlog.BlockBuffer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.scratch) < maxSpare {
		b.scratch = append(b.scratch, s)
	}
}
