package index

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/index/disposable"
	"github.com/cistern-archive/cistern/segmentlog"
)

// fill opens an index, applies n changes in one batch and closes it.
func fill(t *testing.T, fs vfs.FS, n int) *truth {
	t.Helper()
	x := mustOpen(t, options(fs, uint64(n)))
	w := newTruth()
	b := x.NewBatch()
	for i, c := range newHistory(seeded(t)).changes(n) {
		b.change(uint64(i+1), &c)
		w.apply(uint64(i+1), &c)
	}
	if err := b.Commit(t.Context(), uint64(n)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, x)
	return w
}

func TestACleanStopKeepsEverything(t *testing.T) {
	fs := vfs.NewMem()
	w := fill(t, fs, 500)
	x := mustOpen(t, options(fs, 500))
	defer mustClose(t, x)
	if x.Applied() != 500 || x.Discarded() != "" {
		t.Errorf("applied %d, discarded %q", x.Applied(), x.Discarded())
	}
	if err := w.compare(x); err != nil {
		t.Error(err)
	}
}

func TestAnIndexThatDoesNotFitTheLogIsDiscardedAndSaysWhy(t *testing.T) {
	epochs := []segmentlog.Epoch{{Epoch: 1, FirstSeq: 1}, {Epoch: 2, FirstSeq: 1_000_000_000, PrevLastSeq: 450}}
	for _, c := range []struct {
		name, because string
		change        func(*testing.T, vfs.FS, *Options)
	}{
		{"stream", "of stream", func(_ *testing.T, _ vfs.FS, o *Options) { o.Stream = strings.Repeat("f", 32) }},
		{"ahead", "ahead of the log", func(_ *testing.T, _ vfs.FS, o *Options) { o.Tip = 499 }},
		{"lost epoch", "epoch 2", func(_ *testing.T, _ vfs.FS, o *Options) { o.Tip, o.Epochs = 2_000_000_000, epochs }},
		{"spoiled", "damaged", func(t *testing.T, fs vfs.FS, _ *Options) {
			f, err := fs.Create(fs.PathJoin(testDir, disposable.SpoiledFile), "unspecified")
			must(t, err)
			must(t, f.Close())
		}},
		{"schema", "layout", func(t *testing.T, fs vfs.FS, _ *Options) {
			raw(t, fs, func(x *Index) { must(t, x.store.DB().Set(metaKey(metaSchema), []byte{99}, pebble.NoSync)) })
		}},
		{"no schema", "layout", func(t *testing.T, fs vfs.FS, _ *Options) {
			raw(t, fs, func(x *Index) { must(t, x.store.DB().Delete(metaKey(metaSchema), pebble.NoSync)) })
		}},
		{"no meta", "does not say", func(t *testing.T, fs vfs.FS, _ *Options) {
			raw(t, fs, func(x *Index) {
				must(t, x.store.DB().DeleteRange([]byte{spaceMeta}, []byte{spaceMeta + 1}, pebble.NoSync))
			})
		}},
		{"watermark that is no number", "malformed", func(t *testing.T, fs vfs.FS, _ *Options) {
			raw(t, fs, func(x *Index) { must(t, x.store.DB().Set(metaKey(metaApplied), nil, pebble.NoSync)) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			fill(t, fs, 500)
			var log logged
			o := options(fs, 500)
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.change(t, fs, &o)
			x := mustOpen(t, o)
			if x.Applied() != 0 || !strings.Contains(x.Discarded(), c.because) || !strings.Contains(log.String(), "the index is discarded") {
				t.Errorf("applied %d, discarded %q, log %s", x.Applied(), x.Discarded(), log.String())
			}
			if err := newTruth().compare(x); err != nil {
				t.Errorf("not empty: %v", err)
			}
			mustClose(t, x)
			x = mustOpen(t, o) // once is enough
			if x.Discarded() != "" {
				t.Errorf("discarded again: %s", x.Discarded())
			}
			mustClose(t, x)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raw changes an index behind its back.
func raw(t *testing.T, fs vfs.FS, f func(x *Index)) {
	t.Helper()
	x := mustOpen(t, options(fs, 1<<50))
	f(x)
	must(t, x.store.DB().Flush())
	mustClose(t, x)
}

func TestANewEpochKeepsAnIndexOfWhatWasKept(t *testing.T) {
	fs := vfs.NewMem()
	fill(t, fs, 500)
	o := options(fs, 2_000_000_000)
	o.Epochs = []segmentlog.Epoch{{Epoch: 1, FirstSeq: 1}, {Epoch: 2, FirstSeq: 1_000_000_000, PrevLastSeq: 500}}
	x := mustOpen(t, o)
	defer mustClose(t, x)
	if x.Applied() != 500 {
		t.Errorf("discarded: %s", x.Discarded())
	}
}

func TestAnIndexThatIsInUseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	o := options(vfs.Default, 10)
	o.Dir = dir
	x := mustOpen(t, o)
	b := x.NewBatch()
	b.Time(1, 1)
	if err := b.Commit(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if y, err := Open(o); err == nil {
		mustClose(t, y)
		t.Error("opened twice")
	}
	mustClose(t, x)
	x = mustOpen(t, o)
	defer mustClose(t, x)
	if x.Applied() != 5 {
		t.Errorf("applied %d, discarded %q", x.Applied(), x.Discarded())
	}
}

func TestTheWatermarkOnlyMovesOn(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 10))
	defer mustClose(t, x)
	if err := x.NewBatch().Commit(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{0, 4, 5} {
		b := x.NewBatch()
		b.Time(1, seq)
		if err := b.Commit(t.Context(), seq); err == nil {
			t.Errorf("a batch up to %d was taken after 5", seq)
		}
	}
	if _, found, err := x.LastSecond(); found || err != nil {
		t.Errorf("a refused batch left something: %v", err)
	}
}

func TestOpenWantsADirectoryAndAStream(t *testing.T) {
	for _, o := range []Options{{Dir: testDir, FS: vfs.NewMem()}, {Stream: testStream, FS: vfs.NewMem()}} {
		if _, err := Open(o); err == nil {
			t.Errorf("opened with %+v", o)
		}
	}
}

func TestCompactionChangesNothing(t *testing.T) {
	fs := vfs.NewMem()
	rng := seeded(t)
	x := mustOpen(t, options(fs, 1<<40))
	defer mustClose(t, x)
	w := newTruth()
	h := newHistory(rng)
	var seq uint64
	for range 60 {
		b := x.NewBatch()
		for range 1 + rng.IntN(100) {
			seq++
			c := h.next(seq)
			b.change(seq, &c)
			w.apply(seq, &c)
		}
		if err := b.Commit(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
		switch rng.IntN(6) {
		case 0:
			if err := x.store.DB().Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := x.store.DB().Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.compare(x); err != nil {
		t.Error(err)
	}
	a, found, err := x.Account("did:plc:none")
	if found || err != nil {
		t.Errorf("an account that is not there: %+v, %v", a, err)
	}
	for did, want := range w.accounts {
		if a, found, err := x.Account(did); !found || err != nil || a.Repo != kept(want).Repo {
			t.Errorf("%s: %+v, %v", did, a, err)
		}
	}
	if x.store.DB().Metrics().Compact.Count == 0 {
		t.Error("nothing was compacted")
	}
}
