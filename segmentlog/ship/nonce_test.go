package ship

import (
	"errors"
	"os"
	"testing"
	"time"
)

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	out := t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

// The bucket was away while the directory that was lost wrote: neither the lease's tip nor
// a segment says so, only that it had been started since the backup.
func TestABackupFromBeforeTheLastStartReusesNoNumber(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("before", 100)
	w.allShipped()
	w.stop()
	backup := copyDir(t, o.Dir)
	var last uint64
	for round := range 3 { // resumed, then a new epoch, then one in which nothing was shipped
		if round > 0 {
			o.Dir = copyDir(t, backup)
			failed := false
			m.Mu.Lock() // killed before the lease is written, and started again
			m.Before = func(string) error { failed = true; return errors.New("killed") }
			m.Mu.Unlock()
			if _, err := start(t, o); err == nil || !failed {
				t.Fatal(err)
			}
			m.Mu.Lock()
			m.Before = nil
			m.Mu.Unlock()
		}
		w = mustStart(t, o)
		first := w.append("lost", 1)
		if first <= last {
			t.Errorf("round %d: %d is given again, after %d", round, first, last)
		}
		last = w.append("lost", 3)
		if w.shipper.Through() >= first {
			t.Fatal("it was shipped")
		}
		m.Mu.Lock() // nothing reaches the bucket any more
		away := func(string) error { return errors.New("away") }
		m.Before = away
		m.Mu.Unlock()
		w.cancel()
		w.kill()
		m.Mu.Lock()
		m.Before = nil
		m.Mu.Unlock()
	}
}

func TestACopyOfADirectoryDoesNotTakeTheLogFromTheOneThatRuns(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("before", 100)
	w.allShipped()
	w.stop()
	clone := options(m, copyDir(t, o.Dir))
	clone.Watch = 500 * time.Millisecond
	o.Renew = 20 * time.Millisecond
	w = mustStart(t, o)
	defer w.stop()
	if c, err := start(t, clone); !errors.Is(err, ErrHeld) {
		t.Errorf("%v", err)
		if err == nil {
			c.kill()
		}
	}
	if err := w.archive.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
