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
	// Of these, what waits for someone who failed to answer. It may fill half of the
	// window, and all hosts' half of the memory; beyond that it is dropped, so that the
	// other half always moves.
	heldEvents int
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
	size    int64 // bytes
	win     *window
	ticket  uint64
	arrived time.Time
	waited  bool // of a relay's: long enough for what is missing before it
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

// queueBytes is what an account that waits costs in memory besides its events: its
// goroutine, above all.
const queueBytes = 8 << 10

// enter queues the reader's message, waiting for room. kept says that the message is
// the queue's now; otherwise the queue has a smaller copy, or the event was decided
// against, or all work ends.
func (q *queues) enter(ctx context.Context, r *reader, m *message) (kept bool, err error) {
	c := m.compact()
	size := c.size()
	if err := q.waitForBytes(ctx, r, size+queueBytes); err != nil {
		return false, err
	}
	over := size + queueBytes // what was taken and is not needed
	defer func() { q.h.waiting.give(over) }()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.waitForRoom(ctx, r); err != nil {
		return false, err
	}
	acct := q.m[m.ev.DID]
	over = queueBytes
	switch {
	case acct == nil:
		b := &q.h.m.opts.Bounds
		acct = &queue{did: c.ev.DID, retry: backoff{base: b.HoldRetry, cap: b.HoldRetryCap, jitter: halfJitter}}
		q.m[acct.did] = acct
		q.n.Add(1)
		over = 0
		defer q.h.m.wg.Go(func() { q.h.serve(acct) })
	case acct.abandoned:
		over += size
		return false, ErrStopped
	case acct.held && !q.holdMore(1, size):
		over += size
		q.h.reject(m, holdFull)
		r.win.pass(m.ev.Seq)
		return false, nil
	}
	c.uncharge()
	it := &waiting{m: c, size: size, win: r.win, ticket: r.win.enter(m.ev.Seq), arrived: time.Now()}
	acct.items = append(acct.items, it)
	q.count(acct, 1, size)
	return c == m, nil
}

var holdFull = &verify.Rejection{Row: 12, Action: verify.Drop, Reason: "hold_full"}

// waitForBytes takes memory for what is about to wait.
func (q *queues) waitForBytes(ctx context.Context, r *reader, n int64) error {
	if q.h.waiting.try(n) {
		return nil
	}
	q.h.m.metrics.blocked.Inc()
	r.up.paused.Store(true)
	defer r.up.paused.Store(false)
	if q.h.waiting.wait(ctx, n) != nil {
		return ErrStopped
	}
	return nil
}

// waitForRoom waits until the host may have one more event. Called with q.mu.
func (q *queues) waitForRoom(ctx context.Context, r *reader) error {
	most := q.h.m.opts.Bounds.WindowEvents
	if q.events < most {
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
	for q.events >= most {
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
	acct.bytes += size
	q.h.m.metrics.waiting.Add(float64(n))
}

// holdMore takes room for n more held events of size bytes together, or says that there
// is none. Called with q.mu.
func (q *queues) holdMore(n int, size int64) bool {
	if q.heldEvents+n > max(1, q.h.m.opts.Bounds.WindowEvents/2) || !q.h.held.try(size) {
		return false
	}
	q.heldEvents += n
	q.h.m.metrics.held.Add(float64(n))
	return true
}

// holdLess gives that room back.
func (q *queues) holdLess(n int, size int64) {
	q.heldEvents -= n
	q.h.held.give(size)
	q.h.m.metrics.held.Add(-float64(n))
}

// hold marks the account's events as held, or says that there is no room for them.
func (q *queues) hold(acct *queue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if acct.held {
		return true
	}
	acct.held = q.holdMore(len(acct.items), acct.bytes)
	return acct.held
}

// answered ends the hold of an account.
func (q *queues) answered(acct *queue) {
	acct.retry.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	if acct.held {
		acct.held = false
		q.holdLess(len(acct.items), acct.bytes)
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
	q.h.waiting.give(queueBytes)
	return nil
}

// leave takes the account's first event out: it is decided.
func (q *queues) leave(acct *queue, it *waiting) {
	it.win.leave(it.ticket)
	q.mu.Lock()
	defer q.mu.Unlock()
	acct.items[0] = nil
	acct.items = acct.items[1:]
	q.count(acct, -1, -it.size)
	if acct.held {
		q.holdLess(1, it.size)
	}
	q.h.waiting.give(it.size)
	q.room.Broadcast()
}

func (q *queues) abandon(acct *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	acct.abandoned = true
}
