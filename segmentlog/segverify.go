package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/transparency-dev/merkle/compact"
)

// VerifyOptions says how Verify goes about it. The zero value is usable.
type VerifyOptions struct {
	Workers  int               // blocks checked at once, default all processors
	Progress func(bytes int64) // told how much more of the file was checked, from one goroutine
	// Check makes a further check of every record; it is called once a worker. The
	// record is valid during the check only.
	Check func() func(*Record) error
}

// EnsureDefaults fills in what is not set.
func (o *VerifyOptions) EnsureDefaults() {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	if o.Check == nil {
		o.Check = func() func(*Record) error { return func(*Record) error { return nil } }
	}
}

// blockCheck is a block on its way through Verify.
type blockCheck struct {
	block int
	leaves
	err  error
	done chan struct{}
}

// segmentVerifier checks the blocks of a segment side by side and what they come
// to in order.
type segmentVerifier struct {
	s    *Segment
	o    VerifyOptions
	stop atomic.Bool // a block is bad: the ones after it do not matter

	tree *compact.Range
	sum  Footer // only what is counted
}

// Verify reads the whole file: the header, every block's SHA-256 and zstd
// checksum, every record's CRC and order, the leaves and the root, and what the
// footer counts. OpenSegment has checked the rest. The error is that of the first
// bad place; a *CorruptError unless it is of the reader or of ctx.
func (s *Segment) Verify(ctx context.Context, o VerifyOptions) error {
	o.EnsureDefaults()
	if err := s.CheckHeader(); err != nil {
		return err
	}
	v := segmentVerifier{s: s, o: o, tree: ranges.NewEmptyRange(s.footer.FirstLeaf)}
	v.sum.Kinds, v.sum.Collections = map[string]uint64{}, map[string]uint64{}
	o.Progress(s.footer.Header.Wire)
	if err := v.blocks(ctx); err != nil {
		return err
	}
	if err := v.compare(); err != nil {
		return s.corrupt(s.footer.wireEnd(), fmt.Errorf("%w: %w", errFooter, err))
	}
	o.Progress(s.size - s.footer.wireEnd())
	return nil
}

// blocks checks all blocks and takes them in order.
func (v *segmentVerifier) blocks(ctx context.Context) error {
	ahead := 2 * v.o.Workers
	jobs := make(chan *blockCheck, ahead)
	var workers sync.WaitGroup
	for range v.o.Workers {
		workers.Go(func() { v.work(jobs) })
	}
	defer workers.Wait()
	defer close(jobs)
	defer v.stop.Store(true)
	var queue []*blockCheck
	next, blocks := 0, v.s.footer.Blocks
	for next < len(blocks) || len(queue) > 0 {
		for ; next < len(blocks) && len(queue) < ahead; next++ {
			b := &blockCheck{block: next, done: make(chan struct{})}
			queue = append(queue, b)
			jobs <- b
		}
		b := queue[0]
		queue = queue[1:]
		<-b.done
		if b.err != nil {
			return b.err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.appendTo(v.tree); err != nil {
			return err
		}
		v.sum.tally(b.kinds, b.collections)
		v.o.Progress(blocks[b.block].Wire)
	}
	return nil
}

// work checks blocks until jobs is closed.
func (v *segmentVerifier) work(jobs <-chan *blockCheck) {
	check := v.o.Check()
	var buf BlockBuffer
	var scratch []byte
	for b := range jobs {
		if !v.stop.Load() {
			scratch, b.err = v.check(b, check, &buf, scratch)
		}
		close(b.done)
	}
}

func (v *segmentVerifier) check(b *blockCheck, check func(*Record) error, buf *BlockBuffer, scratch []byte) ([]byte, error) {
	raw, err := v.s.ReadBlock(b.block, buf)
	if err != nil {
		return scratch, err
	}
	b.reset()
	var p peeked
	var rec Record
	r := blockRecords{s: v.s, block: b.block, raw: raw}
	for {
		at, index := r, r.off
		if err := r.next(&rec); errors.Is(err, io.EOF) {
			return scratch, nil
		} else if err != nil {
			return scratch, err
		}
		if scratch, err = b.add(raw[index:r.off], scratch, &p); err == nil {
			err = check(&rec)
		}
		if err != nil {
			return scratch, at.wrong(rec.Seq, err)
		}
	}
}

// compare holds what was counted against the footer.
func (v *segmentVerifier) compare() error {
	f := v.s.footer
	own := v.tree.Hashes()
	if len(own) != len(f.Leaves) {
		return fmt.Errorf("tree: %d hashes over its leaves, the records give %d", len(f.Leaves), len(own))
	}
	for i := range own {
		if !bytes.Equal(own[i], f.Leaves[i]) {
			return fmt.Errorf("tree: hash %d over its leaves is %x, the records give %x", i, f.Leaves[i], own[i])
		}
	}
	if !maps.Equal(f.Kinds, v.sum.Kinds) {
		return fmt.Errorf("counts by kind are %v, the records give %v", f.Kinds, v.sum.Kinds)
	}
	if !maps.Equal(f.Collections, v.sum.Collections) {
		return errors.New("counts by collection are not what the records give")
	}
	return nil
}
