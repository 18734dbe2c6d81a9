package pull

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatStandsBehindAHoleOfTheSourceIsPulledAndTheHoleIsReported(t *testing.T) {
	for _, lost := range []int{0, 2} {
		holeAt(t, lost)
	}
}

func holeAt(t *testing.T, i int) {
	t.Helper()
	o := newOrigin(t, 400)
	all := o.shipper.Catalog("", "")
	from := t.TempDir()
	o.pull(from, nil)
	lost := all[i]
	if err := os.Remove(filepath.Join(from, filepath.FromSlash(lost.Key()))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(from, "catalog")); err != nil { // else it is named and fails
		t.Fatal(err)
	}
	src, err := Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r, err := Pull(t.Context(), Options{From: src, Out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	want := Hole{lost.Name.FirstSeq, lost.Name.LastSeq, lost.Records}
	if r.OK() || r.Downloaded != len(all)-1 || len(r.Holes) != 1 || r.Holes[0] != want {
		t.Errorf("%+v of %d, expected %+v", r, len(all), want)
	}
	if r, err = Pull(t.Context(), Options{From: src, Out: t.TempDir(), First: all[i+1].Name.FirstSeq}); err != nil || !r.OK() {
		t.Errorf("behind it: %+v, %v", r, err)
	}
}
