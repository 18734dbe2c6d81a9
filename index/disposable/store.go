package disposable

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// SpoiledFile stands in the directory of a store that was found damaged.
const SpoiledFile = "SPOILED"

// Store is an open store. Its methods may be called from any goroutine.
type Store struct {
	opts      Options
	lock      *pebble.Lock
	health    *health
	discarded string

	writing   sync.Mutex      // held to commit and to flush
	unwritten int             // bytes committed since the last flush began
	flushing  <-chan struct{} // closed when that has ended, nil before the first

	// use is held to read by whoever uses db, and to write to close it. Pebble has no
	// end of trying to compact what is damaged, so a store that dies is closed soon.
	use      sync.RWMutex
	db       *pebble.DB
	buried   chan struct{} // closed when a store that died has been closed
	end      sync.Once
	endErr   error
	closing  sync.Once
	closeErr error
}

// Open opens a store, or makes an empty one where there is none that is accepted and
// can be read. Errors are of the directory itself: it is locked by another process,
// or cannot be written because the disk is full or not ours. What is in it is left
// alone then, and a caller may do without a store.
func Open(opts Options) (*Store, error) {
	opts.EnsureDefaults()
	if opts.Dir == "" || opts.Name == "" {
		return nil, errors.New("disposable store: Dir and Name must be set")
	}
	if err := opts.FS.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w", opts.Name, err)
	}
	lock, err := pebble.LockDirectory(opts.Dir, opts.FS)
	if err != nil {
		return nil, fmt.Errorf("%s: lock %s: %w", opts.Name, opts.Dir, err)
	}
	if err := probe(opts.FS, opts.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: write to %s: %w", opts.Name, opts.Dir, err), lock.Close())
	}
	s, reason := openKept(opts, lock)
	if reason != nil && !isEnvironment(reason) {
		if opts.SetAside != "" {
			opts.Logger.Warn("the "+opts.Name+" is set aside and begun anew", "dir", opts.Dir, "aside", opts.SetAside, "because", reason.Error())
		} else {
			opts.Logger.Warn("the "+opts.Name+" is discarded and will be filled anew", "dir", opts.Dir, "because", reason.Error())
		}
		if err := clearOut(opts); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: discard %s: %w", opts.Name, opts.Dir, err), lock.Close())
		}
		discarded := reason.Error()
		if s, reason = openKept(opts, lock); s != nil {
			s.discarded = discarded
		}
	}
	if reason != nil {
		return nil, errors.Join(fmt.Errorf("%s: open %s: %w", opts.Name, opts.Dir, reason), lock.Close())
	}
	return s, nil
}

// isEnvironment says whether an error tells of the machine and not of the store.
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
func openKept(opts Options, lock *pebble.Lock) (*Store, error) {
	if _, err := opts.FS.Stat(opts.FS.PathJoin(opts.Dir, SpoiledFile)); err == nil {
		return nil, errors.New("it was found damaged")
	}
	s, err := open(opts, lock)
	if err == nil {
		err = opts.Accept(s)
	}
	if err != nil {
		_ = s.endUse() // the reason says more
		s.burial()
		return nil, err
	}
	return s, nil
}

func open(opts Options, lock *pebble.Lock) (*Store, error) {
	fs := &patientFS{FS: opts.FS, closing: make(chan struct{})}
	s := &Store{opts: opts, lock: lock, buried: make(chan struct{}), health: newHealth(&opts, fs)}
	s.health.died = s.die
	cache := pebble.NewCache(opts.CacheBytes)
	defer cache.Unref()
	s.use.Lock()
	defer s.use.Unlock()
	var err error
	s.db, err = pebble.Open(opts.Dir, &pebble.Options{
		FS:           fs,
		Lock:         lock,
		Cache:        cache,
		MemTableSize: opts.MemTableBytes,
		Levels:       opts.Levels,
		DisableWAL:   true, // what it is a cache of is the write-ahead log
		// Writers never wait in Pebble, where nothing can wake them: see persist.
		MemTableStopWritesThreshold: 1 << 20,
		L0StopWritesThreshold:       1 << 20,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		Merger:                      opts.Merger,
		EventListener:               s.health.listener(),
		Logger:                      pebbleLog{s.health},
		DisableTableStats:           !opts.Deletes,
	})
	s.health.opened.Store(true)
	return s, err
}

// Discarded says why what Open found was discarded, "" when it was kept or when
// there was nothing.
func (s *Store) Discarded() string { return s.discarded }

// DB is Pebble itself, for what a Store does not wrap. It must not be used once the
// store died or was closed.
func (s *Store) DB() *pebble.DB { return s.db }
