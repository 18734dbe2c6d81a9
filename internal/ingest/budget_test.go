package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

func shares(limit int64, n int) (*budget, []*share) {
	b := &budget{limit: limit}
	all := make([]*share, n)
	for i := range all {
		all[i] = &share{b: b}
	}
	return b, all
}

// fill takes bytes one at a time until there are no more to be had.
func fill(s *share) int64 {
	for s.try(1) {
	}
	return s.used
}

func TestOneGreedyHostLeavesHalfAndSeveralLeaveAShare(t *testing.T) {
	const limit = 1000
	for _, n := range []int{1, 2, 3, 9, 50} {
		_, all := shares(limit, n+1)
		for range limit { // in turn, so that all are equally fast
			for _, s := range all[:n] {
				s.try(1)
			}
		}
		want := int64(limit / (n + 1))
		for i, s := range all[:n] {
			if s.used < want-1 || s.used > want+1 {
				t.Errorf("host %d of %d greedy ones has %d bytes, want %d", i, n, s.used, want)
			}
		}
		if got := fill(all[n]); got < want/2-1 {
			t.Errorf("one that comes after %d greedy ones gets %d bytes, want half of %d", n, got, want)
		}
	}
}

func TestTheSumNeverPassesTheBudget(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const limit, largest = 1000, 300
	b, all := shares(limit, 20)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	waited := make(chan struct{}, 1)
	for i, s := range all {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for ctx.Err() == nil {
				n := 1 + rng.Int64N(largest)
				if !s.try(n) {
					if s.wait(ctx, n) != nil {
						return
					}
					select {
					case waited <- struct{}{}:
					default:
					}
				}
				if used := b.inUse(); used > limit || used < n {
					t.Errorf("%d bytes in use of %d", used, limit)
				}
				s.give(n)
			}
		})
	}
	for range 2000 {
		<-waited
	}
	stop()
	wg.Wait()
	if b.used != 0 || len(b.line) != 0 {
		t.Errorf("%d bytes and %d in line are left over", b.used, len(b.line))
	}
}

func TestAHostWithNothingIsNotPassedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := shares(100, 3)
		small, other, large := all[0], all[1], all[2]
		if !small.try(30) || !other.try(20) {
			t.Fatal("no room in an empty budget")
		}
		got := make(chan error, 1)
		go func() { got <- large.wait(t.Context(), 60) }()
		synctest.Wait()
		if small.try(1) {
			t.Error("one byte passed a host that has nothing and waits")
		}
		later := make(chan error, 1)
		go func() { later <- small.wait(t.Context(), 1) }()
		synctest.Wait()
		other.give(20)
		if err := <-got; err != nil || large.used != 60 {
			t.Errorf("%v, %d bytes", err, large.used)
		}
		synctest.Wait()
		select {
		case err := <-later:
			t.Error(err, "31 bytes fit beside 60 of 100, with 10 over")
		default:
		}
		large.give(60)
		if err := <-later; err != nil || b.inUse() != 31 {
			t.Errorf("%v, %d bytes", err, b.inUse())
		}
	})
}

func TestWhoGivesUpStandsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, all := shares(100, 3)
		if !all[0].try(50) {
			t.Fatal("no room in an empty budget")
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- all[1].wait(ctx, 80) }()
		synctest.Wait()
		go func() { second <- all[2].wait(t.Context(), 10) }()
		synctest.Wait()
		cancel(why)
		if err := <-first; !errors.Is(err, why) {
			t.Errorf("%v, want the cause", err)
		}
		if err := <-second; err != nil || b.inUse() != 60 || len(b.line) != 0 {
			t.Errorf("%v, %d bytes, %d in line", err, b.inUse(), len(b.line))
		}
	})
}

func TestAPieceLargerThanTheBudgetMayHaveItAlone(t *testing.T) {
	_, all := shares(10, 2)
	if !all[0].try(15) || all[1].try(1) {
		t.Error("it is not alone")
	}
	all[0].give(15)
	if !all[1].try(1) || all[0].try(15) {
		t.Error("it is let in beside another")
	}
}

func BenchmarkBudget(b *testing.B) {
	for _, n := range []int{1, 2800} {
		b.Run(fmt.Sprint(n, " in line"), func(b *testing.B) {
			_, all := shares(1<<20, n+1)
			all[n].try(1 << 19)
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			for _, s := range all[:n-1] {
				s.b.take(s, 1)
				wg.Go(func() { _ = s.wait(ctx, 1<<20) })
			}
			for b.Loop() {
				all[n].give(1)
				all[n].b.take(all[n], 1)
			}
			cancel()
			wg.Wait()
		})
	}
}
