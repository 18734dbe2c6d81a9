package ingest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/internal/verify"
)

// queues holds a host's events that wait for somebody's answer, in order for each
// account, each account's served by a goroutine that lives as long as they wait.
type queues struct {
	h *host
	n atomic.Int32 // accounts that wait: the reader looks closer only if there are any

	mu     sync.Mutex
	room   sync.Cond // something left
	m      map[string]*queue
	events int
	bytes  int64
	// Of these, what waits for someone who failed to answer. It may fill half of the
	// window; beyond that it is dropped, so that the other half always moves.
	heldEvents int
	heldBytes  int64
}

// queue is the waiting events of one account. Its goroutine alone takes from it.
type queue struct {
	did   string
	items []*waiting
	bytes int64
	held  bool
	// abandoned: its first event was left undecided because all work ends. None after
	// it may be decided either.
	abandoned bool

	retry backoff // the goroutine's own
}

// waiting is an event in a queue.
type waiting struct {
	m       *message
	win     *window
	ticket  uint64
	arrived time.Time
}

func (q *queues) init(h *host) {
	q.h = h
	q.m = make(map[string]*queue)
	q.room.L = &q.mu
}

// busy says whether events of the account wait, so that a new one must wait too.
func (q *queues) busy(did string) bool {
	if q.n.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.m[did] != nil
}

// enter queues the reader's message, waiting for room. kept is false when the event
// was decided against or all work ends.
func (q *queues) enter(ctx context.Context, r *reader, m *message) (kept bool, err error) {
	size := m.size()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.waitForRoom(ctx, r, size); err != nil {
		return false, err
	}
	acct := q.m[m.ev.DID]
	switch {
	case acct == nil:
		b := &q.h.m.opts.Bounds
		acct = &queue{did: m.ev.DID, retry: backoff{base: b.HoldRetry, cap: b.HoldRetryCap, jitter: halfJitter}}
		q.m[acct.did] = acct
		q.n.Add(1)
		defer q.h.m.wg.Go(func() { q.h.serve(acct) })
	case acct.abandoned:
		return false, ErrStopped
	case acct.held && q.heldFull(1, size):
		q.h.reject(m, holdFull)
		r.win.pass(m.ev.Seq)
		return false, nil
	}
	it := &waiting{m: m, win: r.win, ticket: r.win.enter(m.ev.Seq), arrived: time.Now()}
	acct.items = append(acct.items, it)
	q.count(acct, 1, size)
	return true, nil
}

var holdFull = &verify.Rejection{Row: 12, Action: verify.Drop, Reason: "hold_full"}

// waitForRoom returns with q.mu held. An event larger than the window may enter an
// empty one.
func (q *queues) waitForRoom(ctx context.Context, r *reader, size int64) error {
	b := &q.h.m.opts.Bounds
	full := func() bool {
		return q.events > 0 && (q.events >= b.WindowEvents || q.bytes+size > b.WindowBytes)
	}
	if !full() {
		return nil
	}
	q.h.m.metrics.blocked.Inc()
	r.up.paused.Store(true)
	defer r.up.paused.Store(false)
	unhook := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.room.Broadcast()
	})
	defer unhook()
	for full() {
		if ctx.Err() != nil {
			return ErrStopped
		}
		q.room.Wait()
	}
	return nil
}

// count adds n events of size bytes to the account and to all sums. Called with q.mu.
func (q *queues) count(acct *queue, n int, size int64) {
	q.events += n
	q.bytes += size
	acct.bytes += size
	q.h.m.metrics.waiting.Add(float64(n))
	if acct.held {
		q.countHeld(n, size)
	}
}

func (q *queues) countHeld(n int, size int64) {
	q.heldEvents += n
	q.heldBytes += size
	q.h.m.metrics.held.Add(float64(n))
}

// heldFull says whether n more events of size bytes are too many to hold.
func (q *queues) heldFull(n int, size int64) bool {
	b := &q.h.m.opts.Bounds
	return q.heldEvents+n > max(1, b.WindowEvents/2) || q.heldBytes+size > b.WindowBytes/2
}

// hold marks the account's events as held, or says that there is no room for them.
func (q *queues) hold(acct *queue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if acct.held {
		return true
	}
	if q.heldFull(len(acct.items), acct.bytes) {
		return false
	}
	acct.held = true
	q.countHeld(len(acct.items), acct.bytes)
	return true
}

// answered ends the hold of an account.
func (q *queues) answered(acct *queue) {
	acct.retry.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	if acct.held {
		acct.held = false
		q.countHeld(-len(acct.items), -acct.bytes)
	}
}

// first returns the account's next event, nil when there is none; the queue is gone
// then.
func (q *queues) first(acct *queue) *waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(acct.items) > 0 {
		return acct.items[0]
	}
	delete(q.m, acct.did)
	q.n.Add(-1)
	return nil
}

// leave takes the account's first event out: it is decided.
func (q *queues) leave(acct *queue, it *waiting) {
	it.win.leave(it.ticket)
	q.mu.Lock()
	defer q.mu.Unlock()
	acct.items[0] = nil
	acct.items = acct.items[1:]
	q.count(acct, -1, -it.m.size())
	q.room.Broadcast()
}

func (q *queues) abandon(acct *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	acct.abandoned = true
}
