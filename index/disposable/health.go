package disposable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

var (
	// ErrCorrupt says that a store is damaged on disk. It takes nothing more, and is
	// discarded at the next Open.
	ErrCorrupt = errors.New("damaged on disk")
	// ErrValue is what an owner returns from a walk when a value is not of the form
	// that it writes: the store is damaged then.
	ErrValue = errors.New("malformed value")

	errClosed = errors.New("closed")
)

// health is whether a store can be used.
type health struct {
	name string
	log  *slog.Logger
	fs   *patientFS
	died func() // called once, when dead is set by a failure

	opened    atomic.Bool // pebble.Open has returned
	abandoned atomic.Bool // Pebble must not be called any more, not even to close

	stuckOnce sync.Once
	stuck     chan struct{} // closed when Pebble's lock is held for ever: see pebbleLog.Fatalf

	mu       sync.Mutex
	flushErr error         // of the last flush, which may be none of disk
	failing  error         // why a flush failed; the next that succeeds clears it
	dead     error         // why nothing can be read or written any more
	ended    chan struct{} // closed when dead is set
	change   chan struct{} // closed when one of these is set
}

func newHealth(o *Options, fs *patientFS) *health {
	return &health{name: o.Name, log: o.Logger, fs: fs, change: make(chan struct{}), ended: make(chan struct{}), stuck: make(chan struct{})}
}

// changed returns a channel that is closed when Err may return something else.
func (h *health) changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.change
}

// tell wakes whom changed was given to. h.mu is held.
func (h *health) tell() {
	close(h.change)
	h.change = make(chan struct{})
}

// Err returns why the store takes nothing, nil when it does. A full disk passes;
// damage does not.
func (s *Store) Err() error {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead != nil {
		return h.dead
	}
	return h.failing
}

// Failed is closed when nothing can be read or written any more, by damage or by
// Close; Err says why. Open then makes a new one.
func (s *Store) Failed() <-chan struct{} { return s.health.ended }

// end is why nothing can be read any more, nil while it can.
func (h *health) end() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead
}

// check ends the use of the store when err is of damage, and passes it on.
func (h *health) check(err error) error {
	if err == nil || !pebble.IsCorruptionError(err) && !errors.Is(err, ErrValue) {
		return err
	}
	return h.kill(fmt.Errorf("%s: %w: %w", h.name, ErrCorrupt, err))
}

// kill ends the use of the store. The first reason stays.
func (h *health) kill(err error) error {
	if h.stop(err) {
		h.log.Error("the "+h.name+" can no longer be used; it is filled anew at the next start, and nothing else depends on it", "err", err)
		h.died()
	}
	return err
}

// stop sets why the store is at its end, and says whether that was open.
func (h *health) stop(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead != nil {
		return false
	}
	h.dead = err
	close(h.ended)
	h.tell()
	return true
}

// flushed is told when a flush ends. One of nothing ends with an error too.
func (h *health) flushed(info pebble.FlushInfo) {
	h.mu.Lock()
	was := h.failing
	h.flushErr = info.Err
	if info.Err == nil {
		h.failing = nil
	}
	h.mu.Unlock()
	if info.Err == nil && was != nil && h.end() == nil {
		h.log.Info("the "+h.name+" can be written again", "was", was)
	}
}

// background is told of the error of a flush or compaction, which Pebble tries again.
func (h *health) background(err error) {
	if errors.Is(err, pebble.ErrCancelledCompaction) {
		return
	}
	h.fs.hold(retryAfter)
	_ = h.check(err) // it is kept
	h.mu.Lock()
	first := h.failing == nil && h.dead == nil
	if err == h.flushErr { //nolint:errorlint // the same error, not one like it
		h.failing = err
		h.tell()
	}
	h.mu.Unlock()
	if first {
		h.log.Warn("the "+h.name+" cannot be written to disk; that is tried again", "err", err, "every", retryAfter)
	}
}

func (h *health) listener() *pebble.EventListener {
	return &pebble.EventListener{
		FlushEnd:        h.flushed,
		BackgroundError: h.background,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = h.kill(fmt.Errorf("%s: %w: %s: %w", h.name, ErrCorrupt, info.Path, info.Details)) // it is kept
		},
	}
}

// pebbleLog passes on what Pebble says. It does not end the process where Pebble
// would: a cache must not.
type pebbleLog struct{ h *health }

func (l pebbleLog) Infof(format string, args ...any) {
	if l.h.log.Enabled(context.Background(), slog.LevelDebug) {
		l.h.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.h.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called after a failure that Pebble does not come back from, such as a
// write of its manifest, and must not return then: Pebble's state is not sound any
// more. So the goroutine stays here, with the locks that it holds, and the store is
// left as it is until the process ends. While a store is being opened, returning is
// what lets Open return the error.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(l.h.name+": "+format, args...)
	if !l.h.opened.Load() {
		l.h.log.Debug("the "+l.h.name+" could not be opened", "err", err)
		return
	}
	l.h.abandoned.Store(true)
	_ = l.h.kill(err) // it is kept
	l.h.stuckOnce.Do(func() { close(l.h.stuck) })
	select {}
}

// retryAfter is how long Pebble waits before it flushes or compacts after a failure.
// By itself it tries again at once and for ever, which on a full disk is a busy loop.
const retryAfter = time.Second
