package index

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cistern-archive/cistern/index/disposable"
)

// ErrCorrupt says that the index on disk is damaged. It takes nothing more, and is
// discarded at the next Open.
var ErrCorrupt = disposable.ErrCorrupt

// Index is an open index. Its methods may be called from any goroutine; a Batch
// belongs to one.
type Index struct {
	opts    Options
	store   *disposable.Store
	applied atomic.Uint64
	files   sync.Mutex // held while segments and blocks change
}

// Open opens the index of a log, or makes an empty one where there is none that fits
// the log and can be read. Errors are of the directory itself: it is locked by
// another process, or cannot be written because the disk is full or not ours. What is
// in it is left alone then, and a caller may do without an index.
func Open(opts Options) (*Index, error) {
	opts.EnsureDefaults()
	if opts.Dir == "" || opts.Stream == "" {
		return nil, errors.New("index: Dir and Stream must be set")
	}
	x := &Index{opts: opts}
	var err error
	x.store, err = disposable.Open(disposable.Options{
		Dir: opts.Dir, Name: "index", FS: opts.FS, Logger: opts.Logger,
		CacheBytes: opts.CacheBytes, MemTableBytes: opts.MemTableBytes, Merger: merger,
		Accept: x.accept,
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// accept reads what an index is of, and says why it cannot be kept. A new one it
// labels.
func (x *Index) accept(store *disposable.Store) error {
	x.store = store
	m, err := x.readMeta()
	if err != nil {
		return err
	}
	if m.found {
		x.applied.Store(m.applied)
		return m.fit(&x.opts)
	}
	x.applied.Store(0)
	err = x.each(keys{}, func(_, _ []byte) error { return errors.New("it does not say what it is of") })
	if err != nil {
		return err
	}
	return x.initialise(context.Background())
}

// Applied returns the watermark: the seq up to which the log is in the index.
func (x *Index) Applied() uint64 { return x.applied.Load() }

// Discarded says why what Open found was discarded, "" when it was kept or when
// there was nothing.
func (x *Index) Discarded() string { return x.store.Discarded() }

// Err returns why the index takes nothing, nil when it does. A full disk passes;
// damage does not.
func (x *Index) Err() error { return x.store.Err() }

// Failed is closed when nothing can be read or written any more, by damage or by
// Close; Err says why. Open then makes a new one.
func (x *Index) Failed() <-chan struct{} { return x.store.Failed() }

// Persist begins to write to disk what is only in memory, so that a crash from then
// on loses no more than what comes after. It waits for the last such write, if that
// still runs, but not for this one.
func (x *Index) Persist(ctx context.Context) error { return x.store.Persist(ctx) }

// Close writes what is in memory, within two seconds, and ends Pebble's work. It
// returns why the index died, if it did.
func (x *Index) Close() error { return x.store.Close() }
