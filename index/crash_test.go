package index

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashFS keeps what a power cut at its n-th write operation would leave, and can
// fail operations.
type crashFS struct {
	vfs.FS
	mem *vfs.MemFS

	mu      sync.Mutex
	left    int // write operations until the cut
	percent int // of what is not synced that the cut leaves
	rng     *rand.Rand
	crashed *vfs.MemFS
	fail    func(errorfs.Op) error // may be nil
}

func newCrashFS(rng *rand.Rand, left int) *crashFS {
	c := &crashFS{mem: vfs.NewCrashableMem(), left: left, percent: []int{0, 50, 100}[rng.IntN(3)]}
	c.rng = rand.New(rand.NewPCG(rng.Uint64(), 1)) // used from Pebble's goroutines
	c.FS = errorfs.Wrap(c.mem, errorfs.InjectorFunc(c.inject))
	return c
}

func (c *crashFS) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.cut()
	}
	if c.fail != nil {
		return c.fail(op)
	}
	return nil
}

func (c *crashFS) cut() {
	c.crashed = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
}

func (c *crashFS) setFail(f func(errorfs.Op) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = f
}

// run applies changes from the index's watermark to the end, in random batches.
func run(t *testing.T, x *Index, rng *rand.Rand, changes []change) {
	t.Helper()
	for at := int(x.Applied()); at < len(changes); {
		end := min(len(changes), at+1+rng.IntN(len(changes)/20))
		b := x.NewBatch()
		for i := at; i < end; i++ {
			b.change(uint64(i+1), &changes[i])
		}
		at = end
		if err := b.Commit(t.Context(), uint64(at)); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(8) == 0 {
			if err := x.Persist(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func truthOf(changes []change) *truth {
	w := newTruth()
	for i := range changes {
		w.apply(uint64(i+1), &changes[i])
	}
	return w
}

func TestAfterACrashTheIndexIsOfAPrefixAndTheRestOfTheLogCompletesIt(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(800)
	whole := truthOf(changes)
	fired, kept, behind, discarded := 0, 0, 0, 0
	for range rounds(t, 150) {
		fs := newCrashFS(rng, 1+rng.IntN(80))
		o := options(fs, uint64(len(changes)))
		o.MemTableBytes = 64 << 10
		x := mustOpen(t, o)
		run(t, x, rng, changes)
		mustClose(t, x)
		fs.mu.Lock()
		if fs.crashed == nil {
			fs.cut()
		} else {
			fired++
		}
		o.FS = fs.crashed
		fs.mu.Unlock()

		x = mustOpen(t, o)
		if x.Applied() > 0 {
			kept++
		}
		if int(x.Applied()) < len(changes) {
			behind++
		}
		if r := x.Discarded(); r != "" {
			discarded++
		}
		if err := truthOf(changes[:x.Applied()]).compare(x); err != nil {
			t.Fatalf("after the crash, at seq %d: %v", x.Applied(), err)
		}
		run(t, x, rng, changes)
		if err := whole.compare(x); err != nil {
			t.Fatalf("after the rest of the log: %v", err)
		}
		mustClose(t, x)
	}
	t.Logf("%d crashes within the run, %d kept something, %d were behind, %d discarded", fired, kept, behind, discarded)
	if fired < 50 || kept < 20 || behind < 50 {
		t.Error("the crashes did not fall where they should")
	}
}

func TestACutOfPowerWhileAnIndexIsDiscardedLeavesNothingOfIt(t *testing.T) {
	rng := seeded(t)
	changes := newHistory(rng).changes(400)
	fired := 0
	for range rounds(t, 150) {
		fs := newCrashFS(rng, 0)
		o := options(fs, uint64(len(changes)))
		x := mustOpen(t, o)
		run(t, x, rng, changes)
		mustClose(t, x)
		fs.mu.Lock()
		fs.left = 1 + rng.IntN(25)
		fs.mu.Unlock()

		o.Stream = strings.Repeat("e", 32)
		mustClose(t, mustOpen(t, o))
		fs.mu.Lock()
		if fs.crashed == nil {
			fs.cut()
		} else {
			fired++
		}
		o.FS = fs.crashed
		fs.mu.Unlock()
		x = mustOpen(t, o)
		if err := newTruth().compare(x); err != nil || x.Applied() != 0 {
			t.Fatalf("at seq %d: %v", x.Applied(), err)
		}
		mustClose(t, x)
	}
	if fired < 25 {
		t.Errorf("only %d crashes fell into the discarding", fired)
	}
}
