package fetch

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

// line is where requests wait for their turn: readers first, in the order in which they
// came, then read-ahead. At most max have a turn at once, and one of them is never
// read-ahead's where max > 1. With a limiter a turn begins when its bytes may be read.
type line struct {
	max     int
	limiter *rate.Limiter // nil for none

	mu      sync.Mutex
	changed sync.Cond // someone came, or a turn ended
	readers []*turn
	ahead   []*turn
	taken   int // turns that were begun and not given back
	closed  bool
	ended   chan struct{} // closed when run has returned
}

// turn is one request's place in a line. All is guarded by the line's mutex but begun.
type turn struct {
	ctx   context.Context
	bytes int

	ahead  bool          // nobody waits for it
	queued bool          // it waits in a list
	has    bool          // it counts in taken
	begun  chan struct{} // closed when the turn begins
}

// newLine opens a line; close and await end it.
func newLine(turns int, limiter *rate.Limiter) *line {
	l := &line{max: turns, limiter: limiter, ended: make(chan struct{})}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// join puts t at the end of the line; wait then waits for its turn.
func (l *line) join(t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.begun = make(chan struct{})
	l.push(t)
	l.changed.Signal()
}

// wait returns when the turn of t begins, which give ends, or with an error when its
// context ends.
func (l *line) wait(t *turn) error {
	select {
	case <-t.begun:
		return nil
	case <-t.ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case t.queued:
		l.pull(t)
	case t.has:
		l.end(t)
	}
	return context.Cause(t.ctx)
}

// give ends a turn.
func (l *line) give(t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(t)
}

func (l *line) end(t *turn) {
	t.has = false
	l.taken--
	l.changed.Signal()
}

// promote says that a reader waits for what was read ahead.
func (l *line) promote(t *turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.ahead {
		return
	}
	queued := t.queued
	if queued {
		l.pull(t)
	}
	t.ahead = false
	if queued {
		l.push(t)
	}
	l.changed.Signal()
}

func (l *line) list(t *turn) *[]*turn {
	if t.ahead {
		return &l.ahead
	}
	return &l.readers
}

func (l *line) push(t *turn) {
	q := l.list(t)
	*q = append(*q, t)
	t.queued = true
}

func (l *line) pull(t *turn) {
	q := l.list(t)
	i := slices.Index(*q, t)
	*q = slices.Delete(*q, i, i+1)
	t.queued = false
}

// run begins turns until the line is closed.
func (l *line) run() {
	defer close(l.ended)
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		t := l.next()
		if t == nil {
			l.changed.Wait()
			continue
		}
		l.taken++
		if l.limiter != nil {
			l.mu.Unlock()
			_ = l.limiter.WaitN(t.ctx, t.bytes) // its one error is that of the context
			l.mu.Lock()
		}
		if t.ctx.Err() != nil { // nobody waits any more
			l.taken--
			continue
		}
		t.has = true
		close(t.begun)
	}
}

// next takes the one whose turn it is out of the line, nil for nobody.
func (l *line) next() *turn {
	ahead := len(l.readers) == 0
	free := l.max - l.taken
	if free <= 0 || ahead && (len(l.ahead) == 0 || free == 1 && l.max > 1) {
		return nil
	}
	q := l.readers
	if ahead {
		q = l.ahead
	}
	t := q[0]
	l.pull(t)
	return t
}

// close lets no further turn begin. Who waits does so until its context ends.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Signal()
}

// await waits for the end of a closed line, whose contexts must have ended.
func (l *line) await() { <-l.ended }

// waits says whether a turn was asked for and has not come near.
func (l *line) waits(t *turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.queued
}
