package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	"github.com/cistern-archive/cistern/internal/signing"
)

const storeDir = "data/identity"

// logged collects what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines are those of warnings and errors.
func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// stored returns options of a resolver with a store, by a clock.
func storedOptions(fs vfs.FS, clock *hand) Options {
	return Options{Dir: storeDir, FS: fs, Now: clock.now, PLCHosts: []string{"https://plc.example"}}
}

// on starts a resolver on a wire.
func on(t *testing.T, w *wire, o Options) *Resolver {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.fetch.plcHTTP.Transport, r.fetch.webHTTP.Transport = w, w
	t.Cleanup(r.Close)
	return r
}

func newHand() *hand { return &hand{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func honestWire(t *testing.T) *wire {
	w := new(wire)
	w.set("plc.example", func(path string) answer { return doc(docOf(t, path[1:], "pds.example")) })
	return w
}

func (w *wire) down() { w.always("plc.example", func() answer { return answer{status: 503} }) }

func mustLookup(t *testing.T, r *Resolver, did string, stale bool) Identity {
	t.Helper()
	id, err := r.Lookup(t.Context(), did)
	if err != nil || id.Stale != stale || id.DID != did || id.Key == nil || id.Host == "" {
		t.Fatalf("%s: %+v, %v; want stale %v", did, id, err, stale)
	}
	return id
}

func TestARestartDuringAnOutageStopsNobodyWhoseDocumentIsKnown(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	before := mustLookup(t, r, someDID, false)
	r.Close()

	w.down()
	asked := w.count("plc.example")
	for _, c := range []struct {
		age   time.Duration
		stale bool
		asks  int
	}{{time.Hour, false, 0}, {freshFor - time.Minute, false, 0}, {freshFor + time.Minute, true, 1}, {freshFor + staleFor - time.Minute, true, 1}} {
		clock.move(c.age - clock.now().Sub(before.Fetched))
		r = on(t, w, storedOptions(fs, clock))
		if _, ok, _ := r.Cached(someDID); ok {
			t.Fatal("Cached reads the disk")
		}
		id := mustLookup(t, r, someDID, c.stale)
		if id.Hash != before.Hash || id.Host != before.Host || !id.Key.Equal(before.Key) || !id.Fetched.Equal(before.Fetched) {
			t.Errorf("after %v: %+v, want %+v", c.age, id, before)
		}
		if n := w.count("plc.example") - asked; n != c.asks {
			t.Errorf("after %v: %d requests, want %d", c.age, n, c.asks)
		}
		if id, err := r.Refresh(t.Context(), someDID); err != nil || !id.Stale {
			t.Errorf("Refresh after %v: %+v, %v", c.age, id, err)
		}
		asked = w.count("plc.example")
		r.Close()
	}
	clock.move(2 * time.Minute)
	r = on(t, w, storedOptions(fs, clock))
	if _, err := r.Lookup(t.Context(), someDID); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after more than eight days: %v", err)
	}
}

func TestAnIdentityEventAfterARestartIsComparedWithTheStore(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	r.Close()
	w.always("plc.example", func() answer { return doc(docOf(t, someDID, "new.example")) })
	r = on(t, w, storedOptions(fs, clock))
	if id, changed, err := r.Announced(t.Context(), someDID); err != nil || !changed || id.Host != "new.example" {
		t.Errorf("%+v, changed %v, %v", id, changed, err)
	}
	r.Close()
	w.down()
	r = on(t, w, storedOptions(fs, clock))
	if id := mustLookup(t, r, someDID, false); id.Host != "new.example" {
		t.Errorf("the store has host %s", id.Host)
	}
}

func TestWhatIsGoneIsGoneFromTheStore(t *testing.T) {
	for name, a := range map[string]answer{
		"tombstone": {status: 410},
		"no PDS":    doc(strings.Replace(docOf(t, someDID, "pds.example"), "atproto_pds", "other", 1)),
	} {
		fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
		r := on(t, w, storedOptions(fs, clock))
		mustLookup(t, r, someDID, false)
		r.Close()
		w.always("plc.example", func() answer { return a })
		r = on(t, w, storedOptions(fs, clock))
		if _, err := r.Refresh(t.Context(), someDID); !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnusable) {
			t.Fatalf("%s: %v", name, err)
		}
		r.Close()
		w.down()
		r = on(t, w, storedOptions(fs, clock))
		if id, err := r.Lookup(t.Context(), someDID); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: the old document is back: %+v, %v", name, id, err)
		}
		r.Close()
	}
}

// What memory has no room for is read from the store, before it is even written.
func TestADocumentThatMemoryLetGoIsReadFromTheStore(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	o := storedOptions(fs, clock)
	o.CacheBytes = 1 // one document a shard
	r := on(t, w, o)
	for i := range 200 {
		mustLookup(t, r, plcDID(i), false)
	}
	if n, _ := r.cache.size(); n > 2*cacheShards {
		t.Fatalf("%d in memory", n)
	}
	for range 2 {
		for i := range 200 {
			mustLookup(t, r, plcDID(i), false)
		}
		r.store.flush(context.Background())
	}
	if n := w.count("plc.example"); n != 200 {
		t.Errorf("%d requests for 200 accounts", n)
	}
}

func TestAnIdentityStoreThatIsOfNoUseNeverStopsAStart(t *testing.T) {
	fill := func(t *testing.T, fs vfs.FS, clock *hand, dir string) {
		o := storedOptions(fs, clock)
		o.Dir = dir
		r := on(t, honestWire(t), o)
		mustLookup(t, r, someDID, false)
		r.Close()
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		says  string
	}{
		{"a file in its place", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		}, "memory only"},
		{"in use", func(t *testing.T, dir string) {
			lock, err := pebble.LockDirectory(dir, vfs.Default)
			must(t, err)
			t.Cleanup(func() { must(t, lock.Close()) })
		}, "memory only"},
		{"its manifest is garbage", func(t *testing.T, dir string) { overwrite(t, dir, "MANIFEST-*") }, "discarded"},
		{"it was found damaged", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, disposable.SpoiledFile), nil, 0o600))
		}, "discarded"},
		{"another layout", func(t *testing.T, dir string) {
			raw(t, dir, func(db *disposable.Store, b *pebble.Batch) { must(t, b.Set(metaKey(metaSchema), []byte("99"), nil)) })
		}, "discarded"},
		{"a layout that is no number", func(t *testing.T, dir string) {
			raw(t, dir, func(db *disposable.Store, b *pebble.Batch) { must(t, b.Set(metaKey(metaSchema), []byte("x"), nil)) })
		}, "discarded"},
		{"it does not say what it is", func(t *testing.T, dir string) {
			raw(t, dir, func(db *disposable.Store, b *pebble.Batch) { must(t, b.Delete(metaKey(metaSchema), nil)) })
		}, "discarded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, dir := newHand(), filepath.Join(t.TempDir(), "identity")
			fill(t, vfs.Default, clock, dir)
			c.spoil(t, dir)
			var log logged
			o := storedOptions(vfs.Default, clock)
			o.Dir, o.Logger = dir, log.logger()
			w := honestWire(t)
			r := on(t, w, o)
			mustLookup(t, r, someDID, false)
			if w.count("plc.example") != 1 {
				t.Error("it was not spoiled")
			}
			if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], c.says) {
				t.Errorf("it says %q, want one line with %q", lines, c.says)
			}
			r.Close()
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overwrite spoils the files of a pattern.
func overwrite(t *testing.T, dir, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files %s, %v", len(files), pattern, err)
	}
	for _, f := range files {
		must(t, os.WriteFile(f, []byte(strings.Repeat("garbage", 100)), 0o600))
	}
}

// raw changes a store behind its back.
func raw(t *testing.T, dir string, change func(*disposable.Store, *pebble.Batch)) {
	t.Helper()
	db, err := disposable.Open(disposable.Options{Dir: dir, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	b := db.NewBatch()
	change(db, b)
	must(t, db.Commit(t.Context(), b))
	must(t, db.Close())
}

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
	await(t, "the disk to be full", func() bool {
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
	await(t, "the store to be written again", func() bool {
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

// await waits for a condition.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
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

func TestADocumentFromTheFutureIsAskedForAgain(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	r.Close()
	clock.move(-time.Hour)
	r = on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	if n := w.count("plc.example"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestSweepsDropWhatIsTooOldAndKeepToTheBudget(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	const each = 100
	for day := range 10 {
		for i := range each {
			r.store.put(fmt.Sprintf("did:plc:%012d%012d", i, day), &Identity{Key: keyOfDoc(t), Host: "pds.example"})
		}
		clock.move(24 * time.Hour)
	}
	r.store.flush(t.Context())
	days := func() (found [10]int) {
		for day := range 10 {
			for i := range each {
				if _, ok := r.store.get(fmt.Sprintf("did:plc:%012d%012d", i, day)); ok {
					found[day]++
				}
			}
		}
		return found
	}
	limit := r.store.sweep(t.Context(), freshFor+staleFor)
	if found := days(); limit != freshFor+staleFor || found != [10]int{0, 0, 0, each, each, each, each, each, each, each} {
		t.Errorf("limit %v, left by day: %v", limit, found)
	}
	r.store.budget = 3 * each * 130
	limit = r.store.sweep(t.Context(), limit)
	r.store.sweep(t.Context(), limit)
	found := days()
	var left int
	for _, n := range found {
		left += n
	}
	if left < each || left > 3*each || found[9] != each {
		t.Errorf("limit %v, left by day: %v", limit, found)
	}
}

func keyOfDoc(t *testing.T) *signing.Key {
	t.Helper()
	id, err := parseDocument(someDID, []byte(docOf(t, someDID, "pds.example")))
	must(t, err)
	return id.Key
}

func TestASweepDropsNothingThatWasJustRefreshed(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	r.store.flush(t.Context())
	clock.move(freshFor + staleFor + time.Hour)
	mustLookup(t, r, someDID, false) // pending
	r.store.sweep(t.Context(), freshFor+staleFor)
	if _, ok := r.store.get(someDID); !ok {
		t.Error("a document that waits to be written is gone")
	}
	r.store.flush(t.Context())
	r.store.sweep(t.Context(), freshFor+staleFor)
	if _, ok := r.store.get(someDID); !ok {
		t.Error("a fresh document is gone")
	}
}
