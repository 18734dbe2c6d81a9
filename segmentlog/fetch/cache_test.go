package fetch

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// auditFS walks its folder after each write and each removal of a file, one at a time.
type auditFS struct {
	vfs.FS
	t   testing.TB
	dir string

	mu       sync.Mutex
	most     int64 // bytes of all files at any time
	writes   int
	removals int
}

func (a *auditFS) walk() {
	if _, err := os.Stat(a.dir); err == nil {
		_, sum := files(a.t, a.dir)
		a.most = max(a.most, sum)
	}
}

func (a *auditFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := a.FS.OpenReadWrite(name, c, opts...)
	return &auditFile{f, a}, err
}

func (a *auditFS) Remove(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removals++
	a.walk()
	return a.FS.Remove(name)
}

type auditFile struct {
	vfs.File
	a *auditFS
}

func (f *auditFile) WriteAt(b []byte, off int64) (int, error) {
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	f.a.writes++
	n, err := f.File.WriteAt(b, off)
	f.a.walk()
	return n, err
}

func TestTheCacheNeverHoldsMoreThanItsBudget(t *testing.T) {
	s := newStore(60*testPart, 30*testPart+17)
	seed := newSeed(t)
	const budget, requests = 10*testPart + 500, 3
	a := &auditFS{FS: vfs.Default, t: t}
	f, _ := start(t, s, func(o *Options) {
		a.dir, o.FS = o.Dir, a
		o.CacheBytes, o.MaxRequests, o.Ahead = budget, requests, 2
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			rng := seed.rng(i)
			for range 150 {
				key := []string{"k0", "k1"}[rng.IntN(2)]
				o := open(f, s, key)
				off := rng.Int64N(o.Size())
				check(t, s, o, off, rng.Int64N(4*testPart))
				if rng.IntN(10) == 0 {
					o.Forget(off, 1)
				}
				o.Close()
			}
		})
	}
	all.Wait()
	f.settle()
	if _, sum := files(t, a.dir); sum != f.cache.bytes || sum > budget {
		t.Errorf("%d bytes in the folder, %d counted, at most %d", sum, f.cache.bytes, budget)
	}
	end(t, f)
	if a.writes < 100 || a.removals < a.writes-12 {
		t.Errorf("%d files written and %d removed: that is no test of a budget", a.writes, a.removals)
	}
	if a.most > budget {
		t.Errorf("%d bytes in the folder, more than %d", a.most, budget)
	}
	if f.cache.bytes != 0 || f.cache.leaving != 0 {
		t.Errorf("%d bytes are counted at the end, %d leaving", f.cache.bytes, f.cache.leaving)
	}
}

func TestTheLeastRecentlyUsedPartGoes(t *testing.T) {
	s := newStore(10 * testPart)
	f, _ := start(t, s, func(o *Options) { o.CacheBytes = 3 * testPart })
	defer end(t, f)
	for _, part := range []int64{0, 1, 2, 0, 3} { // 1 goes
		check(t, s, open(f, s, "k0"), part*testPart, 10)
		f.settle()
	}
	for part, want := range map[int64]bool{0: true, 1: false, 2: true, 3: true} {
		if got := f.cache.parts[partID{"k0", 10 * testPart, part}] != nil; got != want {
			t.Errorf("part %d is cached: %v", part, got)
		}
	}
}

func TestAPartThatIsBeingReadStays(t *testing.T) {
	s := newStore(10 * testPart)
	f, c := start(t, s, func(o *Options) { o.CacheBytes = testPart })
	check(t, s, open(f, s, "k0"), 0, 10)
	f.settle()
	id := partID{"k0", 10 * testPart, 0}
	f.cache.mu.Lock()
	p, file := f.cache.pin(id)
	f.cache.mu.Unlock()
	check(t, s, open(f, s, "k0"), testPart, 10) // finds no room
	f.settle()
	if c.uncached.Load() != 1 || !errors.Is(c.errs[0], errNoRoom) {
		t.Errorf("%d parts not cached: %v", c.uncached.Load(), c.errs)
	}
	f.Forget("k0") // it goes when its reader does
	b := make([]byte, testPart)
	if err := f.cache.read(p, file, b, 0); err != nil || string(b) != string(s.truth("k0")[:testPart]) {
		t.Errorf("other bytes, or %v", err)
	}
	if paths, _ := files(t, f.o.Dir); len(paths) != 1 {
		t.Errorf("%d files while one is read", len(paths))
	}
	f.cache.unpin(p)
	if paths, _ := files(t, f.o.Dir); len(paths) != 0 {
		t.Errorf("%d files when it is read no more", len(paths))
	}
	end(t, f)
}

func TestAPartThatRottedInTheCacheIsReadOnceMoreWhenForgotten(t *testing.T) {
	for name, forget := range map[string]func(*Fetcher, *Object){
		"object":   func(_ *Fetcher, o *Object) { o.Forget(testPart+5, 1) },
		"the rest": func(_ *Fetcher, o *Object) { o.Forget(testPart+5, math.MaxInt64) },
		"fetcher":  func(f *Fetcher, _ *Object) { f.Forget("k0") },
	} {
		s := newStore(3 * testPart)
		f, _ := start(t, s, nil)
		o := open(f, s, "k0")
		check(t, s, o, testPart, testPart)
		f.settle()
		paths, _ := files(t, f.o.Dir)
		b, err := os.ReadFile(paths[0])
		if err != nil || len(paths) != 1 {
			t.Fatal(paths, err)
		}
		b[5] ^= 1
		if err := os.WriteFile(paths[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, testPart)
		if _, err := o.ReadAt(got, testPart); err != nil || string(got) != string(b) {
			t.Errorf("%s: the rot was not felt: %v", name, err)
		}
		o.Forget(0, testPart) // another part
		o.Forget(testPart, 0)
		if n, _ := s.requests(); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
		forget(f, o)
		check(t, s, o, testPart, testPart)
		if n, _ := s.requests(); n != 2 {
			t.Errorf("%s: %d requests, not two", name, n)
		}
		end(t, f)
	}
}

func TestAPartWithoutItsFileIsReadOnceMore(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"cut":  func(path string) error { return os.Truncate(path, 10) },
		"gone": os.Remove,
	} {
		s := newStore(3 * testPart)
		f, _ := start(t, s, nil)
		f.cache.maxOpen = 1
		for i := range int64(2) { // part 0 is open no more
			check(t, s, open(f, s, "k0"), i*testPart, testPart)
			f.settle()
		}
		f.cache.mu.Lock()
		p := f.cache.parts[partID{"k0", 3 * testPart, 0}]
		f.cache.mu.Unlock()
		if p.file != nil {
			t.Fatal("the file is open")
		}
		if err := spoil(p.path); err != nil {
			t.Fatal(err)
		}
		check(t, s, open(f, s, "k0"), 0, testPart)
		f.settle()
		if n, _ := s.requests(); n != 3 {
			t.Errorf("%s: %d requests, not three", name, n)
		}
		check(t, s, open(f, s, "k0"), 0, testPart)
		if n, _ := s.requests(); n != 3 {
			t.Errorf("%s: the new file is not used", name)
		}
		end(t, f)
	}
}

func TestAFullDiskKeepsNoReaderFromItsBytes(t *testing.T) {
	s := newStore(20 * testPart)
	var full atomic.Bool
	var hits atomic.Int64
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWriteAt {
			hits.Add(1)
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	})
	f, c := start(t, s, func(o *Options) { o.FS, o.Ahead = errorfs.Wrap(vfs.Default, inject), 4 })
	defer end(t, f)
	o := open(f, s, "k0")
	full.Store(true)
	for i := range int64(6) {
		check(t, s, o, i*testPart, testPart)
		f.settle()
	}
	if hits.Load() != 6 || c.uncached.Load() != 6 || !errors.Is(c.errs[0], syscall.ENOSPC) {
		t.Errorf("the disk was full %d times, and %d parts not cached: %v", hits.Load(), c.uncached.Load(), c.errs)
	}
	if paths, _ := files(t, f.o.Dir); len(paths) != 0 || f.cache.bytes != 0 {
		t.Errorf("%d files on the full disk, %d bytes counted", len(paths), f.cache.bytes)
	}
	if n, _ := s.requests(); n != 6 {
		t.Errorf("%d requests for six parts: there is no place for what is read ahead", n)
	}
	full.Store(false)
	for range 2 {
		check(t, s, o, 6*testPart, testPart)
		f.settle()
	}
	if n, _ := s.requests(); n != 7 || c.hit.Load() != testPart {
		t.Errorf("%d requests, %d bytes from the cache: it is used again", n, c.hit.Load())
	}
	check(t, s, o, 7*testPart, testPart)
	f.settle()
	if n, _ := s.requests(); n != 12 {
		t.Errorf("%d requests: parts are read ahead again", n)
	}
}

func TestAFetcherTakesOverWhatAnEarlierOneLeftAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	left, other := filepath.Join(dir, "00000001.part"), filepath.Join(dir, "precious")
	for _, path := range []string{left, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(1)
	if _, err := New(Options{Bucket: s, Dir: dir}); err == nil || !strings.Contains(err.Error(), "precious") {
		t.Errorf("a folder with other things in it: %v", err)
	}
	if paths, _ := files(t, dir); len(paths) != 2 {
		t.Errorf("%v are left of two files", paths)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	f, _ := start(t, s, func(o *Options) { o.Dir = dir })
	if paths, _ := files(t, dir); len(paths) != 0 {
		t.Errorf("%v are left", paths)
	}
	end(t, f)
}

func TestAReadFromTheCacheAllocatesNothing(t *testing.T) {
	s := newStore(10 * testPart)
	f, c := start(t, s, func(o *Options) { o.Ahead = 4 })
	defer end(t, f)
	o := open(f, s, "k0")
	check(t, s, o, 0, 10*testPart)
	f.settle()
	b, off := make([]byte, 1500), int64(0)
	before := c.hit.Load()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := o.ReadAt(b, off); err != nil {
			t.Error(err)
		}
		off = (off + 700) % (8 * testPart)
	}); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
	if hit := c.hit.Load() - before; hit < 100*1500 {
		t.Errorf("only %d bytes came from the cache", hit)
	}
}

func TestAPartIsReadFromMemoryWhileItIsWrittenAndCanBeForgottenThen(t *testing.T) {
	s := newStore(3 * testPart)
	writing, written := make(chan struct{}), make(chan struct{})
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			writing <- struct{}{}
			<-written
		}
		return nil
	})
	f, c := start(t, s, func(o *Options) { o.FS = errorfs.Wrap(vfs.Default, inject) })
	defer end(t, f)
	s.Objects["k0"].Bytes[5] ^= 1 // it is read wrong from the bucket, once
	o := open(f, s, "k0")
	check(t, s, o, 0, testPart)
	<-writing
	s.Objects["k0"].Bytes[5] ^= 1
	got := make([]byte, testPart)
	if _, err := o.ReadAt(got, 0); err != nil || got[5] != s.truth("k0")[5]^1 || c.hit.Load() != 0 {
		t.Errorf("it was not read from memory: %v", err)
	}
	o.Forget(0, 10)
	check(t, s, o, 0, testPart)
	<-writing // the right bytes
	close(written)
	f.settle()
	check(t, s, o, 0, testPart)
	if n, _ := s.requests(); n != 2 || c.hit.Load() != testPart {
		t.Errorf("%d requests, %d bytes from the cache", n, c.hit.Load())
	}
	if paths, sum := files(t, f.o.Dir); len(paths) != 1 || sum != f.cache.bytes {
		t.Errorf("%d files of %d bytes, %d counted", len(paths), sum, f.cache.bytes)
	}
}

func TestAFileThatIsBeingReadStaysOpenAndCloseWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10 * testPart)
		f, _ := start(t, s, nil)
		f.cache.maxOpen = 2
		check(t, s, open(f, s, "k0"), 0, 10)
		f.settle()
		f.cache.mu.Lock()
		p, file := f.cache.pin(partID{"k0", 10 * testPart, 0})
		f.cache.mu.Unlock()
		check(t, s, open(f, s, "k0"), testPart, 9*testPart)
		f.settle()
		if n := f.cache.open.Len(); n != 2 || p.file != file {
			t.Errorf("%d files are open", n)
		}
		closed := make(chan struct{})
		go func() { end(t, f); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		b := make([]byte, testPart)
		if err := f.cache.read(p, file, b, 0); err != nil || string(b) != string(s.truth("k0")[:testPart]) {
			t.Errorf("other bytes, or %v", err)
		}
		f.cache.unpin(p)
		<-closed
	})
}
