package fetch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

func TestReadersOfOnePartShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10 * testPart)
		s.gate = make(chan struct{})
		f, c := start(t, s, nil)
		defer end(t, f)
		const readers = 50
		var all sync.WaitGroup
		for range readers {
			all.Go(func() { check(t, s, open(f, s, "k0"), 2*testPart, testPart) })
		}
		synctest.Wait() // all wait
		if n, now := s.requests(); n != 1 || len(now) != 1 {
			t.Errorf("%d requests, %d under way, not one", n, len(now))
		}
		close(s.gate)
		all.Wait()
		if n, _ := s.requests(); n != 1 || c.fetched.Load() != 1 {
			t.Errorf("%d requests and %d parts, not one", n, c.fetched.Load())
		}
	})
}

func TestAReaderWhoseContextEndsLeavesTheOthersTheirPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(testPart)
		s.gate = make(chan struct{})
		f, c := start(t, s, nil)
		defer end(t, f)
		o := open(f, s, "k0")
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := o.WithContext(ctx).ReadAt(make([]byte, 10), 0); left <- err }()
		stays := make(chan struct{})
		go func() { check(t, s, o, 0, 10); close(stays) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		synctest.Wait()
		close(s.gate)
		<-stays
		if n, _ := s.requests(); n != 1 || s.ended.Load() != 0 || c.failed.Load() != 0 {
			t.Errorf("%d requests, %d of them ended, %d failures", n, s.ended.Load(), c.failed.Load())
		}
	})
}

func TestARequestThatNobodyWaitsForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(2 * testPart)
		s.gate = make(chan struct{})
		f, c := start(t, s, func(o *Options) { o.MaxRequests = 1 })
		defer end(t, f)
		var ctx [2]context.Context
		var cancel [2]context.CancelFunc
		for i := range ctx {
			ctx[i], cancel[i] = context.WithCancel(t.Context())
			defer cancel[i]()
		}
		var all sync.WaitGroup
		for i := range int64(4) { // two parts: one is read, one waits for its turn
			all.Go(func() {
				if _, err := open(f, s, "k0").WithContext(ctx[i%2]).ReadAt(make([]byte, 10), i%2*testPart); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		_, now := s.requests()
		if len(now) != 1 {
			t.Fatalf("%v under way", now)
		}
		cancel[1-now[0]/testPart]() // who waits for a turn
		synctest.Wait()
		cancel[now[0]/testPart]()
		all.Wait()
		synctest.Wait()
		if n, now := s.requests(); n != 1 || len(now) != 0 || s.ended.Load() != 1 {
			t.Errorf("%d requests, %d under way, %d ended", n, len(now), s.ended.Load())
		}
		if c.failed.Load() != 0 {
			t.Errorf("%d failures counted, though nothing failed", c.failed.Load())
		}
		close(s.gate)
		check(t, s, open(f, s, "k0"), 0, 2*testPart) // and nothing of it is left
	})
}

func TestReadAheadGoesOnWhenItsReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10 * testPart)
		f, _ := start(t, s, func(o *Options) { o.Ahead = 1 })
		defer end(t, f)
		o := open(f, s, "k0")
		check(t, s, o, 0, 10)
		s.gate = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := o.WithContext(ctx).ReadAt(make([]byte, 10), testPart); left <- err }()
		synctest.Wait()
		go func() { _, err := o.WithContext(ctx).ReadAt(make([]byte, 10), 2*testPart); left <- err }()
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{1000, 2000, 3000}) {
			t.Errorf("%v under way", now)
		}
		cancel()
		for range 2 {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{2000, 3000}) {
			t.Errorf("%v under way: what was read ahead shall go on, and nothing else", now)
		}
		close(s.gate)
	})
}

func TestCloseEndsReadsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(100 * testPart)
		s.gate = make(chan struct{})
		f, c := start(t, s, func(o *Options) { o.Ahead, o.MaxRequests = 4, 3 })
		var all sync.WaitGroup
		for i := range int64(20) {
			o := open(f, s, "k0")
			all.Go(func() {
				_, err := o.ReadAt(make([]byte, 3*testPart), i*3*testPart)
				if !errors.Is(err, ErrClosed) || !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, now := s.requests(); len(now) != 3 {
			t.Errorf("%d requests under way", len(now))
		}
		end(t, f)
		all.Wait()
		if s.ended.Load() != 3 || c.failed.Load() != 0 {
			t.Errorf("%d requests ended, %d failures", s.ended.Load(), c.failed.Load())
		}
		if _, err := open(f, s, "k0").ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("a read after the end: %v", err)
		}
		f.Forget("k0")
		if err := f.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	})
}

func TestAClosedObjectReadsNothing(t *testing.T) {
	s := newStore(testPart)
	f, _ := start(t, s, nil)
	defer end(t, f)
	o := open(f, s, "k0")
	view := o.WithContext(t.Context())
	if err := errors.Join(view.Close(), o.Close()); err != nil {
		t.Error(err)
	}
	if _, err := o.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestManyReadersGetTheBytesOfTheObjects(t *testing.T) {
	s := newStore(40*testPart+1, 7*testPart, 1, testPart, 0)
	seed := newSeed(t)
	f, c := start(t, s, func(o *Options) { o.Ahead, o.CacheBytes, o.MaxRequests = 3, 12*testPart, 4 })
	f.cache.maxOpen = 3
	defer end(t, f)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rng := seed.rng(i)
			o := open(f, s, "k0")
			defer o.Close()
			for at, n := int64(0), 0; n < 300; n++ {
				key := []string{"k0", "k0", "k0", "k1", "k2", "k3", "k4"}[rng.IntN(7)]
				p := open(f, s, key)
				switch off := rng.Int64N(p.Size() + 10); rng.IntN(12) {
				case 0:
					p.Forget(off, rng.Int64N(3*testPart))
				case 1:
					f.Forget(key)
				case 2, 3, 4, 5:
					check(t, s, o, at%o.Size(), 250)
					at += 250
				default:
					check(t, s, p, off, rng.Int64N(5*testPart))
				}
				p.Close()
			}
		})
	}
	all.Wait()
	if c.hit.Load() == 0 || c.fetched.Load() < 50 || s.most > 4 {
		t.Errorf("%d bytes from the cache, %d parts fetched, %d requests at once", c.hit.Load(), c.fetched.Load(), s.most)
	}
	if n := f.cache.open.Len(); n > 3 {
		t.Errorf("%d files are open, not 3", n)
	}
}

func TestAReadAcrossPartsAsksForThemAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10 * testPart)
		s.gate = make(chan struct{})
		f, _ := start(t, s, func(o *Options) { o.Ahead = 4 })
		defer end(t, f)
		b, done := make([]byte, 3*testPart), make(chan error)
		go func() { _, err := open(f, s, "k0").ReadAt(b, 4500); done <- err }()
		synctest.Wait()
		if _, now := s.requests(); !slices.Equal(now, []int64{4000, 5000, 6000, 7000}) {
			t.Errorf("%v under way", now)
		}
		close(s.gate)
		if err := <-done; err != nil || !bytes.Equal(b, s.truth("k0")[4500:7500]) {
			t.Errorf("other bytes, or %v", err)
		}
	})
}
