package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Bounds of the pause before a part is tried again, which is any time up to min(maxPause,
// basePause·2ⁿ).
const (
	basePause = 100 * time.Millisecond
	maxPause  = 5 * time.Second
)

// flight reads one part from the bucket for all who want it. Its turn in the line covers
// its buffer: both are given back when nobody needs the buffer any more. The cache's
// mutex guards what is below turn.
type flight struct {
	id     partID
	bytes  int64
	cancel context.CancelFunc
	done   chan struct{} // closed when loaded or err is set
	turn   turn

	readers   int       // who wait or copy
	by        *handle   // who had it read ahead; nil: it ends when nobody waits
	failing   time.Time // since when; zero for not
	loaded    bool      // buf holds the part
	working   bool      // the flight's own goroutine may use buf
	forgotten bool      // not to be cached
	buf       []byte
	err       error
}

// start begins a flight; by is who reads ahead, nil for a reader. mu is held.
func (f *Fetcher) start(id partID, by *handle) *flight {
	ctx, cancel := context.WithCancel(f.ctx)
	fl := &flight{
		id: id, bytes: min(f.o.PartBytes, id.size-id.index*f.o.PartBytes), cancel: cancel,
		done: make(chan struct{}), by: by, working: true,
	}
	fl.turn = turn{ctx: ctx, bytes: int(fl.bytes), ahead: by != nil}
	f.flights[id] = fl
	f.line.join(&fl.turn) // here, so that the order is that of the calls
	f.flying.Go(func() { f.run(fl) })
	return fl
}

// join returns the flight of a part, begun if need be, as one that has a reader more:
// leave it. mu is held.
func (f *Fetcher) join(id partID) *flight {
	fl := f.flights[id]
	if fl == nil {
		fl = f.start(id, nil)
	}
	if fl.readers++; fl.readers == 1 && fl.by != nil && !fl.loaded {
		f.line.promote(&fl.turn)
		fl.failing = time.Time{} // Retry is what a reader waits
	}
	return fl
}

// leave takes a reader from a flight; the last gives the buffer back, or ends a flight
// that nobody else wants.
func (f *Fetcher) leave(fl *flight) {
	f.cache.mu.Lock()
	fl.readers--
	release := fl.readers == 0 && fl.loaded && !fl.working
	if fl.readers == 0 && fl.working && !fl.loaded && fl.by == nil {
		f.abandon(fl)
	}
	f.cache.mu.Unlock()
	if release {
		f.release(fl)
	}
}

// abandon ends a flight that has no readers. mu is held.
func (f *Fetcher) abandon(fl *flight) {
	if f.flights[fl.id] == fl {
		delete(f.flights, fl.id)
	}
	fl.cancel()
}

// run is the goroutine of a flight.
func (f *Fetcher) run(fl *flight) {
	defer fl.cancel()
	took, err := f.load(fl)
	switch {
	case err == nil:
		f.o.Events.Fetched(fl.bytes, took)
	case fl.turn.ctx.Err() == nil:
		f.o.Events.Failed(fl.id.key, err)
	}
	f.cache.mu.Lock()
	fl.loaded, fl.err = err == nil, err
	if err != nil && f.flights[fl.id] == fl {
		delete(f.flights, fl.id)
	}
	wanted := f.flights[fl.id] == fl && !f.closed
	close(fl.done)
	f.cache.mu.Unlock()
	var p *part
	if wanted {
		p = f.store(fl)
	}
	f.finish(fl, p)
}

// store writes a loaded part to the cache; nil when that fails, which no reader needs to
// know.
func (f *Fetcher) store(fl *flight) *part {
	p, err := f.cache.write(fl.id, fl.buf)
	if err != nil {
		f.o.Events.Uncached(fl.bytes, err)
	}
	if errors.Is(err, errNoRoom) {
		return nil
	}
	f.cache.mu.Lock()
	before := f.diskFails
	f.diskFails = err != nil
	f.cache.mu.Unlock()
	switch {
	case err != nil && !before:
		f.o.Logger.Warn("the cache cannot be written; parts are read from the bucket each time, and none ahead", "dir", f.o.Dir, "err", err)
	case err == nil && before:
		f.o.Logger.Info("the cache can be written again", "dir", f.o.Dir)
	}
	return p
}

// finish ends the work of a flight's goroutine: from now on its part is found in the
// cache, if it was written.
func (f *Fetcher) finish(fl *flight, p *part) {
	f.cache.mu.Lock()
	if f.flights[fl.id] == fl {
		delete(f.flights, fl.id)
	}
	keep := p != nil && !fl.forgotten
	if keep {
		f.cache.insert(p)
	}
	fl.working = false
	release := fl.loaded && fl.readers == 0
	f.cache.mu.Unlock()
	if p != nil && !keep {
		f.cache.discard(p)
	}
	if release {
		f.release(fl)
	}
}

// load reads the part, for as long as that may help. On success the flight has a turn
// and its buffer is full.
func (f *Fetcher) load(fl *flight) (took time.Duration, err error) {
	ctx := fl.turn.ctx
	for try := 0; ; try++ {
		if try > 0 {
			f.line.join(&fl.turn)
		}
		if err := f.line.wait(&fl.turn); err != nil {
			return 0, err
		}
		f.acquire(fl)
		begin := time.Now()
		err := f.request(ctx, fl)
		if err == nil {
			return time.Since(begin), nil
		}
		f.release(fl)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		pause, again := f.pause(fl, try)
		if lasting(err) || !again {
			return 0, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, context.Cause(ctx)
		}
	}
}

// pause returns how long to wait after a failed try, false for no further one.
func (f *Fetcher) pause(fl *flight, try int) (time.Duration, bool) {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	now := time.Now()
	if fl.failing.IsZero() {
		fl.failing = now
	}
	left := f.o.Retry - now.Sub(fl.failing)
	return min(left, rand.N(min(maxPause, basePause<<min(try, 10)))), left > 0
}

// request reads the part from the bucket once.
func (f *Fetcher) request(ctx context.Context, fl *flight) error {
	off := fl.id.index * f.o.PartBytes
	r, err := f.o.Bucket.Read(ctx, fl.id.key, off, fl.bytes)
	if err == nil {
		_, err = io.ReadFull(r, fl.buf)
		_ = r.Close() // what was asked for is here, or the error is known
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = f.short(ctx, fl)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bucket.ErrNotFound):
		return &MissingError{fl.id.key}
	}
	return fmt.Errorf("read %s at %d: %w", fl.id.key, off, err)
}

// short says why a part ended early: an object that is as long as it should be was cut
// off on the way.
func (f *Fetcher) short(ctx context.Context, fl *flight) error {
	info, err := f.o.Bucket.Stat(ctx, fl.id.key)
	switch {
	case errors.Is(err, bucket.ErrNotFound):
		return err
	case err == nil && info.Size != fl.id.size:
		return fmt.Errorf("%w, it has %d bytes and not %d: %w", errShort, info.Size, fl.id.size, io.ErrUnexpectedEOF)
	}
	return io.ErrUnexpectedEOF
}

// acquire gives a flight that has a turn a buffer.
func (f *Fetcher) acquire(fl *flight) {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if n := len(f.free); n > 0 {
		fl.buf, f.free = f.free[n-1][:fl.bytes], f.free[:n-1]
		return
	}
	fl.buf = make([]byte, fl.bytes, f.o.PartBytes)
}

// release gives buffer and turn back.
func (f *Fetcher) release(fl *flight) {
	f.cache.mu.Lock()
	f.free = append(f.free, fl.buf)
	fl.buf = nil
	f.cache.mu.Unlock()
	f.line.give(&fl.turn)
}
