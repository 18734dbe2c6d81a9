package ingest

import (
	"context"
	"math"
	"slices"
	"sync"
)

// budget is memory, in bytes, that all hosts share. A host may have as much as it
// leaves over: one alone gets half, and of n that want all they can get each gets one
// part in n+1, so that there is always something left for one that comes with a
// little (the dynamic thresholds of Choudhury and Hahne, 1998). The sum never passes
// the limit, except by one piece larger than it, which may have an empty budget.
//
// Who does not fit waits in line. The line lets pass who fits, but not past a host
// that has nothing yet: that one is next.
type budget struct {
	limit int64

	mu   sync.Mutex
	used int64
	line []*claim // in the order in which they came
	// No claim whose turn it may be fits while less than least is left over, so that
	// the line, which may have thousands, need not be looked through each time.
	least int64
}

// share is what one host has of a budget.
type share struct {
	b    *budget
	used int64 // guarded by b.mu
}

// claim is a place in the line.
type claim struct {
	s       *share
	n       int64
	granted chan struct{} // closed when it has what it wants
}

// fits says whether the share may grow by n. Called with b.mu.
func (b *budget) fits(s *share, n int64) bool {
	return b.used == 0 || s.used+n <= b.limit-b.used
}

// take grows the share by n. Called with b.mu.
func (b *budget) take(s *share, n int64) {
	s.used += n
	b.used += n
}

// try takes n bytes if they are to be had at once.
func (s *share) try(n int64) bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if len(s.b.line) > 0 || !s.b.fits(s, n) {
		return false
	}
	s.b.take(s, n)
	return true
}

// wait takes n bytes when they are to be had. Its error is the context's cause; then
// nothing was taken.
func (s *share) wait(ctx context.Context, n int64) error {
	c := &claim{s: s, n: n, granted: make(chan struct{})}
	s.b.mu.Lock()
	s.b.line = append(s.b.line, c)
	s.b.least = min(s.b.least, s.used+n)
	s.b.advance()
	s.b.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	i := slices.Index(s.b.line, c)
	if i < 0 {
		return nil // it was granted meanwhile
	}
	s.b.line = slices.Delete(s.b.line, i, i+1)
	s.b.least = 0
	s.b.advance() // it may have stood in the way
	return context.Cause(ctx)
}

// give returns n bytes.
func (s *share) give(n int64) {
	if n == 0 {
		return
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.take(s, -n)
	s.b.least -= n // a claim of its own needs so much less
	s.b.advance()
}

// advance grants what fits. Called with b.mu.
func (b *budget) advance() {
	if b.used > 0 && b.limit-b.used < b.least {
		return
	}
	b.least = math.MaxInt64
	kept := b.line[:0]
	for i, c := range b.line {
		if b.fits(c.s, c.n) {
			b.take(c.s, c.n)
			close(c.granted)
			continue
		}
		b.least = min(b.least, c.s.used+c.n)
		if c.s.used == 0 { // its turn: nobody passes it
			kept = append(kept, b.line[i:]...)
			break
		}
		kept = append(kept, c)
	}
	clear(b.line[len(kept):])
	b.line = kept
}

// inUse is the sum of all shares.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// intake is the memory of everything that came and is not decided.
type intake struct {
	reading budget // messages on their way in, as far as they are larger than minBuffer
	waiting budget // events in queues
	held    budget // of these, those that wait for someone who failed to answer
}

func newIntake(b *Bounds) *intake {
	return &intake{
		reading: budget{limit: b.ReadingBytes},
		waiting: budget{limit: b.WaitingBytes},
		held:    budget{limit: b.WaitingBytes / 2},
	}
}
