package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// flight is one request on its way, shared by all who wait for it.
type flight[T any] struct {
	ticket *ticket
	done   chan struct{} // closed when answer and err are set
	answer T
	err    error
	next   *flight[T] // starts when this one has landed; nil if nobody asked for it
}

// maxFlights bounds the DIDs that are asked for at once, those that wait for their
// turn included: each has a goroutine, of a few KiB.
const maxFlights = 2 * maxWaiting

// flights lets questions about one DID share a request. Who wants an answer that is
// newer than the question joins a request that was not sent yet, but never one that is
// on its way, since that may carry the answer of a moment before; he waits for that
// one to land and shares the next.
type flights[T any] struct {
	gates *sync.Mutex // that of the gates, for tickets
	run   func(did string, t *ticket) (T, error)

	mu     sync.Mutex
	m      map[string]*flight[T]
	closed bool
	wg     sync.WaitGroup
}

var errClosed = errors.New("resolver is closed")

// join returns the request for did that someone of class c waits for, and with newer
// one that was not sent yet. It runs in a goroutine of its own, so that a caller who
// goes away does not take it from the others.
func (f *flights[T]) join(did string, c class, newer bool) (*flight[T], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, unavailable(errClosed)
	}
	fl, busy := f.m[did]
	switch {
	case !busy:
		if len(f.m) >= maxFlights {
			return nil, &UnavailableError{RetryAfter: restFirst, Err: errCrowded}
		}
		if f.m == nil {
			f.m = make(map[string]*flight[T])
		}
		fl = newFlight[T](did, c)
		f.m[did] = fl
		f.wg.Go(func() { f.fly(did, fl) })
		return fl, nil
	case fl.ticket.raise(f.gates, c) || !newer: // or it is waited for as well
		return fl, nil
	case fl.next == nil:
		fl.next = newFlight[T](did, c)
	default:
		fl.next.ticket.raise(f.gates, c)
	}
	return fl.next, nil
}

func newFlight[T any](did string, c class) *flight[T] {
	t := newTicket(c)
	t.sent = !strings.HasPrefix(did, "did:plc:") // there is no gate
	return &flight[T]{ticket: t, done: make(chan struct{})}
}

func (f *flights[T]) fly(did string, fl *flight[T]) {
	for fl != nil {
		fl.answer, fl.err = f.run(did, fl.ticket)
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

// wait returns the answer, or that the caller went away.
func (fl *flight[T]) wait(ctx context.Context) (answer T, err error) {
	select {
	case <-fl.done:
		return fl.answer, fl.err
	case <-ctx.Done():
		return answer, unavailable(context.Cause(ctx))
	}
}

// close refuses new requests and waits for those on their way.
func (f *flights[T]) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}
