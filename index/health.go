package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// ErrCorrupt says that the index on disk is damaged. It is discarded at the next
// Open; until then it takes nothing more.
var ErrCorrupt = errors.New("index: damaged on disk")

// retryAfter is how long a flush or compaction that failed waits. Pebble would try
// again at once and for ever: on a full disk that is a busy loop.
const retryAfter = time.Second

// health is whether the index can be used.
type health struct {
	log     *slog.Logger
	closing chan struct{} // closed when Close begins
	spoil   func()        // marks the directory so that the next Open discards it

	mu      sync.Mutex
	failing error // why work in the background fails at the moment
	dead    error // why nothing can be written any more
}

// Err returns why the index takes nothing, nil when it does. A full disk passes;
// damage does not.
func (x *Index) Err() error { return x.health.err() }

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead != nil {
		return h.dead
	}
	return h.failing
}

// read notes damage that reading found, and passes the error on.
func (h *health) read(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, errValue) {
		return h.kill(fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	return err
}

// kill ends the use of the index. The first reason stays.
func (h *health) kill(err error) error {
	h.mu.Lock()
	first := h.dead == nil
	if first {
		h.dead = err
	}
	h.mu.Unlock()
	if first {
		h.spoil()
		h.log.Error("the index can no longer be used; it is rebuilt at the next start, and nothing else depends on it", "err", err)
	}
	return err
}

// background is told of each failed flush or compaction, on Pebble's goroutine and
// under its lock, which holds the next attempt back too.
func (h *health) background(err error) {
	if errors.Is(err, pebble.ErrCancelledCompaction) {
		return
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, errValue) {
		_ = h.kill(fmt.Errorf("%w: %w", ErrCorrupt, err)) // it is kept
	} else if h.fail(err) {
		h.log.Warn("the index cannot be written; it is tried again", "err", err, "every", retryAfter)
	}
	timer := time.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.closing:
	}
}

// fail notes a failure and says whether it is a new one.
func (h *health) fail(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.failing == nil && h.dead == nil
	h.failing = err
	return first
}

// flushed is told when a flush ends.
func (h *health) flushed(info pebble.FlushInfo) {
	if info.Err != nil {
		return
	}
	h.mu.Lock()
	was := h.failing
	h.failing = nil
	dead := h.dead != nil
	h.mu.Unlock()
	if was != nil && !dead {
		h.log.Info("the index can be written again", "was", was)
	}
}

func (h *health) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: h.background,
		FlushEnd:        h.flushed,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = h.kill(fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, info.Details)) // it is kept
		},
	}
}

// pebbleLog passes on what Pebble says. It ends the process where Pebble would: a
// cache must not.
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
// write of its manifest. It returns: what follows fails too, and nothing is written
// any more.
func (l pebbleLog) Fatalf(format string, args ...any) {
	_ = l.h.kill(fmt.Errorf("index: "+format, args...)) // it is kept
}
