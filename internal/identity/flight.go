package identity

import (
	"context"
	"errors"
	"sync"
)

// flight is one request on its way, shared by all who wait for it.
type flight struct {
	done chan struct{} // closed when id and err are set
	id   Identity
	err  error
	next *flight // starts when this one has landed; nil if nobody asked for it
}

// flights lets lookups of one DID share a request. A refresh never joins a request
// that is already on its way, since that may carry the answer of a moment before
// the change; it waits for that one to land and shares the next.
type flights struct {
	mu     sync.Mutex
	m      map[string]*flight
	closed bool
	wg     sync.WaitGroup
}

var errClosed = errors.New("resolver is closed")

// join returns the result of a request for did, made by run in a goroutine of its
// own, so that a caller who goes away does not take it from the others.
func (f *flights) join(ctx context.Context, did string, refresh bool, run func() (Identity, error)) (Identity, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return Identity{}, &UnavailableError{Err: errClosed}
	}
	fl, busy := f.m[did]
	switch {
	case !busy:
		fl = &flight{done: make(chan struct{})}
		if f.m == nil {
			f.m = make(map[string]*flight)
		}
		f.m[did] = fl
		f.wg.Go(func() { f.fly(did, fl, run) })
	case refresh:
		if fl.next == nil {
			fl.next = &flight{done: make(chan struct{})}
		}
		fl = fl.next
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.id, fl.err
	case <-ctx.Done():
		return Identity{}, &UnavailableError{Err: context.Cause(ctx)}
	}
}

func (f *flights) fly(did string, fl *flight, run func() (Identity, error)) {
	for fl != nil {
		fl.id, fl.err = run()
		f.mu.Lock()
		next := fl.next
		if next == nil {
			delete(f.m, did)
		} else {
			f.m[did] = next
		}
		f.mu.Unlock()
		close(fl.done)
		fl = next
	}
}

// close refuses new requests and waits for those on their way.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}
