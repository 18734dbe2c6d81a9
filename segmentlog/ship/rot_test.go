package ship

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
)

// What is not shipped and has rotted is for a person to look at: a new epoch would take
// all of it out of the log.
func TestADamagedHotFileStopsTheStartAndSetsNothingAside(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("event", 100)
	w.allShipped()
	var last uint64
	for range 4 { // each a commit of its own: one that nothing follows could be torn, and would be cut away
		last = w.append("not shipped", 1)
	}
	if err := w.archive.update(t.Context(), func(l *Lease) { l.Tip = last }); err != nil {
		t.Fatal(err)
	}
	killed := t.TempDir() // as a kill leaves it: a log that is closed would be sealed
	if err := os.CopyFS(killed, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	w.kill()
	o.Dir = killed
	hot, err := filepath.Glob(filepath.Join(o.Dir, "log", "*.cbor"))
	if err != nil || len(hot) == 0 {
		t.Fatal(hot, err)
	}
	newest := slices.Max(hot)
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	before := m.Snapshot()
	_, err = start(t, o)
	var damaged *segmentlog.CorruptError
	if !errors.As(err, &damaged) || damaged.File != newest {
		t.Errorf("%v", err)
	}
	if !maps.EqualFunc(before, m.Snapshot(), slices.Equal) {
		t.Error("the archive was changed")
	}
	if _, err := os.Stat(newest); err != nil {
		t.Error(err)
	}
}
