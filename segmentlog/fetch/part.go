package fetch

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// How long to wait before a request is made again: doubled from the first to the last.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// part is a run of an object's bytes. Its fields belong to the fetcher's lock, except
// that file, memory and err do not change between done and the last release.
type part struct {
	key       partKey
	off, size int64
	users     int           // who must release it
	element   *list.Element // in Fetcher.unused, when nobody uses it
	forgotten bool

	done   chan struct{} // closed when it is there, or err is set
	file   *os.File      // on disk
	memory *[]byte       // where it could not be kept
	err    error
}

// readAt copies from a part that is done.
func (p *part) readAt(b []byte, off int64) (int, error) {
	if p.memory != nil {
		return copy(b, (*p.memory)[off:p.size]), nil
	}
	n, err := p.file.ReadAt(b, off)
	if err != nil {
		return n, fmt.Errorf("cache of %s: %w", p.key.key, err)
	}
	return n, nil
}

// fetch brings a part from the bucket.
func (f *Fetcher) fetch(p *part) {
	defer f.release(p)
	defer close(p.done)
	select {
	case f.slots <- struct{}{}:
	case <-f.ctx.Done():
		p.err = context.Cause(f.ctx)
		return
	}
	defer func() { <-f.slots }()
	memory, _ := f.buffers.Get().(*[]byte) // nothing else is in it
	if p.err = f.request(p, (*memory)[:p.size]); p.err != nil {
		f.buffers.Put(memory)
		return
	}
	if f.keep(p, (*memory)[:p.size]) {
		f.buffers.Put(memory)
		return
	}
	f.mu.Lock()
	p.memory = memory
	f.mu.Unlock()
}

// request reads a part's bytes, again and again where that may help.
func (f *Fetcher) request(p *part, b []byte) error {
	wait, began := firstWait, time.Now()
	for {
		err := f.once(p, b)
		if err == nil {
			return nil
		}
		if f.ctx.Err() != nil {
			return context.Cause(f.ctx)
		}
		f.o.Events.Failed(bucket.KindOf(err))
		final := errors.Is(err, bucket.ErrNotFound) || errors.Is(err, bucket.ErrRefused) || errors.Is(err, io.ErrUnexpectedEOF)
		if final || time.Since(began)+wait > f.o.Retry {
			f.o.Logger.Error("an object of the archive cannot be read", "archive", f.o.Bucket.String(), "key", p.key.key, "offset", p.off, "err", err)
			return fmt.Errorf("%d bytes from %d of %s: %w", p.size, p.off, p.key.key, err)
		}
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-f.ctx.Done():
			timer.Stop()
			return context.Cause(f.ctx)
		}
		wait = min(2*wait, lastWait)
	}
}

// once makes one request.
func (f *Fetcher) once(p *part, b []byte) error {
	if f.o.Limit != nil {
		if err := f.o.Limit.WaitN(f.ctx, len(b)); err != nil {
			return err
		}
	}
	began := time.Now()
	r, err := f.o.Bucket.Read(f.ctx, p.key.key, p.off, p.size)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, b)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		f.o.Events.Fetched(p.size, time.Since(began))
	}
	return err
}

// keep writes a part into the cache and says whether it is there.
func (f *Fetcher) keep(p *part, b []byte) bool {
	path, ok := f.room(p.size)
	if !ok {
		return false
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		if _, err = file.Write(b); err != nil {
			_ = file.Close() // the write's error says more
			_ = os.Remove(path)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.bytes -= p.size
		f.o.Events.Uncached(err)
		return false
	}
	p.file = file
	return true
}
