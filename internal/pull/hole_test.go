package pull

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatStandsBehindAHoleOfTheSourceIsPulledAndTheHoleIsReported(t *testing.T) {
	o := newOrigin(t, 400)
	all := o.shipper.Catalog("", "")
	from := t.TempDir()
	o.pull(from, nil)
	lost := all[2]
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
	if r.OK() || r.Downloaded != len(all)-1 || len(r.Holes) != 1 || r.Holes[0].Records != lost.Records {
		t.Errorf("%+v of %d", r, len(all))
	}
}
