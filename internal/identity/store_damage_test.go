package identity

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cistern-archive/cistern/index/disposable"
	"github.com/cistern-archive/cistern/testing/await"
)

func TestAValueThatIsDamagedIsALookupAndNoMore(t *testing.T) {
	clock, dir := newHand(), filepath.Join(t.TempDir(), "identity")
	o := storedOptions(vfs.Default, clock)
	o.Dir = dir
	r := on(t, honestWire(t), o)
	mustLookup(t, r, someDID, false)
	r.Close()
	raw(t, dir, func(_ *disposable.Store, b *pebble.Batch) {
		must(t, b.Set(documentKey(someDID), []byte("\x01short"), nil))
	})
	var log logged
	o.Logger = log.logger()
	w := honestWire(t)
	r = on(t, w, o)
	for i := range 5 {
		mustLookup(t, r, plcDID(i), false)
		mustLookup(t, r, someDID, false)
	}
	if n := w.count("plc.example"); n != 6 {
		t.Errorf("%d requests for 6 accounts", n)
	}
	r.Close()
	if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "can no longer be used") {
		t.Errorf("it says %q", lines)
	}
	r = on(t, w, o) // discarded, and good again
	mustLookup(t, r, someDID, false)
	r.Close()
	r = on(t, w, o)
	n := w.count("plc.example")
	mustLookup(t, r, someDID, false)
	if w.count("plc.example") != n {
		t.Error("the new store holds nothing")
	}
}

// full is a file system that has no room while it is told to.
type full struct {
	mu    sync.Mutex
	on    bool
	fired int
}

func (f *full) fs() vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.on && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			f.fired++
			return syscall.ENOSPC
		}
		return nil
	}))
}

func (f *full) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func TestAFullDiskHoldsUpNobodyAndNothingOldIsBelievedAfterIt(t *testing.T) {
	var disk full
	fs, clock, w := disk.fs(), newHand(), honestWire(t)
	var log logged
	o := storedOptions(fs, clock)
	o.CacheBytes, o.Logger = 1, log.logger()
	r := on(t, w, o)
	mustLookup(t, r, someDID, false)
	mustLookup(t, r, plcDID(0), false)
	r.store.flush(t.Context())
	must(t, r.store.db.DB().Flush())
	disk.set(true)

	// The disk is found full, then more comes than the store can keep, and a document
	// changes.
	filler := Identity{Key: keyFor(t, "k256"), Host: strings.Repeat("h", 200)}
	r.store.put(plcDID(99), &filler)
	until(t, "the disk to be full", func() bool {
		r.store.flush(t.Context())
		_ = r.store.db.Persist(t.Context()) // it fails
		return r.store.db.Err() != nil
	})
	r.store.mu.Lock()
	r.store.room = 64 << 10
	r.store.mu.Unlock()
	for i := range 1000 {
		r.store.put(plcDID(i+100), &filler)
	}
	w.always("plc.example", func() answer { return doc(docOf(t, someDID, "new.example")) })
	if id, err := r.Refresh(t.Context(), someDID); err != nil || id.Host != "new.example" {
		t.Fatalf("%+v, %v", id, err)
	}
	disk.mu.Lock()
	if disk.fired == 0 {
		t.Fatal("the disk was never full")
	}
	disk.mu.Unlock()
	r.store.mu.Lock()
	if r.store.bytes > 2*r.store.room {
		t.Errorf("%d bytes are pending", r.store.bytes)
	}
	r.store.mu.Unlock()
	if n := strings.Count(strings.Join(log.lines(), "\n"), "fast enough"); n != 1 {
		t.Errorf("said %d times: %q", n, log.lines())
	}
	// Other documents push it out of memory.
	w.set("plc.example", func(path string) answer {
		if path[1:] == someDID {
			return doc(docOf(t, someDID, "new.example"))
		}
		return doc(docOf(t, path[1:], "pds.example"))
	})
	for i := range 20 * cacheShards {
		mustLookup(t, r, plcDID(i+1_000_000), false)
	}
	if _, ok, _ := r.Cached(someDID); ok {
		t.Fatal("memory has it still")
	}
	disk.set(false)
	clock.move(time.Minute)
	until(t, "the store to be written again", func() bool {
		return !r.store.flush(t.Context()) && r.store.db.Err() == nil && func() bool {
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			return len(r.store.pending) == 0
		}()
	})
	n := w.count("plc.example")
	if id := mustLookup(t, r, someDID, false); id.Host != "new.example" {
		t.Errorf("the old document is believed: %+v", id)
	}
	if w.count("plc.example") == n {
		t.Error("nobody was asked")
	}
	r.Close()

	w.down()
	r = on(t, w, o) // the next start knows as well
	mustLookup(t, r, plcDID(0), true)
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.Until(t, 20*time.Second, what, cond)
}

func TestAPowerCutLosesTheLastSecondsOnly(t *testing.T) {
	fs, clock, w := vfs.NewCrashableMem(), newHand(), honestWire(t)
	must(t, fs.MkdirAll(storeDir, 0o755))
	for _, dir := range []string{"", "data"} { // the folder itself is there to stay
		d, err := fs.OpenDir(dir)
		must(t, err)
		must(t, errors.Join(d.Sync(), d.Close()))
	}
	r := on(t, w, storedOptions(fs, clock))
	for i := range 100 {
		mustLookup(t, r, plcDID(i), false)
	}
	r.store.flush(t.Context())
	must(t, r.store.db.DB().Flush())
	mustLookup(t, r, someDID, false)
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	r.Close()
	w.down()
	r = on(t, w, storedOptions(crashed, clock))
	for i := range 100 {
		mustLookup(t, r, plcDID(i), false)
	}
}
