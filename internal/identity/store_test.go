package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/index/disposable"
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
