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
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is a call of Read.
type request struct {
	key    string
	off, n int64
}

// store is a bucket in memory whose Reads are watched, held up and broken.
type store struct {
	*buckettest.Memory

	mu     sync.Mutex
	all    []request           // every one, in the order in which they came
	now    []request           // those under way
	most   int                 // of now at any time
	answer func(request) error // what Read gives instead, nil for the object
	cut    func(request) int64 // how many bytes Read gives of it
	gate   chan struct{}       // when it is set, a Read waits for a value or its end
	ended  atomic.Int64        // Reads whose context ended at the gate
}

func newStore(sizes ...int) *store {
	s := &store{Memory: buckettest.NewMemory()}
	for i, size := range sizes {
		b := make([]byte, size)
		r := rand.NewChaCha8([32]byte{byte(i + 1)})
		_, _ = r.Read(b) // never fails
		s.Objects[fmt.Sprintf("k%d", i)] = buckettest.Object{Bytes: b}
	}
	return s
}

func (s *store) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	req := request{key, off, n}
	s.mu.Lock()
	s.all, s.now = append(s.all, req), append(s.now, req)
	s.most = max(s.most, len(s.now))
	gate, answer, cut := s.gate, s.answer, s.cut
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.Index(s.now, req)
		s.now = slices.Delete(s.now, i, i+1)
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			s.ended.Add(1)
			return nil, ctx.Err()
		}
	}
	if answer != nil {
		if err := answer(req); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	r, err := s.Memory.Read(ctx, key, off, n)
	if err == nil && cut != nil {
		r = io.NopCloser(io.LimitReader(r, cut(req)))
	}
	return r, err
}

// truth is what an object holds.
func (s *store) truth(key string) []byte { return s.Snapshot()[key] }

// requests returns how many Reads there were, and the offsets of those under way.
func (s *store) requests() (all int, now []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.now {
		now = append(now, r.off)
	}
	slices.Sort(now)
	return len(s.all), now
}

// counts are the events of a Fetcher.
type counts struct {
	fetched, fetchedBytes, hit, failed, uncached atomic.Int64

	mu   sync.Mutex
	errs []error
}

func (c *counts) events() Events {
	return Events{
		Fetched:  func(n int64, _ time.Duration) { c.fetched.Add(1); c.fetchedBytes.Add(n) },
		Hit:      func(n int64) { c.hit.Add(n) },
		Uncached: func(_ int64, err error) { c.uncached.Add(1); c.note(err) },
		Failed:   func(_ string, err error) { c.failed.Add(1); c.note(err) },
	}
}

func (c *counts) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

const testPart = 1000 // bytes

// start opens a Fetcher with parts of testPart bytes over s.
func start(t testing.TB, s *store, set func(*Options)) (*Fetcher, *counts) {
	t.Helper()
	c := &counts{}
	o := Options{
		Bucket: s, Dir: filepath.Join(t.TempDir(), "cache"), PartBytes: testPart, CacheBytes: 100 * testPart, Ahead: -1,
		Logger: slog.New(slog.DiscardHandler), Events: c.events(),
	}
	if set != nil {
		set(&o)
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

// end closes a Fetcher, which must leave nothing.
func end(t testing.TB, f *Fetcher) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.o.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if n := len(f.free); n > f.o.MaxRequests {
		t.Errorf("%d buffers for %d requests", n, f.o.MaxRequests)
	}
}

// settle waits until no flight is under way; nobody may read meanwhile.
func (f *Fetcher) settle() { f.flying.Wait() }

// open opens an object of s.
func open(f *Fetcher, s *store, key string) *Object {
	return f.Open(key, int64(len(s.truth(key))))
}

// check reads n bytes at off and compares them to the truth.
func check(t testing.TB, s *store, o *Object, off, n int64) {
	t.Helper()
	b := make([]byte, n)
	got, err := o.ReadAt(b, off)
	truth := s.truth(o.h.key)
	want := truth[min(off, int64(len(truth))):min(off+n, int64(len(truth)))]
	if wantErr := int64(len(want)) < n; got != len(want) || wantErr && !errors.Is(err, io.EOF) || !wantErr && err != nil {
		t.Errorf("%s at %d: %d bytes of %d, %v", o.h.key, off, got, len(want), err)
	} else if !bytes.Equal(b[:got], want) {
		t.Errorf("%s at %d: other bytes", o.h.key, off)
	}
}

// files returns the paths of the cached parts and how long they are together.
func files(t testing.TB, dir string) (paths []string, sum int64) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range all {
		if st, err := e.Info(); err == nil {
			paths, sum = append(paths, filepath.Join(dir, e.Name())), sum+st.Size()
		}
	}
	return paths, sum
}
