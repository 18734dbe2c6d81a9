package fetch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// served notes when which part came.
type served struct {
	mu    sync.Mutex
	parts []int64
	at    []time.Duration
	begin time.Time
}

func (v *served) note(part int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.parts, v.at = append(v.parts, part), append(v.at, time.Since(v.begin))
}

// readers has one reader a part begin to wait, in this order.
func (v *served) readers(t *testing.T, f *Fetcher, s *store, all *sync.WaitGroup, parts ...int64) {
	for _, part := range parts {
		all.Go(func() {
			check(t, s, open(f, s, "k0"), part*testPart, 10)
			v.note(part)
		})
		synctest.Wait()
	}
}

func TestTheRateIsKeptAndReadersAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	for _, requests := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(100 * testPart)
			f, _ := start(t, s, func(o *Options) { o.Rate, o.MaxRequests = testPart, requests }) // a part a second
			defer end(t, f)
			v := &served{begin: time.Now()}
			order := []int64{7, 3, 50, 1, 99, 20, 21, 2}
			var all sync.WaitGroup
			v.readers(t, f, s, &all, order...)
			all.Wait()
			if !slices.Equal(v.parts, order) {
				t.Errorf("came %v, served %v", order, v.parts)
			}
			for i, at := range v.at {
				if want := time.Duration(i) * time.Second; at < want || at > want+time.Millisecond {
					t.Errorf("part %d came after %s, not %s", i, at, want)
				}
			}
		})
	}
}

func TestReadAheadDelaysAReaderByAtMostOnePart(t *testing.T) {
	for _, requests := range []int{1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(100 * testPart)
			f, _ := start(t, s, func(o *Options) { o.Rate, o.Ahead, o.MaxRequests = testPart, 20, requests })
			defer end(t, f)
			o := open(f, s, "k0")
			check(t, s, o, 0, 10)
			check(t, s, o, testPart, 10) // and 2 to 21 ahead, for 20 seconds
			synctest.Wait()
			v := &served{begin: time.Now()}
			var all sync.WaitGroup
			v.readers(t, f, s, &all, 50, 60, 70)
			all.Wait()
			if !slices.Equal(v.parts, []int64{50, 60, 70}) || v.at[0] > 2*time.Second+time.Millisecond {
				t.Errorf("%d requests: %v served after %v", requests, v.parts, v.at)
			}
			if v.at[2]-v.at[0] > 2*time.Second+time.Millisecond {
				t.Errorf("%d requests: %v served after %v: read-ahead went between", requests, v.parts, v.at)
			}
		})
	}
}

func TestReadAheadLeavesARequestToReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Ahead, o.MaxRequests = 20, 4 })
		defer end(t, f)
		o := open(f, s, "k0")
		check(t, s, o, 0, testPart)
		s.gate = make(chan struct{})
		done := make(chan struct{}, 2)
		go func() { check(t, s, o, testPart, 10); done <- struct{}{} }()
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{1000, 2000, 3000}) {
			t.Errorf("%v under way, which leaves none", now)
		}
		go func() { check(t, s, open(f, s, "k0"), 50*testPart, 10); done <- struct{}{} }()
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{1000, 2000, 3000, 50000}) {
			t.Errorf("%v under way", now)
		}
		close(s.gate)
		<-done
		<-done
		synctest.Wait()
		if s.most != 4 {
			t.Errorf("%d requests at once", s.most)
		}
	})
}

func TestASequentialReaderHasTheNextPartsReadInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(8*testPart + 1)
		f, _ := start(t, s, func(o *Options) { o.Ahead = 4 })
		defer end(t, f)
		o := open(f, s, "k0")
		for off := int64(0); off < testPart; off += testPart / 4 {
			check(t, s, o, off, testPart/4)
		}
		synctest.Wait()
		if n, _ := s.requests(); n != 1 {
			t.Errorf("%d requests for the first part", n)
		}
		s.gate = make(chan struct{}) // nobody passes before all are there
		done := make(chan struct{})
		go func() { check(t, s, o, testPart, testPart/4); close(done) }()
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{1000, 2000, 3000, 4000, 5000}) {
			t.Errorf("%v under way", now)
		}
		close(s.gate)
		<-done
		synctest.Wait()
		for off := int64(testPart); off < o.Size(); off += testPart / 4 {
			check(t, s, o, off, testPart/4)
			synctest.Wait()
			n, _ := s.requests()
			if want := min(int(off/testPart)+5, 9); n != want {
				t.Errorf("%d requests at %d, not %d", n, off, want)
			}
		}
	})
}

func TestAReaderHereAndThereHasNothingReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Ahead = 4 })
		defer end(t, f)
		o := open(f, s, "k0")
		for i, off := range []int64{99900, 0, 500, 50000, 49000, 20900} { // the last in two parts
			check(t, s, o, off, 100+int64(i/5)*100)
			synctest.Wait()
		}
		if n, _ := s.requests(); n != 6 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestAClosedObjectsReadAheadThatHasNotBegunIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Ahead, o.MaxRequests = 10, 2 })
		defer end(t, f)
		o, other := open(f, s, "k0"), open(f, s, "k0")
		check(t, s, o, 0, testPart)
		s.gate = make(chan struct{})
		done := make(chan struct{}, 2)
		go func() { check(t, s, o, testPart, testPart); done <- struct{}{} }()
		synctest.Wait()
		go func() { check(t, s, other, 5*testPart, 10); done <- struct{}{} }() // read ahead by o, waits for its turn
		synctest.Wait()
		o.Close()
		close(s.gate)
		<-done
		<-done
		synctest.Wait()
		if n, _ := s.requests(); n != 3 {
			t.Errorf("%d requests, not those of parts 0, 1 and 5", n)
		}
	})
}

func TestWhatIsReadAheadComesFirstWhenAReaderWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Rate, o.Ahead = testPart, 20 })
		defer end(t, f)
		o := open(f, s, "k0")
		check(t, s, o, 0, 10)
		check(t, s, o, testPart, 10) // and 2 to 21 ahead, for 20 seconds
		synctest.Wait()
		v := &served{begin: time.Now()}
		var all sync.WaitGroup
		v.readers(t, f, s, &all, 19, 40, 17)
		all.Wait()
		if !slices.Equal(v.parts, []int64{19, 40, 17}) || v.at[2] > 4*time.Second+time.Millisecond {
			t.Errorf("%v served after %v", v.parts, v.at)
		}
	})
}

func TestATurnIsNotLostWhoeverGivesItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limiter := range []*rate.Limiter{nil, rate.NewLimiter(1, 1)} { // a turn a second
			l := newLine(1, limiter)
			begun, given := 0, 0
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				a, b := &turn{ctx: ctx, bytes: 1}, &turn{ctx: t.Context(), bytes: 1}
				l.join(a)
				l.join(b)
				synctest.Wait() // a has its turn, or it waits for the limiter
				cancel()
				if err := l.wait(a); err == nil {
					begun++
					l.give(a)
				} else {
					given++
				}
				if err := l.wait(b); err != nil {
					t.Fatal(err)
				}
				l.give(b)
				if l.taken != 0 {
					t.Fatalf("%d turns are taken", l.taken)
				}
			}
			if given == 0 || limiter == nil && begun == 0 || limiter != nil && begun > 1 {
				t.Errorf("%d turns began and %d were given up", begun, given)
			}
			l.close()
			l.await()
		}
	})
}

func TestBlocksThatLieInTwoPartsAreReadAheadOfToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Ahead = 4 })
		defer end(t, f)
		o := open(f, s, "k0")
		for off := int64(0); off < 1200; off += 300 { // the last from 900
			check(t, s, o, off, 300)
		}
		synctest.Wait()
		if n, _ := s.requests(); n != 6 {
			t.Errorf("%d requests, not for parts 0 to 5", n)
		}
	})
}
