package fetch

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// ErrClosed means that the fetcher was closed.
var ErrClosed = errors.New("reading from the bucket has ended")

// Fetcher reads objects of one bucket. Its methods may be called from any goroutine.
type Fetcher struct {
	o       Options
	ctx     context.Context //nolint:containedctx // of the requests: it lives as long as the fetcher
	cancel  context.CancelCauseFunc
	slots   chan struct{} // one for each request under way
	running sync.WaitGroup
	buffers sync.Pool

	mu     sync.Mutex
	parts  map[partKey]*part
	unused list.List // of *part on disk that nobody reads, least recently used first
	bytes  int64     // of parts on disk
	names  uint64    // of files so far
	closed bool
}

// partKey names a part of an object.
type partKey struct {
	key   string
	index int64
}

// New returns a fetcher with an empty cache; Close it.
func New(o Options) (*Fetcher, error) {
	o.EnsureDefaults()
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	f := &Fetcher{o: o, slots: make(chan struct{}, o.Requests), parts: map[partKey]*part{}}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.buffers.New = func() any {
		b := make([]byte, o.PartBytes)
		return &b
	}
	return f, nil
}

// Close ends all requests, waits for them and removes the cache. Reads return ErrClosed.
func (f *Fetcher) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel(ErrClosed)
	f.running.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.unused.Front(); e != nil; e = f.unused.Front() {
		p, _ := f.unused.Remove(e).(*part) // nothing else is in it
		f.drop(p)
	}
	return os.RemoveAll(f.o.Dir)
}

// CachedBytes is how much is on disk.
func (f *Fetcher) CachedBytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

// Forget drops what is cached of an object, so that the next read asks the bucket.
func (f *Fetcher) Forget(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, p := range f.parts {
		if k.key != key {
			continue
		}
		delete(f.parts, k)
		p.forgotten = true
		if p.element != nil {
			f.unused.Remove(p.element)
			p.element = nil
			f.drop(p)
		}
	}
}

// get returns a part that is being fetched or is there, and holds it: release it. With
// ahead set it takes only one that must be fetched, and nobody holds it.
func (f *Fetcher) get(k partKey, size int64, ahead bool) (*part, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	p := f.parts[k]
	if p != nil && ahead {
		return nil, nil
	}
	if p == nil {
		off := k.index * f.o.PartBytes
		p = &part{key: k, off: off, size: min(f.o.PartBytes, size-off), done: make(chan struct{})}
		f.parts[k] = p
		p.users++ // of the request
		f.running.Go(func() { f.fetch(p) })
	}
	if ahead {
		return nil, nil
	}
	if p.element != nil {
		f.unused.Remove(p.element)
		p.element = nil
	}
	p.users++
	return p, nil
}

// release gives a part back.
func (f *Fetcher) release(p *part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	if p.file == nil || p.forgotten || f.closed {
		if !p.forgotten && f.parts[p.key] == p {
			delete(f.parts, p.key)
		}
		f.drop(p)
		return
	}
	p.element = f.unused.PushBack(p)
}

// drop forgets a part that nobody uses; the lock is held.
func (f *Fetcher) drop(p *part) {
	if f.parts[p.key] == p {
		delete(f.parts, p.key)
	}
	if p.memory != nil {
		f.buffers.Put(p.memory)
		p.memory = nil
	}
	if p.file != nil {
		_ = p.file.Close()           // opened for reading
		_ = os.Remove(p.file.Name()) // a cache: the next start removes it
		p.file = nil
		f.bytes -= p.size
	}
}

// room makes room for n bytes and takes them; it returns a new file's path, or false
// where what is in use leaves none.
func (f *Fetcher) room(n int64) (path string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.bytes+n > f.o.CacheBytes {
		e := f.unused.Front()
		if e == nil {
			return "", false
		}
		p, _ := f.unused.Remove(e).(*part) // nothing else is in it
		p.element = nil
		f.drop(p)
	}
	f.bytes += n
	f.names++
	return filepath.Join(f.o.Dir, fmt.Sprintf("%d.part", f.names)), true
}
