package index

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cistern-archive/cistern/index/disposable"
	"github.com/cistern-archive/cistern/testing/await"
)

// filesOf reads every file of an index.
func filesOf(t *testing.T, fs vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fs.List(testDir)
	must(t, err)
	files := make(map[string][]byte)
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin(testDir, name))
		must(t, err)
		b, err := io.ReadAll(f)
		must(t, errors.Join(err, f.Close()))
		files[name] = b
	}
	return files
}

func restored(t *testing.T, files map[string][]byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	must(t, fs.MkdirAll(testDir, 0o755))
	for name, b := range files {
		f, err := fs.Create(fs.PathJoin(testDir, name), "unspecified")
		must(t, err)
		_, err = f.Write(append([]byte(nil), b...))
		must(t, errors.Join(err, f.Close()))
	}
	return fs
}

// pickByte chooses a byte of a file that matters, each kind of file alike.
func pickByte(rng *rand.Rand, files map[string][]byte) (name string, at int) {
	var kinds [2][]string
	for n, b := range files {
		switch {
		case len(b) == 0:
		case strings.HasSuffix(n, ".sst"):
			kinds[0] = append(kinds[0], n)
		case strings.HasPrefix(n, "MANIFEST"), strings.HasPrefix(n, "OPTIONS"):
			kinds[1] = append(kinds[1], n)
		}
	}
	kind := kinds[rng.IntN(2)]
	name = kind[rng.IntN(len(kind))]
	at = rng.IntN(len(files[name]))
	if rng.IntN(3) == 0 { // the end of a file is its dense part
		at = len(files[name]) - 1 - rng.IntN(min(200, len(files[name])))
	}
	return name, at
}

func TestAFlippedByteIsNeverBelieved(t *testing.T) {
	rng := seeded(t)
	h := newHistory(rng)
	h.spread = 25
	changes := h.changes(2000)
	whole := truthOf(changes)
	fs := vfs.NewMem()
	o := options(fs, uint64(len(changes)))
	o.MemTableBytes = 64 << 10
	x := mustOpen(t, o)
	run(t, x, rng, changes)
	// In one large table, so that no compaction finds the damage before a reader does.
	must(t, x.store.DB().Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	mustClose(t, x)
	files := filesOf(t, fs)
	atOpen, atRead, behind, harmless := 0, 0, 0, 0
	for range rounds(t, 60) {
		name, at := pickByte(rng, files)
		bit := byte(1) << rng.IntN(8)
		files[name][at] ^= bit
		o.FS = restored(t, files)
		files[name][at] ^= bit

		x := mustOpen(t, o)
		applied := x.Applied()
		w := whole
		if int(applied) < len(changes) {
			w = truthOf(changes[:applied])
		}
		err := w.compare(x)
		switch {
		case x.Discarded() != "":
			atOpen++
		case err != nil:
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s, byte %d, bit %#x: at seq %d it says %v", name, at, bit, applied, err)
			}
			if x.Err() == nil {
				t.Fatalf("%s, byte %d: damaged and still written to", name, at)
			}
			atRead++
			_ = x.Close() // it says that it is damaged
			x = mustOpen(t, o)
			if x.Discarded() == "" {
				t.Fatalf("%s, byte %d: damaged and kept", name, at)
			}
		case int(applied) < len(changes):
			behind++
		default:
			harmless++
		}
		if rng.IntN(10) == 0 {
			run(t, x, rng, changes)
			if err := whole.compare(x); err != nil {
				t.Fatalf("%s, byte %d: after the log: %v", name, at, err)
			}
		}
		_ = x.Close() // what a compaction finds now is found
	}
	t.Logf("found at open %d, at reading %d, an older version %d, harmless %d", atOpen, atRead, behind, harmless)
	if atOpen == 0 || atRead == 0 {
		t.Error("no damage was found")
	}
}

func TestAFileThatIsMissingLeadsToANewIndex(t *testing.T) {
	fs := vfs.NewMem()
	fill(t, fs, 500)
	for name := range filesOf(t, fs) {
		if strings.HasSuffix(name, ".sst") {
			must(t, fs.Remove(fs.PathJoin(testDir, name)))
		}
	}
	x := mustOpen(t, options(fs, 500))
	defer mustClose(t, x)
	if x.Discarded() == "" || x.Applied() != 0 {
		t.Errorf("applied %d, discarded %q", x.Applied(), x.Discarded())
	}
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.Until(t, 20*time.Second, what, cond)
}

func noSpace(only string) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, only) {
			return syscall.ENOSPC
		}
		return nil
	}
}

func TestAFullDiskPausesTheIndexAndNothingIsLost(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(1000)
	fs := newCrashFS(rng, 0)
	x := mustOpen(t, options(fs, 1000))
	run(t, x, rng, changes[:500])
	fs.setFail(noSpace(".sst"))
	_ = x.Persist(t.Context()) // one that is under way may have failed by now
	until(t, "the failure to be seen", func() bool { return x.Err() != nil })
	if err := x.NewBatch().Commit(t.Context(), 600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a commit on a full disk: %v", err)
	}
	if err := truthOf(changes[:500]).compare(x); err != nil {
		t.Errorf("while the disk is full: %v", err)
	}
	fs.setFail(nil)
	until(t, "space to be noticed", func() bool { return x.Err() == nil })
	run(t, x, rng, changes)
	mustClose(t, x)
	x = mustOpen(t, options(fs, 1000))
	defer mustClose(t, x)
	if err := truthOf(changes).compare(x); err != nil || x.Discarded() != "" {
		t.Errorf("%v, %s", err, x.Discarded())
	}
}

func TestAFullDiskDoesNotKeepFromStopping(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(500)
	fs := newCrashFS(rng, 0)
	x := mustOpen(t, options(fs, 1000))
	run(t, x, rng, changes)
	fs.setFail(noSpace(".sst"))
	began := time.Now()
	if err := x.Close(); err == nil {
		t.Error("closed as if all were written")
	}
	if took := time.Since(began); took > 2*disposable.CloseWithin {
		t.Errorf("took %v", took)
	}
	fs.setFail(nil)
	x = mustOpen(t, options(fs, 1000))
	defer mustClose(t, x)
	if err := truthOf(changes[:x.Applied()]).compare(x); err != nil {
		t.Error(err)
	}
}

// alone runs a test in a process of its own, since a store that Pebble gave up is
// left as it is, goroutines and all, until the process ends.
func alone(t *testing.T, test func(t *testing.T)) {
	if os.Getenv("CISTERN_TEST_ALONE") != "" {
		test(t)
		if t.Failed() {
			os.Exit(1)
		}
		os.Exit(0)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "CISTERN_TEST_ALONE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// What Pebble takes for fatal must end neither the process nor the relay's stop.
func TestAManifestThatCannotBeWrittenEndsTheIndexAndNothingElse(t *testing.T) {
	alone(t, func(t *testing.T) {
		rng := seeded(t)
		changes := newHistory(rng).changes(1000)
		for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
			fs := newCrashFS(rng, 0)
			x := mustOpen(t, options(fs, 1000))
			run(t, x, rng, changes[:500])
			fs.setFail(func(op errorfs.Op) error {
				if op.Kind == kind && strings.Contains(op.Path, "MANIFEST") {
					return syscall.EIO
				}
				return nil
			})
			_ = x.Persist(t.Context()) // one that is under way may have failed by now
			until(t, "the failure to be seen", func() bool { return x.Err() != nil })
			if err := x.NewBatch().Commit(t.Context(), 600); err == nil {
				t.Error("a dead index took a batch")
			}
			if err := x.each(span(spaceTime), nil); !errors.Is(err, x.Err()) {
				t.Errorf("a dead index is read: %v", err)
			}
			if err := x.Close(); err == nil {
				t.Error("a dead index closed without a word")
			}
			fs.setFail(nil)
			left := options(restored(t, filesOf(t, fs)), 1000) // the lock went with the process
			x = mustOpen(t, left)
			if x.Discarded() == "" {
				t.Errorf("kept, at seq %d", x.Applied())
			}
			mustClose(t, x)
		}
	})
}

func TestAManifestWaitsForSpace(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(1000)
	fs := newCrashFS(rng, 0)
	x := mustOpen(t, options(fs, 1000))
	var refused atomic.Bool
	fs.setFail(func(op errorfs.Op) error {
		err := noSpace("MANIFEST-000001")(op)
		refused.Store(refused.Load() || err != nil)
		return err
	})
	b := x.NewBatch()
	for i := range 50 {
		b.change(uint64(i+1), &changes[i])
	}
	must(t, b.Commit(t.Context(), 50))
	must(t, x.Persist(t.Context()))
	until(t, "the manifest to be refused", refused.Load)
	fs.setFail(nil)
	run(t, x, rng, changes)
	mustClose(t, x)
	x = mustOpen(t, options(fs, 1000))
	defer mustClose(t, x)
	if err := truthOf(changes).compare(x); err != nil || x.Discarded() != "" {
		t.Errorf("%v, %s", err, x.Discarded())
	}
}

func TestAFullDiskAtTheStartIsNoReasonToDiscard(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(500)
	fs := newCrashFS(rng, 0)
	x := mustOpen(t, options(fs, 1000))
	run(t, x, rng, changes)
	mustClose(t, x)
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpCreate} {
		fs.setFail(func(op errorfs.Op) error {
			if op.Kind == kind && !strings.HasSuffix(op.Path, "LOCK") {
				return syscall.ENOSPC
			}
			return nil
		})
		if x, err := Open(options(fs, 1000)); err == nil {
			_ = x.Close() // the test has failed
			t.Fatal("opened on a full disk")
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it says %v", err)
		}
	}
	fs.setFail(nil)
	x = mustOpen(t, options(fs, 1000))
	defer mustClose(t, x)
	if err := truthOf(changes).compare(x); err != nil || x.Discarded() != "" {
		t.Errorf("%v, %s", err, x.Discarded())
	}
}

func TestFailuresAtRandomNeverEndTheProcess(t *testing.T) {
	alone(t, failAtRandom)
}

func failAtRandom(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(800)
	fired := 0
	for range rounds(t, 15) {
		fs := newCrashFS(rng, 0)
		o := options(fs, 1000)
		o.MemTableBytes = 64 << 10
		x := mustOpen(t, o)
		left, every := rng.IntN(30), 1+rng.IntN(3)
		fs.setFail(func(op errorfs.Op) error {
			if left--; left < 0 && -left%every == 0 && op.Kind != errorfs.OpRemove {
				fired++
				return []error{syscall.EIO, syscall.ENOSPC}[every%2]
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		for at := 0; at < len(changes); {
			b := x.NewBatch()
			for end := min(len(changes), at+40); at < end; at++ {
				b.change(uint64(at+1), &changes[at])
			}
			if b.Commit(ctx, uint64(at)) != nil {
				break
			}
			if rng.IntN(3) == 0 {
				_ = x.Persist(ctx) // it may be failing by now
			}
		}
		cancel()
		_ = x.Close() // the same
		fs.setFail(nil)
		o.FS = restored(t, filesOf(t, fs))
		x = mustOpen(t, o)
		if err := truthOf(changes[:x.Applied()]).compare(x); err != nil {
			t.Fatal(err)
		}
		mustClose(t, x)
	}
	if fired == 0 {
		t.Error("nothing failed")
	}
}
