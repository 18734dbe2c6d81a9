package identity

import (
	"context"
	"sync"
	"time"
)

// When an unchanged document is asked for again, after the #identity that said it had
// changed.
var againAfter = [...]time.Duration{5 * time.Second, 60 * time.Second}

// maxAgain bounds the DIDs that are to be asked for again.
const maxAgain = 16 << 10

// again remembers which documents to ask for again, and when. One DID is there once,
// with the times of its last #identity.
type again struct {
	// ask asks for a document in the background. It returns at once.
	ask func(did string, was [32]byte)

	mu      sync.Mutex
	m       map[string]*recheck
	queues  [len(againAfter)][]*recheck // in the order of their times
	dropped uint64
	wake    chan struct{} // of capacity 1
}

// recheck is a DID to be asked for again.
type recheck struct {
	did  string
	was  [32]byte // hash of the document
	due  time.Time
	tick int // how often it was asked for already
}

func newAgain(ask func(did string, was [32]byte)) *again {
	return &again{ask: ask, m: make(map[string]*recheck), wake: make(chan struct{}, 1)}
}

// add notes an unchanged document, in the place of what was noted of its DID.
func (a *again) add(did string, was [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.m[did]; !ok && len(a.m) >= maxAgain || len(a.queues[0]) >= maxAgain {
		a.dropped++
		return
	}
	a.push(&recheck{did: did, was: was, due: time.Now().Add(againAfter[0])})
}

// push puts a recheck into the queue of its tick. a.mu is held.
func (a *again) push(c *recheck) {
	a.m[c.did] = c
	a.queues[c.tick] = append(a.queues[c.tick], c)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// drop forgets a DID whose document has changed.
func (a *again) drop(did string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, did)
}

// run asks until ctx ends.
func (a *again) run(ctx context.Context) {
	for {
		wait, c := a.next(time.Now())
		if c != nil {
			a.ask(c.did, c.was)
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
	}
}

// next takes out what is due, or says how long that takes; 0 is for ever.
func (a *again) next(now time.Time) (wait time.Duration, due *recheck) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tick := range a.queues {
		q := a.queues[tick]
		for len(q) > 0 && a.m[q[0].did] != q[0] { // another took its place, or it was dropped
			q = q[1:]
		}
		a.queues[tick] = q
		if len(q) == 0 {
			a.queues[tick] = nil
			continue
		}
		c := q[0]
		if left := c.due.Sub(now); left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		a.queues[tick] = q[1:]
		if tick+1 == len(againAfter) {
			delete(a.m, c.did)
		} else {
			a.push(&recheck{did: c.did, was: c.was, due: c.due.Add(againAfter[tick+1] - againAfter[tick]), tick: tick + 1})
		}
		return 0, c
	}
	return wait, nil
}

// pending is how many DIDs are to be asked for again, and how many were not noted for
// want of room.
func (a *again) pending() (n int, dropped uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.m), a.dropped
}
