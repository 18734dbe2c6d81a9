package segmentlog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestWhatIsAppendedIsReadBackFromEveryCursor(t *testing.T) {
	o := diskOptions(t)
	o.MaxHotBytes = 20 << 10 // many files
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	const n = 1000
	for i := range n {
		mustAppend(t, l, i)
		if i%50 == 0 {
			committed.wait(uint64(i + 1))
		}
	}
	committed.wait(n)
	if files := len(*l.files.Load()); files < 5 {
		t.Fatalf("%d files: the test wants many", files)
	}
	for _, after := range []uint64{0, 1, 2, 49, 50, 51, 499, 500, n - 1, n} {
		recs := readAll(t, l, after)
		if len(recs) != n-int(after) {
			t.Fatalf("cursor %d: %d records", after, len(recs))
		}
		for i := range recs {
			if recs[i].Seq != after+uint64(i)+1 {
				t.Fatalf("cursor %d: seq %d at %d", after, recs[i].Seq, i)
			}
			wantEntry(t, &recs[i], int(recs[i].Seq)-1)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestACleanRestartGoesOnWithTheNextNumber(t *testing.T) {
	o := diskOptions(t)
	var seq uint64
	for round := range 3 {
		l := mustOpen(t, o)
		for i := range 10 {
			got := mustAppend(t, l, round*10+i)
			if got != seq+1 {
				t.Fatalf("seq %d after %d", got, seq)
			}
			seq = got
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	if got := len(readAll(t, l, 0)); got != 30 {
		t.Fatalf("%d records", got)
	}
}

func TestInitialSeqJumpsAheadAndNeverBack(t *testing.T) {
	o := testOptions(vfs.NewMem())
	for _, c := range []struct{ initial, want uint64 }{{1000, 1000}, {5, 1001}, {0, 1002}, {9000, 9000}} {
		o.InitialSeq = c.initial
		l := mustOpen(t, o)
		if got := mustAppend(t, l, 0); got != c.want {
			t.Fatalf("initial %d: seq %d, want %d", c.initial, got, c.want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoProcessesCannotShareADirectory(t *testing.T) {
	o := diskOptions(t)
	l := mustOpen(t, o)
	defer l.Close()
	if _, err := Open(o); err == nil {
		t.Fatal("opened twice")
	}
}

func TestAppendAfterCloseSaysSo(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), testEntry(1)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestClosingAgainChangesNothing(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	mustAppend(t, l, 0)
	mustClose(t, l)
	mustClose(t, l)
}

func TestAClockBehindTheLogStopsTheStart(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	mustAppend(t, l, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) }
	if _, err := Open(o); !errors.Is(err, ErrClockBehind) {
		t.Fatal(err)
	}
	o.Now = func() time.Time { return time.Now().Add(-30 * time.Second) }
	l = mustOpen(t, o)
	mustAppend(t, l, 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, o)
	defer l.Close()
	recs := readAll(t, l, 0)
	if recs[1].Witnessed < recs[0].Witnessed {
		t.Fatal("witnessed went back")
	}
}
