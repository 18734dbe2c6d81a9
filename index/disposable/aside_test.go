package disposable

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	dir   = "data/store"
	other = "data/store.aside"
)

func options(fs vfs.FS) Options {
	return Options{Dir: dir, Name: "store", FS: fs, SetAside: other, Deletes: true, Logger: slog.New(slog.DiscardHandler)}
}

func open1(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled makes a store with some tables in it.
func filled(t *testing.T, fs vfs.FS) {
	t.Helper()
	s := open1(t, options(fs))
	for i := range 3 {
		b := s.NewBatch()
		if err := b.Set([]byte(fmt.Sprint("key", i)), []byte("value"), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open1(t, options(fs))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, fs vfs.FS, dir string) []string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func count(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.Each(Keys{}, func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestADamagedStoreIsSetAsideWhole(t *testing.T) {
	fs := vfs.NewMem()
	filled(t, fs)
	was := list(t, fs, dir)
	markSpoiled(&Options{Dir: dir, FS: fs, Logger: slog.New(slog.DiscardHandler)})
	s := open1(t, options(fs))
	if s.Discarded() == "" || count(t, s) != 0 {
		t.Errorf("discarded because %q, %d keys", s.Discarded(), count(t, s))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	aside := strings.Join(list(t, fs, other), " ")
	for _, name := range was {
		if name != "LOCK" && !strings.Contains(aside, name) {
			t.Errorf("%s is not there: %s", name, aside)
		}
	}
	s = open1(t, options(fs))
	if s.Discarded() != "" {
		t.Errorf("the new store is discarded too: %s", s.Discarded())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Wherever the power is cut, the next Open finds the old store, or an empty one, or the
// mark, never a part of the old one.
func TestACutOfPowerWhileAStoreIsSetAsideLeavesNoHalfOfIt(t *testing.T) {
	for cut := 1; ; cut++ {
		mem := vfs.NewCrashableMem()
		filled(t, mem)
		markSpoiled(&Options{Dir: dir, FS: mem, Logger: slog.New(slog.DiscardHandler)})
		left, crashed := cut, (*vfs.MemFS)(nil)
		rng := rand.New(rand.NewPCG(uint64(cut), 1))
		armed := false
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if left--; left == 0 {
					crashed = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
				}
			}
			return nil
		}))
		o := options(fs)
		o.EnsureDefaults()
		armed = true
		if err := clearOut(o); err != nil {
			t.Fatal(err)
		}
		armed = false
		if crashed == nil {
			if cut < 8 {
				t.Errorf("setting aside takes only %d writes", cut)
			}
			return
		}
		s := open1(t, options(crashed))
		if n := count(t, s); n != 0 && (n != 3 || s.Discarded() != "") {
			t.Errorf("cut %d leaves %d keys", cut, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Damage that Pebble meets while it opens a store ends that store and no other.
func TestDamageThatIsFoundWhileOpeningHarmsNotTheNextStore(t *testing.T) {
	died := 0
	for range 20 {
		fs := vfs.NewMem()
		filled(t, fs)
		for _, name := range list(t, fs, dir) {
			if strings.HasSuffix(name, ".sst") {
				path := fs.PathJoin(dir, name)
				info, err := fs.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				f, err := fs.OpenReadWrite(path, "unspecified")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := open1(t, options(fs))
		if s.Discarded() == "" { // else it was met within Open
			met := s.Each(Keys{}, func(_, _ []byte) error { return nil })
			if !errors.Is(met, ErrCorrupt) {
				t.Fatal(met)
			}
			died++
			_ = s.Close() // it says that again
			s = open1(t, options(fs))
		}
		if s.Discarded() == "" || s.Err() != nil {
			t.Fatalf("discarded because %q, %v", s.Discarded(), s.Err())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open1(t, options(fs))
		if s.Discarded() != "" {
			t.Fatalf("the store after the damaged one is discarded too: %s", s.Discarded())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if died == 0 {
		t.Error("the damage was never met")
	}
}
