package segmentlog

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestAReservationThatRottedIsNeverBelieved(t *testing.T) {
	for _, clean := range []bool{true, false} {
		mem := vfs.NewCrashableMem()
		o := testOptions(mem)
		l := build(t, o, 3, 0)
		if !clean {
			o.FS = mem.CrashClone(vfs.CrashCloneCfg{})
		}
		mustClose(t, l)
		path := o.FS.PathJoin(o.Dir, reservedFile)
		whole := mustRead(t, o.FS, path)
		want, err := readReservation(o.FS, o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			for bit := range 8 {
				b := []byte(string(whole))
				b[i] ^= 1 << bit
				mustWrite(t, o.FS, path, b)
				got, err := readReservation(o.FS, o.Dir)
				if err == nil && (got.Through != want.Through || got.Next != want.Next || got.Last != want.Last) {
					t.Fatalf("believed %s", b)
				}
				if err != nil && !strings.Contains(err.Error(), reservedFile) {
					t.Fatalf("the message does not name the file: %v", err)
				}
			}
		}
	}
}

func TestAReservationWrittenByHandIsTaken(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 3, 0))
	b, err := json.Marshal(map[string]uint64{"epoch": 1, "through": 90000})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, o.FS, o.FS.PathJoin(o.Dir, reservedFile), b)
	l := mustOpen(t, o)
	defer l.Close()
	if seq := mustAppend(t, l, 1); seq != 90001 {
		t.Fatal(seq)
	}
}

func TestAMissingReservationCostsNumbersAndNothingElse(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 3, 0))
	if err := o.FS.Remove(o.FS.PathJoin(o.Dir, reservedFile)); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, o)
	defer l.Close()
	if seq := mustAppend(t, l, 1); seq <= 3+reserveBlock {
		t.Fatalf("seq %d may have been reserved before", seq)
	}
	if n := len(readAll(t, l, 0)); n < 3 {
		t.Fatal(n)
	}
}
