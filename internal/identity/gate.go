package identity

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"golang.org/x/time/rate"
)

// class says who waits for a request. What is lower goes first.
type class int

const (
	forLookup  class = iota // an event of an account of which nothing fresh is known
	forRefresh              // an event that says, or makes it look, that a document changed
	forNobody               // nobody: to see whether a document changes after all
	classes
)

// shares is how many requests of each class go in a round when all of them wait, so
// that none starves another: a flood of #identity leaves accounts that are new their
// share, and a flood of new accounts leaves those that changed theirs.
var shares = [classes]int{forLookup: 4, forRefresh: 2, forNobody: 1}

// maxWaiting bounds the requests that wait at one gate. At the default rate the last
// of them would wait for minutes.
const maxWaiting = 16 << 10

var (
	errCrowded = errors.New("too many requests are waiting")
	errRefused = errors.New("it went away while the request waited")
)

// gate lets requests to one directory through: so many at a time, so many a second,
// by their shares. Whoever was let through must leave. Its queues are guarded by a
// mutex that all gates share, since a request may wait at one after the other.
type gate struct {
	mu      *sync.Mutex
	limiter *rate.Limiter
	slots   chan struct{} // requests on their way
	wake    chan struct{} // of capacity 1: someone waits

	queues [classes]list.List // of *ticket
	credit [classes]int       // left in this round
	len    int
}

// ticket is a request's place at a gate. It may be used for one gate after the other.
type ticket struct {
	class class
	at    *gate         // where it waits, nil when it does not
	place *list.Element // in at's queue
	sent  bool          // a directory has the request, or had it
	done  chan error    // of capacity 1
}

func newTicket(c class) *ticket { return &ticket{class: c, done: make(chan error, 1)} }

// newGate returns a gate for perSecond requests a second, 0 for any number, of which
// concurrent may be on their way. Its owner runs it.
func newGate(mu *sync.Mutex, perSecond float64, concurrent int) *gate {
	g := &gate{mu: mu, slots: make(chan struct{}, concurrent), wake: make(chan struct{}, 1), credit: shares}
	if perSecond > 0 {
		g.limiter = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
	}
	return g
}

// enter waits until the request may be sent. An error means that it may not.
func (g *gate) enter(ctx context.Context, t *ticket) error {
	g.mu.Lock()
	if g.len >= maxWaiting {
		g.mu.Unlock()
		return errCrowded
	}
	t.at, t.place = g, g.queues[t.class].PushBack(t)
	g.len++
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	waits := t.at == g
	if waits {
		g.remove(t)
	}
	g.mu.Unlock()
	if !waits && <-t.done == nil { // it was let through at the last moment
		g.leave()
	}
	return context.Cause(ctx)
}

// leave says that the answer is here.
func (g *gate) leave() { <-g.slots }

// remove takes a ticket out of its queue. g.mu is held.
func (g *gate) remove(t *ticket) {
	g.queues[t.class].Remove(t.place)
	t.at, t.place = nil, nil
	g.len--
}

// raise makes a waiting request as urgent as c, when someone joins who is, and says
// whether it is still to be sent. mu is that of the gates.
func (t *ticket) raise(mu *sync.Mutex, c class) (unsent bool) {
	mu.Lock()
	defer mu.Unlock()
	if c < t.class {
		if g := t.at; g != nil {
			g.queues[t.class].Remove(t.place)
			t.place = g.queues[c].PushBack(t)
		}
		t.class = c
	}
	return !t.sent
}

// refuse sends all who wait away.
func (g *gate) refuse() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.admit(errRefused) {
	}
}

// run lets requests through until ctx ends. Who is next is decided at the last moment.
func (g *gate) run(ctx context.Context) {
	for {
		g.mu.Lock()
		empty := g.len == 0
		g.mu.Unlock()
		if empty {
			select {
			case <-g.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if g.limiter != nil && g.limiter.Wait(ctx) != nil {
			return
		}
		g.mu.Lock()
		admitted := g.admit(nil)
		g.mu.Unlock()
		if !admitted {
			g.leave()
		}
	}
}

// admit gives the one whose turn it is an answer. g.mu is held.
func (g *gate) admit(answer error) bool {
	if g.len == 0 {
		return false
	}
	for {
		for c := range g.queues {
			if g.credit[c] == 0 || g.queues[c].Len() == 0 {
				continue
			}
			g.credit[c]--
			t, _ := g.queues[c].Front().Value.(*ticket) // nothing else is in a queue
			g.remove(t)
			t.sent = t.sent || answer == nil
			t.done <- answer
			return true
		}
		g.credit = shares
	}
}

// waiting says how many wait in each class.
func (g *gate) waiting() (n [classes]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.queues {
		n[c] = g.queues[c].Len()
	}
	return n
}
