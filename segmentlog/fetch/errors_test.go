package fetch

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// readAll has several readers ask for one part at once and returns what they got, which
// says the same, and how long it took.
func readAll(t *testing.T, f *Fetcher, key string, size int64) (took time.Duration, err error) {
	t.Helper()
	begin := time.Now()
	errs := make([]error, 10)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = f.Open(key, size).ReadAt(make([]byte, 10), 2*testPart) })
	}
	all.Wait()
	for _, err := range errs {
		if err == nil || errs[0] == nil || err.Error() != errs[0].Error() {
			t.Errorf("one got %v, another %v", err, errs[0])
		}
	}
	return time.Since(begin), errs[0]
}

func TestAnErrorThatStaysIsReturnedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		key    string
		size   int64
		answer error
		want   error
		says   string
	}{
		"missing": {"none", 5 * testPart, nil, bucket.ErrNotFound, "none"},
		"refused": {"k0", 5 * testPart, bucket.ErrRefused, bucket.ErrRefused, "k0 at 2000"},
		"short":   {"k0", 5 * testPart, nil, io.ErrUnexpectedEOF, "k0 at 2000: the object is not as long as it should be, it has 2500 bytes and not 5000"},
		"none":    {"k1", 5 * testPart, nil, io.ErrUnexpectedEOF, "k1 at 2000"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(2500, 0)
			s.answer = func(request) error { return c.answer }
			f, counts := start(t, s, nil)
			defer end(t, f)
			took, err := readAll(t, f, c.key, c.size)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || took != 0 {
				t.Errorf("%s: after %s: %v", name, took, err)
			}
			var missing *MissingError
			if errors.As(err, &missing) != errors.Is(c.want, bucket.ErrNotFound) || missing != nil && missing.Key != c.key {
				t.Errorf("%s: %#v", name, err)
			}
			all, _ := s.requests()
			if counts.failed.Load() != int64(all) || !errors.Is(counts.errs[0], c.want) {
				t.Errorf("%s: %d requests, %d failures: %v", name, all, counts.failed.Load(), counts.errs)
			}
		})
	}
}

func TestAFailureIsCountedOnceForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.gate = make(chan struct{})
		f, c := start(t, s, nil)
		defer end(t, f)
		done := make(chan error)
		go func() { _, err := readAll(t, f, "none", 5*testPart); done <- err }()
		synctest.Wait() // ten wait
		close(s.gate)
		if err := <-done; !errors.Is(err, bucket.ErrNotFound) || c.failed.Load() != 1 {
			t.Errorf("%d failures: %v", c.failed.Load(), err)
		}
	})
}

func TestAnErrorThatPassesIsNotSeen(t *testing.T) {
	for name, spoil := range map[string]func(s *store, n *atomic.Int64){
		"unavailable": func(s *store, n *atomic.Int64) {
			s.answer = func(request) error {
				if n.Add(1) <= 5 {
					return bucket.ErrUnavailable
				}
				return nil
			}
		},
		"cut off": func(s *store, n *atomic.Int64) {
			s.cut = func(r request) int64 {
				if n.Add(1) <= 5 {
					return r.n / 2
				}
				return r.n
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(5 * testPart)
			var n atomic.Int64
			spoil(s, &n)
			f, c := start(t, s, nil)
			defer end(t, f)
			check(t, s, open(f, s, "k0"), 0, testPart)
			if n.Load() != 6 || c.failed.Load() != 0 {
				t.Errorf("%s: %d requests, %d failures", name, n.Load(), c.failed.Load())
			}
		})
	}
}

func TestAnErrorThatDoesNotPassIsReturnedAfterRetryAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(5 * testPart)
		s.answer = func(request) error { return bucket.ErrUnavailable }
		f, c := start(t, s, func(o *Options) { o.Retry = 20 * time.Second })
		defer end(t, f)
		took, err := readAll(t, f, "k0", 5*testPart)
		if !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "k0 at 2000") || took != 20*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		if n, _ := s.requests(); n < 6 || n > 200 || c.failed.Load() != 1 {
			t.Errorf("%d requests, %d failures", n, c.failed.Load())
		}
		s.mu.Lock()
		s.answer = nil
		s.mu.Unlock()
		check(t, s, open(f, s, "k0"), 2*testPart, testPart)
	})
}

func TestAPartThatIsTriedAgainLeavesItsTurnToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(5*testPart, 5*testPart)
		s.answer = func(r request) error {
			if r.key == "k0" {
				return bucket.ErrUnavailable
			}
			return nil
		}
		f, _ := start(t, s, func(o *Options) { o.MaxRequests = 1 })
		defer end(t, f)
		done := make(chan error)
		go func() { _, err := readAll(t, f, "k0", 5*testPart); done <- err }()
		synctest.Wait()
		begin := time.Now()
		check(t, s, open(f, s, "k1"), 0, 5*testPart)
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %s", took)
		}
		if err := <-done; !errors.Is(err, bucket.ErrUnavailable) {
			t.Error(err)
		}
	})
}

func TestWhoWaitsForWhatIsReadAheadHasTheWholeRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(5 * testPart)
		s.answer = func(r request) error {
			if r.off == 2*testPart {
				return bucket.ErrUnavailable
			}
			return nil
		}
		f, c := start(t, s, func(o *Options) { o.Retry, o.Ahead = 20*time.Second, 1 })
		defer end(t, f)
		o := open(f, s, "k0")
		check(t, s, o, 0, 10)
		check(t, s, o, testPart, 10) // and part 2 ahead
		time.Sleep(15 * time.Second)
		begin := time.Now()
		_, err := o.ReadAt(make([]byte, 10), 2*testPart)
		// Its clock began with the first failure after it came.
		if took := time.Since(begin); !errors.Is(err, bucket.ErrUnavailable) || took < 20*time.Second || took > 20*time.Second+maxPause {
			t.Errorf("after %s: %v", took, err)
		}
		if c.failed.Load() != 1 {
			t.Errorf("%d failures", c.failed.Load())
		}
	})
}

func TestBadOptionsAreRefused(t *testing.T) {
	s := newStore()
	for _, o := range []Options{
		{Dir: "x"}, {Bucket: s}, {Bucket: s, Dir: "x", CacheBytes: 100}, {Bucket: s, Dir: "x", PartBytes: -1},
		{Bucket: s, Dir: "x", MaxRequests: -1}, {Bucket: s, Dir: "x", Rate: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
