package segmentlog

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// numbered is testEntry under a number of another log.
func numbered(n int, seq uint64) *Entry {
	e := testEntry(n)
	e.Seq = seq
	return e
}

func TestNumbersOfAnotherLogAreTakenAsTheyAre(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	o.Numbers = "relay.example"
	seen := newSeen()
	o.OnCommit = seen.commit
	l := mustOpen(t, o)
	given := []uint64{9_000_000_000, 9_000_000_001, 9_000_000_050, 12_000_000_000}
	for i, seq := range given {
		if got, err := l.Append(context.Background(), numbered(i, seq)); err != nil || got != seq {
			t.Fatalf("%d: %d, %v", seq, got, err)
		}
	}
	for _, seq := range []uint64{0, 7, 12_000_000_000} {
		if _, err := l.Append(context.Background(), numbered(9, seq)); !errors.Is(err, ErrOutOfOrder) {
			t.Errorf("%d after %d: %v", seq, given[3], err)
		}
	}
	if _, err := l.Append(context.Background(), numbered(9, MaxSeq+1)); !errors.Is(err, ErrSeqExhausted) {
		t.Errorf("above 2^53: %v", err)
	}
	seen.wait(given[3])
	if got := l.Reserved(); got != given[3]+aheadOfTip {
		t.Errorf("a cursor may be up to %d", got)
	}

	// After a crash the next number is the next, and none was reserved.
	o.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	o.OnCommit = nil
	after := mustOpen(t, o)
	if got, err := after.Append(context.Background(), numbered(4, given[3]+1)); err != nil || got != given[3]+1 {
		t.Errorf("after a crash: %d, %v", got, err)
	}
	mustClose(t, after)
	again := mustOpen(t, o) // and after a clean stop
	if got, err := again.Append(context.Background(), numbered(5, given[3]+2)); err != nil || got != given[3]+2 {
		t.Errorf("after a stop: %d, %v", got, err)
	}
	mustClose(t, again)
	mustClose(t, l)

	o.Numbers = "moved.example" // which other log it is does not matter
	moved := mustOpen(t, o)
	if n := len(readAll(t, moved, 0)); n != 6 || moved.Stream().Numbers != "relay.example" {
		t.Errorf("%d records, numbers of %q", n, moved.Stream().Numbers)
	}
	mustClose(t, moved)
	o.Numbers = ""
	if l, err := Open(o); !errors.Is(err, ErrNumbering) {
		t.Errorf("opened with numbers of its own: %v", err)
		if err == nil {
			mustClose(t, l)
		}
	}
}

func TestALogWithNumbersOfItsOwnTakesNoOthers(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := build(t, o, 3, 0)
	if _, err := l.Append(context.Background(), numbered(9, 70)); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("a number was taken: %v", err)
	}
	if seq := mustAppend(t, l, 4); seq != 4 {
		t.Errorf("the next is %d", seq)
	}
	mustClose(t, l)
	o.Numbers = "relay.example"
	if l, err := Open(o); !errors.Is(err, ErrNumbering) {
		t.Errorf("went on with the numbers of another: %v", err)
		if err == nil {
			mustClose(t, l)
		}
	}
}
