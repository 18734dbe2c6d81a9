package index

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// errWatermark says that a batch would take the watermark back.
var errWatermark = errors.New("the watermark does not move on")

// Batch collects what a run of records changes. It is for one goroutine, and ends
// with Commit or Close.
type Batch struct {
	x   *Index
	b   *pebble.Batch
	err error // the first

	key, value []byte // room to build them in
}

// NewBatch returns an empty batch.
func (x *Index) NewBatch() *Batch {
	return &Batch{x: x, b: x.store.NewBatch(), key: make([]byte, 0, 256), value: make([]byte, 0, 512)}
}

// Bytes says how large the batch has grown.
func (b *Batch) Bytes() int { return b.b.Len() }

// set writes prefix+rest.
func (b *Batch) set(prefix []byte, rest string, value []byte) {
	b.note(b.b.Set(append(prefix, rest...), value, nil))
}

// merge writes an operand for prefix+rest.
func (b *Batch) merge(prefix []byte, rest string, operand []byte) {
	b.note(b.b.Merge(append(prefix, rest...), operand, nil))
}

func (b *Batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Commit makes the batch visible at once, with the seq up to which the index has
// applied the log after it. It is not synced; see Persist. It waits while too much is
// only in memory. An error means that nothing of the batch is in the index.
func (b *Batch) Commit(ctx context.Context, applied uint64) error {
	defer b.Close()
	if was := b.x.Applied(); applied <= was {
		return fmt.Errorf("index: commit at seq %d after %d: %w", applied, was, errWatermark)
	}
	b.number(metaApplied, applied)
	if err := b.commit(ctx); err != nil {
		return fmt.Errorf("index: commit: %w", err)
	}
	b.x.applied.Store(applied)
	return nil
}

// commit makes visible what does not come from the log's records.
func (b *Batch) commit(ctx context.Context) error {
	if b.err != nil {
		return b.err
	}
	return b.x.store.Commit(ctx, b.b)
}

// Close drops a batch that is not to be committed.
func (b *Batch) Close() {
	if b.b != nil {
		_ = b.b.Close() // it only gives back memory
		b.b = nil
	}
}
