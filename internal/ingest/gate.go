package ingest

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// dialClass says why a host is dialled.
type dialClass int

const (
	dialAsked dialClass = iota // somebody waits for the answer
	dialFirst                  // it has never been connected by this process
	dialAgain                  // it was
	dialClasses
)

// gate bounds how many dials are under way and how fast they begin, so that a start
// with thousands of hosts, or a network that comes back, leaves the processor and the
// sockets to others. Classes take turns, each in the order in which it came: hosts
// that are new do not wait for all that come back, nor these for a flood of new ones.
type gate struct {
	pace *rate.Limiter

	mu      sync.Mutex
	free    int
	turn    dialClass              // whose it is next
	waiting [dialClasses]list.List // of chan struct{}, closed to let in
}

func newGate(o *DialOptions) *gate {
	return &gate{pace: rate.NewLimiter(rate.Limit(o.PerSecond), 1), free: o.AtOnce}
}

// enter waits for its turn to dial; leave ends what it allowed. An error is ctx's.
func (g *gate) enter(ctx context.Context, c dialClass) error {
	if err := g.take(ctx, c); err != nil {
		return err
	}
	if err := g.pace.Wait(ctx); err != nil {
		g.leave()
		return err
	}
	return nil
}

func (g *gate) take(ctx context.Context, c dialClass) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	open := make(chan struct{})
	place := g.waiting[c].PushBack(open)
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	select {
	case <-open: // it was let in meanwhile
		g.mu.Unlock()
		g.leave()
	default:
		g.waiting[c].Remove(place)
		g.mu.Unlock()
	}
	return ctx.Err()
}

// leave lets in the next class that waits, or frees the place.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range dialClasses {
		first := g.waiting[g.turn].Front()
		q := &g.waiting[g.turn]
		g.turn = (g.turn + 1) % dialClasses
		if first == nil {
			continue
		}
		if open, ok := q.Remove(first).(chan struct{}); ok {
			close(open)
		}
		return
	}
	g.free++
}
