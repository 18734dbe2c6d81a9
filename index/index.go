package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
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
	lock      *pebble.Lock
	health    *health
	applied   atomic.Uint64
	files     sync.Mutex // held while segments and blocks change
	discarded string

	writing   sync.Mutex      // held to commit and to flush
	unwritten int             // bytes committed since the last flush began
	flushing  <-chan struct{} // closed when that has ended, nil before the first

	// use is held to read by whoever uses db, and to write to close it. Pebble has no
	// end of trying to compact what is damaged, so an index that dies is closed soon.
	use    sync.RWMutex
	db     *pebble.DB
	buried chan struct{} // closed when an index that died has been closed
	end    sync.Once
	endErr error
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
	if err := opts.FS.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	lock, err := pebble.LockDirectory(opts.Dir, opts.FS)
	if err != nil {
		return nil, fmt.Errorf("index: lock %s: %w", opts.Dir, err)
	}
	if err := probe(opts.FS, opts.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("index: write to %s: %w", opts.Dir, err), lock.Close())
	}
	x, reason := openKept(opts, lock)
	if reason != nil && !isEnvironment(reason) {
		opts.Logger.Warn("the index is discarded and will be rebuilt from the log", "dir", opts.Dir, "because", reason)
		if err := empty(opts); err != nil {
			return nil, errors.Join(fmt.Errorf("index: discard %s: %w", opts.Dir, err), lock.Close())
		}
		discarded := reason.Error()
		if x, reason = openKept(opts, lock); x != nil {
			x.discarded = discarded
		}
	}
	if reason != nil {
		return nil, errors.Join(fmt.Errorf("index: open %s: %w", opts.Dir, reason), lock.Close())
	}
	return x, nil
}

// isEnvironment says whether an error tells of the machine and not of the index.
func isEnvironment(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openKept opens what is there. The error says why it cannot be kept.
func openKept(opts Options, lock *pebble.Lock) (*Index, error) {
	if _, err := opts.FS.Stat(opts.FS.PathJoin(opts.Dir, spoiledFile)); err == nil {
		return nil, errors.New("it was found damaged")
	}
	x, err := open(opts, lock)
	if err != nil {
		return nil, err
	}
	if err := x.check(); err != nil {
		_ = x.endUse() // the reason says more
		x.burial()
		return nil, err
	}
	return x, nil
}

// check reads what the index is of, and says why it cannot be kept. A new one it
// labels.
func (x *Index) check() error {
	m, err := x.readMeta()
	if err != nil {
		return err
	}
	if m.found {
		x.applied.Store(m.applied)
		return m.fit(&x.opts)
	}
	err = x.each(keys{}, func(_, _ []byte) error { return errors.New("it does not say what it is of") })
	if err != nil {
		return err
	}
	return x.initialise(context.Background())
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
	fs := &patientFS{FS: opts.FS, closing: make(chan struct{})}
	x := &Index{opts: opts, lock: lock, buried: make(chan struct{}), health: &health{log: opts.Logger, fs: fs, change: make(chan struct{})}}
	x.health.died = x.die
	cache := pebble.NewCache(opts.CacheBytes)
	defer cache.Unref()
	x.use.Lock()
	defer x.use.Unlock()
	var err error
	x.db, err = pebble.Open(opts.Dir, &pebble.Options{
		FS:           fs,
		Lock:         lock,
		Cache:        cache,
		MemTableSize: opts.MemTableBytes,
		DisableWAL:   true, // the log is the write-ahead log
		// Writers never wait in Pebble, where nothing can wake them: see persist.
		MemTableStopWritesThreshold: 1 << 20,
		L0StopWritesThreshold:       1 << 20,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		Merger:                      merger,
		EventListener:               x.health.listener(),
		Logger:                      pebbleLog{x.health},
		DisableTableStats:           true, // nothing here is deleted often enough for them to help
	})
	x.health.opened.Store(true)
	return x, err
}

// die marks a dead index and closes it, once nobody uses it. It does not wait: it is
// called from within Pebble.
func (x *Index) die() {
	go func() {
		defer close(x.buried)
		markSpoiled(x.opts)
		if err := x.endUse(); err != nil {
			x.opts.Logger.Debug("the dead index was closed", "err", err)
		}
	}()
}

// burial waits for die, if the index died; its use has ended.
func (x *Index) burial() {
	if !errors.Is(x.health.end(), errClosed) {
		<-x.buried
	}
}

// endUse closes Pebble, once.
func (x *Index) endUse() error {
	x.health.stop(errClosed)
	x.end.Do(func() {
		close(x.health.fs.closing)
		if x.db == nil || x.health.abandoned.Load() {
			return
		}
		closed := make(chan error, 1)
		go func() { // it outlives the wait only when Pebble hangs
			x.use.Lock()
			defer x.use.Unlock()
			closed <- x.db.Close()
		}()
		timer := time.NewTimer(closeWithin)
		defer timer.Stop()
		select {
		case x.endErr = <-closed:
		case <-timer.C:
			x.health.abandoned.Store(true)
			x.endErr = errors.New("index: the store does not close; it is left as it is")
		}
	})
	return x.endErr
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
// on loses no more than what comes after. It waits for the last such write, if that
// still runs, but not for this one.
func (x *Index) Persist(ctx context.Context) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.unwritten == 0 {
		return x.Err()
	}
	return x.persist(ctx)
}

// persist flushes. Only one flush waits for the disk at a time, which bounds what is
// in memory; Pebble's own stalls could not be interrupted and are out of reach.
func (x *Index) persist(ctx context.Context) error {
	if err := x.settled(ctx); err != nil {
		return err
	}
	x.use.RLock()
	defer x.use.RUnlock()
	if err := x.Err(); err != nil {
		return err
	}
	done, err := x.db.AsyncFlush()
	if err == nil {
		x.flushing, x.unwritten = done, 0
	}
	return err
}

// settled waits for the flush that runs. A failure of it is an error at once.
func (x *Index) settled(ctx context.Context) error {
	if x.flushing == nil {
		return nil
	}
	for {
		changed := x.health.changed()
		if err := x.Err(); err != nil {
			return err
		}
		select {
		case <-x.flushing:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close writes what is in memory, within two seconds, and ends Pebble's work. It
// returns why the index died, if it did.
func (x *Index) Close() error {
	err := x.flush()
	err = errors.Join(err, x.endUse())
	x.burial()
	if x.health.abandoned.Load() {
		return err // the lock goes with the process
	}
	return errors.Join(err, x.lock.Close())
}

func (x *Index) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	err := x.Persist(ctx)
	if err == nil {
		x.writing.Lock()
		defer x.writing.Unlock()
		err = x.settled(ctx)
	}
	if err != nil {
		return fmt.Errorf("index: write what is in memory: %w", err)
	}
	return nil
}
