package fetch

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
)

// Object is an object of the bucket, open for reading. Its methods may be called from
// any goroutine. Whoever reads in several places at once opens it several times, so that
// each place is read ahead of.
type Object struct {
	h   *handle
	ctx context.Context
}

// handle is what all views of an Object share.
type handle struct {
	f      *Fetcher
	key    string
	size   int64
	last   atomic.Int64 // the last part that was read
	closed atomic.Bool
}

// WithContext returns a view of the object whose reads end with ctx's error when it ends
// while they wait for the bucket. Closing either closes both.
func (o *Object) WithContext(ctx context.Context) *Object { return &Object{h: o.h, ctx: ctx} }

// Size returns the object's length in bytes, as it was given to Open.
func (o *Object) Size() int64 { return o.h.size }

// Close gives the object back. Reads that wait go on: end their context.
func (o *Object) Close() error {
	h := o.h
	if h.closed.Swap(true) {
		return nil
	}
	c := h.f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fl := range h.f.flights {
		if fl.by == h && fl.readers == 0 && h.f.line.waits(&fl.turn) {
			h.f.abandon(fl)
		}
	}
	return nil
}

// Forget drops the cached parts that hold any of the n bytes from off: they are read
// from the bucket again. It is for whoever found them to be wrong, and makes an Object a
// segmentlog.Forgetter.
func (o *Object) Forget(off, n int64) {
	if n = min(n, o.h.size-off); n <= 0 {
		return
	}
	o.h.f.o.Logger.Warn("bytes of an object are not what they should be; the bucket is asked again", "key", o.h.key, "offset", off, "bytes", n)
	size := o.h.f.o.PartBytes
	first, last := off/size, (off+n-1)/size
	o.h.f.forget(func(id partID) bool {
		return id.key == o.h.key && id.size == o.h.size && id.index >= first && id.index <= last
	})
}

// ReadAt implements io.ReaderAt. Its errors are a *MissingError where the bucket has no
// such object, ErrClosed, that of the context, an io.ErrUnexpectedEOF where the object
// is shorter than it should be, and else what the bucket said when trying again did not
// help.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	h := o.h
	switch {
	case h.closed.Load():
		return 0, fmt.Errorf("read %s: %w", h.key, ErrClosed)
	case off < 0:
		return 0, fmt.Errorf("read %s: offset %d", h.key, off)
	case len(p) == 0:
		return 0, nil
	case off >= h.size:
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > h.size-off {
		p, end = p[:h.size-off], io.EOF
	}
	part := h.f.o.PartBytes
	first, last := off/part, (off+int64(len(p))-1)/part
	until := h.until(first, last)
	n := 0
	for i := first; i <= last; i++ {
		at := off + int64(n)
		b := p[n:min(int64(len(p)), (i+1)*part-off)]
		if err := o.readPart(b, i, at-i*part, until); err != nil {
			return n, err
		}
		n += len(b)
	}
	return n, end
}

// until notes that the parts first to last are read and returns up to which part to read
// ahead meanwhile: the last of the object for a reader that goes from part to part.
func (h *handle) until(first, last int64) int64 {
	before := h.last.Swap(last)
	if first == before+1 || first == before && last > before {
		return (h.size - 1) / h.f.o.PartBytes
	}
	return last
}

// readPart fills b from off in one part and has the next ones up to until read ahead.
func (o *Object) readPart(b []byte, index, off, until int64) error {
	h, f := o.h, o.h.f
	id := partID{h.key, h.size, index}
	for {
		f.cache.mu.Lock()
		if f.closed {
			f.cache.mu.Unlock()
			return fmt.Errorf("read %s: %w", h.key, ErrClosed)
		}
		var fl *flight
		p, file := f.cache.pin(id)
		if p == nil {
			if err := o.ctx.Err(); err != nil {
				f.cache.mu.Unlock()
				return fmt.Errorf("read %s: %w", h.key, err)
			}
			fl = f.join(id)
		}
		f.readAhead(h, index, until)
		f.cache.mu.Unlock()
		if fl != nil {
			return o.wait(fl, b, off)
		}
		err := f.cache.read(p, file, b, off)
		if err == nil {
			f.cache.unpin(p)
			f.o.Events.Hit(int64(len(b)))
			return nil
		}
		f.o.Logger.Warn("a file of the cache cannot be read; the bucket is asked again", "path", p.path, "err", err)
		f.cache.mu.Lock()
		f.cache.drop(p)
		f.cache.mu.Unlock()
		f.cache.unpin(p)
	}
}

// wait fills b from off in the part of a flight, and leaves it.
func (o *Object) wait(fl *flight, b []byte, off int64) error {
	defer o.h.f.leave(fl)
	select {
	case <-fl.done:
	case <-o.ctx.Done():
		return fmt.Errorf("read %s: %w", o.h.key, o.ctx.Err())
	}
	if fl.err != nil {
		return fl.err
	}
	copy(b, fl.buf[off:])
	return nil
}

// readAhead begins to read the parts after index, up to until. Where the cache cannot be
// written there is no place for them. mu is held.
func (f *Fetcher) readAhead(h *handle, index, until int64) {
	if f.diskFails {
		return
	}
	for i := index + 1; i <= min(index+int64(f.o.Ahead), until); i++ {
		id := partID{h.key, h.size, i}
		if f.cache.parts[id] == nil && f.flights[id] == nil {
			f.start(id, h)
		}
	}
}
