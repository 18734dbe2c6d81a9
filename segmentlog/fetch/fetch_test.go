package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a bucket whose reads a test watches and breaks.
type store struct {
	bucket.Bucket // nothing but Read is used
	content       map[string][]byte
	reads         atomic.Int64
	bytes         atomic.Int64
	hook          func(ctx context.Context, key string, off int64) error
}

func (s *store) String() string { return "store" }

func (s *store) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	s.reads.Add(1)
	if s.hook != nil {
		if err := s.hook(ctx, key, off); err != nil {
			return nil, err
		}
	}
	b, ok := s.content[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	b = b[min(off, int64(len(b))):]
	if int64(len(b)) < n {
		return nil, io.ErrUnexpectedEOF
	}
	s.bytes.Add(n)
	return io.NopCloser(bytes.NewReader(b[:n])), nil
}

func newStore(sizes ...int) *store {
	s := &store{content: map[string][]byte{}}
	rng := rand.NewChaCha8([32]byte{7})
	for i, n := range sizes {
		b := make([]byte, n)
		_, _ = rng.Read(b) // never fails
		s.content[fmt.Sprint("object", i)] = b
	}
	return s
}

func open(t testing.TB, o Options) *Fetcher {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "cache")
	}
	if o.PartBytes == 0 {
		o.PartBytes = 1000
	}
	o.Logger = slog.New(slog.DiscardHandler)
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the cache stays: %v", err)
		}
	})
	return f
}

func TestManyReadersReadWhatTheBucketHoldsWithinTheBudget(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newStore(10_500, 999, 1000, 1001, 50_000)
	const budget = 8000
	f := open(t, Options{Bucket: s, CacheBytes: budget, Requests: 3})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for range 400 {
				key := fmt.Sprint("object", rng.IntN(len(s.content)))
				want := s.content[key]
				off := rng.IntN(len(want) + 1)
				n := rng.IntN(3000)
				b := make([]byte, n)
				got, err := f.Open(key, int64(len(want))).ReadAt(b, int64(off))
				if left := len(want) - off; n > left && !errors.Is(err, io.EOF) || n <= left && err != nil || got != min(n, left) {
					t.Errorf("%d bytes from %d of %d: %d, %v", n, off, len(want), got, err)
					return
				}
				if !bytes.Equal(b[:got], want[off:off+got]) {
					t.Errorf("%d bytes from %d of %s are others", n, off, key)
				}
				if b := f.CachedBytes(); b > budget {
					t.Errorf("%d bytes are cached", b)
				}
				if b := onDisk(t, f.o.Dir); b > budget+4*1000 { // and those that go at this moment
					t.Errorf("%d bytes are on disk", b)
				}
			}
		})
	}
	wg.Wait()
	f.running.Wait() // what was asked for ahead
	if b := f.CachedBytes(); b == 0 || b != onDisk(t, f.o.Dir) {
		t.Errorf("%d bytes are cached, %d on disk", b, onDisk(t, f.o.Dir))
	}
}

func onDisk(t *testing.T, dir string) (sum int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // it may have gone
			sum += info.Size()
		}
	}
	return sum
}

func TestReadersOfOnePartShareOneRequest(t *testing.T) {
	s := newStore(5000)
	begin := make(chan struct{})
	s.hook = func(context.Context, string, int64) error { <-begin; return nil }
	f := open(t, Options{Bucket: s, Ahead: -1})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			b := make([]byte, 10)
			if _, err := f.Open("object0", 5000).ReadAt(b, int64(2000+i)); err != nil || !bytes.Equal(b, s.content["object0"][2000+i:2010+i]) {
				t.Error(err)
			}
		})
	}
	for f.users(partKey{"object0", 2}) < 21 { // all wait, and the request itself
		time.Sleep(time.Millisecond)
	}
	close(begin)
	wg.Wait()
	if n := s.reads.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// users is how many hold a part.
func (f *Fetcher) users(k partKey) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.parts[k]; p != nil {
		return p.users
	}
	return 0
}

func TestWhoReadsOnHasTheNextPartsFetchedSideBySide(t *testing.T) {
	s := newStore(10_000)
	together := make(chan struct{})
	var arrived atomic.Int64
	s.hook = func(_ context.Context, _ string, off int64) error {
		if off >= 2000 && off < 6000 { // those ahead of the second part
			if arrived.Add(1) == 4 {
				close(together)
			}
			<-together // returns only when four requests are under way
		}
		return nil
	}
	f := open(t, Options{Bucket: s, Ahead: 4})
	o := f.Open("object0", 10_000)
	b := make([]byte, 500)
	for off := int64(0); off < 6000; off += 500 {
		if _, err := o.ReadAt(b, off); err != nil || !bytes.Equal(b, s.content["object0"][off:off+500]) {
			t.Fatal(off, err)
		}
	}
	if n := s.reads.Load(); n > 10 {
		t.Errorf("%d requests for ten parts", n)
	}
}

func TestWhatCannotBeReadIsAnErrorAndIsAskedForAgain(t *testing.T) {
	s := newStore(5000)
	var kinds sync.Map
	f := open(t, Options{Bucket: s, Ahead: -1, Retry: time.Nanosecond, Events: Events{Failed: func(kind string) { kinds.Store(kind, true) }}})
	var fail atomic.Pointer[error]
	s.hook = func(context.Context, string, int64) error {
		if err := fail.Load(); err != nil {
			return *err
		}
		return nil
	}
	b := make([]byte, 10)
	for kind, err := range map[string]error{
		"unavailable": fmt.Errorf("503: %w", bucket.ErrUnavailable), "refused": bucket.ErrRefused, "not_found": bucket.ErrNotFound,
	} {
		fail.Store(&err)
		if _, got := f.Open("object0", 5000).ReadAt(b, 0); !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
		if _, ok := kinds.Load(kind); !ok {
			t.Errorf("%s was not told", kind)
		}
	}
	if _, err := f.Open("object0", 6000).ReadAt(b, 5500); err == nil {
		t.Error("beyond the end of what the bucket has")
	}
	fail.Store(nil)
	if _, err := f.Open("object0", 5000).ReadAt(b, 0); err != nil || !bytes.Equal(b, s.content["object0"][:10]) {
		t.Errorf("after the failures: %v", err)
	}
}

func TestAFailureThatPassesIsNotSeen(t *testing.T) {
	s := newStore(5000)
	var left atomic.Int64
	left.Store(2)
	s.hook = func(context.Context, string, int64) error {
		if left.Add(-1) >= 0 {
			return bucket.ErrUnavailable
		}
		return nil
	}
	f := open(t, Options{Bucket: s})
	if _, err := f.Open("object0", 5000).ReadAt(make([]byte, 10), 0); err != nil || s.reads.Load() != 3 {
		t.Errorf("%d requests, %v", s.reads.Load(), err)
	}
}

func TestACacheThatRottedIsReadOnceMore(t *testing.T) {
	s := newStore(3000)
	f := open(t, Options{Bucket: s, Ahead: -1})
	o := f.Open("object0", 3000)
	b := make([]byte, 10)
	if _, err := o.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(f.o.Dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(b, 0); err != nil || !bytes.Equal(b, make([]byte, 10)) {
		t.Fatalf("the rot was not felt: %x, %v", b, err)
	}
	f.Forget("object0")
	if _, err := o.ReadAt(b, 0); err != nil || !bytes.Equal(b, s.content["object0"][:10]) {
		t.Errorf("%x, %v", b, err)
	}
	if n := f.CachedBytes(); n != 1000 || n != onDisk(t, f.o.Dir) {
		t.Errorf("%d bytes are cached, %d on disk", n, onDisk(t, f.o.Dir))
	}
}

func TestADiskThatTakesNothingCostsOnlyTheCache(t *testing.T) {
	s := newStore(5000)
	var uncached atomic.Int64
	f := open(t, Options{Bucket: s, Ahead: -1, Events: Events{Uncached: func(error) { uncached.Add(1) }}})
	if err := os.RemoveAll(f.o.Dir); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5000)
	if _, err := f.Open("object0", 5000).ReadAt(b, 0); err != nil || !bytes.Equal(b, s.content["object0"]) {
		t.Error(err)
	}
	if uncached.Load() != 5 || f.CachedBytes() != 0 {
		t.Errorf("%d parts were not kept, %d bytes are", uncached.Load(), f.CachedBytes())
	}
}

func TestAReaderThatGivesUpLeavesTheRequestToOthers(t *testing.T) {
	s := newStore(5000)
	begin, asked := make(chan struct{}), make(chan struct{})
	s.hook = func(context.Context, string, int64) error { close(asked); <-begin; return nil }
	f := open(t, Options{Bucket: s, Ahead: -1})
	o := f.Open("object0", 5000)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := o.WithContext(ctx).ReadAt(make([]byte, 10), 0); gone <- err }()
	<-asked
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stays := make(chan error)
	go func() { _, err := o.ReadAt(make([]byte, 10), 0); stays <- err }()
	close(begin)
	if err := <-stays; err != nil || s.reads.Load() != 1 {
		t.Errorf("%d requests, %v", s.reads.Load(), err)
	}
}

func TestClosingEndsWhoWaits(t *testing.T) {
	s := newStore(5000)
	asked := make(chan struct{})
	s.hook = func(ctx context.Context, _ string, _ int64) error { close(asked); <-ctx.Done(); return ctx.Err() }
	f := open(t, Options{Bucket: s, Ahead: -1})
	done := make(chan error)
	go func() { _, err := f.Open("object0", 5000).ReadAt(make([]byte, 10), 0); done <- err }()
	<-asked
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := f.Open("object0", 5000).ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestTheLimitHoldsForAllReadersTogether(t *testing.T) {
	s := newStore(20_000, 20_000)
	limit := NewLimit(50_000, 1000) // a burst of 50,000
	limit.AllowN(time.Now(), 50_000)
	f := open(t, Options{Bucket: s, Limit: limit})
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if _, err := f.Open(fmt.Sprint("object", i), 20_000).ReadAt(make([]byte, 10_000), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took, least := time.Since(began), time.Duration(s.bytes.Load())*time.Second/50_000*9/10; took < least {
		t.Errorf("%d bytes in %s", s.bytes.Load(), took)
	}
}

func BenchmarkReadAtOfWhatIsCached(b *testing.B) {
	s := newStore(16 << 20)
	f := open(b, Options{Bucket: s, PartBytes: 4 << 20})
	o := f.Open("object0", 16<<20)
	buf := make([]byte, 400<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if off+int64(len(buf)) > o.Size() {
			off = 0
		}
		if _, err := o.ReadAt(buf, off); err != nil {
			b.Fatal(err)
		}
		off += int64(len(buf))
	}
}
