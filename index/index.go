package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// spoiledFile stands in the directory of an index that was found damaged.
const spoiledFile = "SPOILED"

// closeWithin bounds how long Close waits for the disk.
const closeWithin = 2 * time.Second

// Index is an open index. Its methods may be called from any goroutine; a Batch
// belongs to one.
type Index struct {
	opts      Options
	db        *pebble.DB
	lock      *pebble.Lock
	health    *health
	applied   atomic.Uint64
	files     sync.Mutex // held while segments and blocks change
	discarded string
}

// Open opens the index of a log, or makes an empty one where there is none that fits
// the log and can be read. Errors are of the directory itself: it is locked by
// another process or cannot be written.
func Open(opts Options) (*Index, error) {
	opts.EnsureDefaults()
	if opts.Dir == "" || opts.Stream == "" {
		return nil, errors.New("index: Dir and Stream must be set")
	}
	if err := opts.FS.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	lock, err := pebble.LockDirectory(opts.Dir, opts.FS)
	if err != nil {
		return nil, fmt.Errorf("index: lock %s: %w", opts.Dir, err)
	}
	x, reason := openKept(opts, lock)
	if reason != "" {
		if x, err = replace(opts, lock, reason); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return x, nil
}

// openKept opens what is there. A reason says why it cannot be kept.
func openKept(opts Options, lock *pebble.Lock) (x *Index, reason string) {
	if _, err := opts.FS.Stat(opts.FS.PathJoin(opts.Dir, spoiledFile)); err == nil {
		return nil, "it was found damaged"
	}
	x, err := open(opts, lock)
	if err != nil {
		return nil, err.Error()
	}
	m, err := x.readMeta()
	switch {
	case err != nil:
		reason = err.Error()
	case !m.found:
		empty := true
		if err = x.each(keys{}, func(_, _ []byte) error { empty = false; return errEnough }); err == nil && empty {
			err = x.initialise()
		}
		if err != nil {
			reason = err.Error()
		} else if !empty {
			reason = "it does not say what it is of"
		}
	default:
		reason = m.unfit(&opts)
	}
	if reason != "" {
		_ = x.db.Close() // it is deleted
		return nil, reason
	}
	x.applied.Store(m.applied)
	return x, ""
}

// replace empties the directory and makes a new index.
func replace(opts Options, lock *pebble.Lock, reason string) (*Index, error) {
	opts.Logger.Warn("the index is discarded and will be rebuilt from the log", "dir", opts.Dir, "because", reason)
	if err := empty(opts); err != nil {
		return nil, fmt.Errorf("index: discard %s: %w", opts.Dir, err)
	}
	x, again := openKept(opts, lock)
	if again != "" {
		return nil, fmt.Errorf("index: a new one in %s: %s", opts.Dir, again)
	}
	x.discarded = reason
	return x, nil
}

// empty deletes everything in the directory but the lock file, which is held. It is
// synced, so that what is deleted does not come back beside a new index.
func empty(opts Options) error {
	names, err := opts.FS.List(opts.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		if err := opts.FS.RemoveAll(opts.FS.PathJoin(opts.Dir, name)); err != nil {
			return err
		}
	}
	d, err := opts.FS.OpenDir(opts.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func open(opts Options, lock *pebble.Lock) (*Index, error) {
	h := &health{log: opts.Logger, closing: make(chan struct{}), spoil: func() { markSpoiled(opts) }}
	x := &Index{opts: opts, lock: lock, health: h}
	cache := pebble.NewCache(opts.CacheBytes)
	defer cache.Unref()
	var err error
	x.db, err = pebble.Open(opts.Dir, &pebble.Options{
		FS:                 opts.FS,
		Lock:               lock,
		Cache:              cache,
		MemTableSize:       opts.MemTableBytes,
		DisableWAL:         true, // the log is the write-ahead log
		FormatMajorVersion: pebble.FormatTableFormatV6,
		Merger:             merger,
		EventListener:      h.listener(),
		Logger:             pebbleLog{h},
		DisableTableStats:  true, // nothing here is deleted often enough for them to help
	})
	return x, err
}

// markSpoiled leaves word that the index is damaged. Where even that cannot be
// written, the next Open finds the damage itself.
func markSpoiled(opts Options) {
	f, err := opts.FS.Create(opts.FS.PathJoin(opts.Dir, spoiledFile), "unspecified")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		opts.Logger.Warn("the index's damage could not be marked", "dir", opts.Dir, "err", err)
	}
}

// Applied returns the watermark: the seq up to which the log is in the index.
func (x *Index) Applied() uint64 { return x.applied.Load() }

// Discarded says why what Open found was discarded, "" when it was kept or when
// there was nothing.
func (x *Index) Discarded() string { return x.discarded }

// Persist begins to write to disk what is only in memory, so that a crash from then
// on loses no more than what comes after. It does not wait.
func (x *Index) Persist() error {
	if err := x.Err(); err != nil {
		return err
	}
	_, err := x.db.AsyncFlush()
	return err
}

// Close writes what is in memory, within two seconds, and ends Pebble's work. Nothing
// of the Index may be in use any more.
func (x *Index) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	err := x.flush(ctx)
	close(x.health.closing)
	return errors.Join(err, x.db.Close(), x.lock.Close())
}

func (x *Index) flush(ctx context.Context) error {
	if err := x.Err(); err != nil {
		return err
	}
	done, err := x.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return x.Err()
	case <-ctx.Done():
		return fmt.Errorf("index: write what is in memory: %w", ctx.Err())
	}
}
