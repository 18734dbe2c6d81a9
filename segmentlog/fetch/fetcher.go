package fetch

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/time/rate"
)

// Fetcher reads objects of a bucket in parts and keeps the parts in a folder. Its
// methods may be called from any goroutine.
type Fetcher struct {
	o    Options
	line *line

	ctx    context.Context // of all flights
	cancel context.CancelCauseFunc
	flying sync.WaitGroup // the goroutines of flights
	end    sync.Once
	endErr error

	// cache's mutex guards what follows too, so that a part is found in the cache or in
	// flight at any time.
	cache     *cache
	flights   map[partID]*flight
	free      [][]byte // part buffers not in use; with those that are, at most MaxRequests
	closed    bool
	diskFails bool // the last write to the cache failed
}

// New empties the cache's folder and starts a Fetcher; Close ends it.
func New(o Options) (*Fetcher, error) {
	o.EnsureDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	c, err := openCache(&o)
	if err != nil {
		return nil, fmt.Errorf("fetch: cache: %w", err)
	}
	var limiter *rate.Limiter
	if o.Rate > 0 {
		limiter = rate.NewLimiter(rate.Limit(o.Rate), int(o.PartBytes))
	}
	f := &Fetcher{o: o, line: newLine(o.MaxRequests, limiter), cache: c, flights: map[partID]*flight{}}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	return f, nil
}

// Open returns an object of size bytes. It asks nothing of the bucket. Close it.
func (f *Fetcher) Open(key string, size int64) *Object {
	h := &handle{f: f, key: key, size: size}
	h.last.Store(-2) // no part comes after it
	return &Object{h: h, ctx: context.Background()}
}

// CachedBytes returns what the files of the cache take, those being written and removed
// included, in bytes.
func (f *Fetcher) CachedBytes() int64 {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	return f.cache.bytes
}

// Forget drops what is cached of an object: it is read from the bucket again.
func (f *Fetcher) Forget(key string) {
	f.forget(func(id partID) bool { return id.key == key })
}

// forget drops the parts that match, and those that were read but not yet written.
func (f *Fetcher) forget(match func(partID) bool) {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.closed {
		return
	}
	c.users++
	var unread []*part
	for id, p := range c.parts {
		if !match(id) {
			continue
		}
		c.drop(p)
		if p.readers == 0 {
			unread = append(unread, p)
		}
	}
	for id, fl := range f.flights {
		if match(id) && fl.loaded {
			fl.forgotten = true
			delete(f.flights, id)
		}
	}
	c.mu.Unlock()
	for _, p := range unread {
		c.discard(p)
	}
	c.mu.Lock()
	c.leave()
}

// Close ends all reads with ErrClosed, waits for them and removes the cache's folder.
func (f *Fetcher) Close() error {
	f.end.Do(func() {
		f.cache.mu.Lock()
		f.closed = true
		f.cache.mu.Unlock()
		f.line.close() // before the flights end, so that none makes room for another
		f.cancel(ErrClosed)
		f.line.await()
		f.flying.Wait()
		if err := f.cache.end(); err != nil {
			f.endErr = fmt.Errorf("fetch: cache: %w", err)
		}
	})
	return f.endErr
}
