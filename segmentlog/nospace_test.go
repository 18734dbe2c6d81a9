package segmentlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// intake appends numbered events and knows which were taken.
type intake struct {
	t    testing.TB
	log  *Log
	next int
	last uint64
}

// cancelled is a context with which Append returns an error instead of blocking.
var cancelled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// fill appends until Append would block.
func (in *intake) fill() {
	in.t.Helper()
	for {
		seq, err := in.log.Append(cancelled, testEntry(in.next))
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			in.t.Fatal(err)
		}
		in.next, in.last = in.next+1, seq
	}
}

// wantEvents checks that the log holds the events 0 … n-1, each once, in order.
func wantEvents(t testing.TB, l *Log, n int) {
	t.Helper()
	recs := readAll(t, l, 0)
	if len(recs) != n {
		t.Fatalf("%d records, want %d", len(recs), n)
	}
	for i := range recs {
		wantEntry(t, &recs[i], i)
	}
}

// fullDisk is a way in which a disk can be full: stop makes it so, and free makes
// space again.
type fullDisk struct {
	stop, free func()
	fired      func() bool
}

func halfWrites(fs *halfWriteFS, n int) fullDisk {
	return fullDisk{
		stop:  func() { fs.failFrom(n, syscall.ENOSPC) },
		free:  func() { fs.failFrom(0, nil) },
		fired: func() bool { return fs.fired.Load() > 0 },
	}
}

func refusedOps(fs *crashFS, kind errorfs.OpKind, n int) fullDisk {
	fired := false
	set := func(f func(errorfs.Op) error) {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		fs.fail = f
	}
	return fullDisk{
		stop: func() {
			set(func(op errorfs.Op) error {
				if op.Kind != kind {
					return nil
				}
				if n--; n > 0 {
					return nil
				}
				fired = true
				return &os.PathError{Op: "op", Path: op.Path, Err: syscall.ENOSPC}
			})
		},
		free:  func() { set(nil) },
		fired: func() bool { return fired },
	}
}

func TestAFullDiskPausesIntakeAndLosesAndDoublesNothing(t *testing.T) {
	for n := 1; n <= 12; n++ {
		t.Run(fmt.Sprint("half of write ", n, " in memory"), func(t *testing.T) {
			fs := &halfWriteFS{FS: vfs.NewMem()}
			pauseAndGoOn(t, testOptions(fs), halfWrites(fs, n))
		})
		t.Run(fmt.Sprint("half of write ", n, " on disk"), func(t *testing.T) {
			o := diskOptions(t)
			fs := &halfWriteFS{FS: o.FS}
			o.FS = fs
			pauseAndGoOn(t, o, halfWrites(fs, n))
		})
	}
	for name, kind := range map[string]errorfs.OpKind{
		"create": errorfs.OpCreate, "rename": errorfs.OpRename, "write": errorfs.OpFileWrite,
	} {
		for n := 1; n <= 3 && (n == 1 || kind != errorfs.OpRename); n++ {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				fs := newCrashFS(vfs.NewCrashableMem(), newRNG(1))
				pauseAndGoOn(t, testOptions(fs), refusedOps(fs, kind, n))
			})
		}
	}
}

// pauseAndGoOn writes until the disk is full, looks at the log meanwhile, frees
// the disk, and checks that all is there once.
func pauseAndGoOn(t *testing.T, o Options, disk fullDisk) {
	committed, full, back := newSeen(), make(chan error, 1), make(chan struct{}, 1)
	o.OnCommit = committed.commit
	o.Events.NoSpace = func(err error) { full <- err }
	o.Events.SpaceBack = func() { back <- struct{}{} }
	o.MaxHotBytes, o.MaxPendingBytes = 2<<10, 1<<10
	in := &intake{t: t, log: mustOpen(t, o)}
	disk.stop()
	for {
		in.fill()
		select {
		case err := <-full:
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
		default:
			continue
		}
		break
	}
	in.fill() // what still has room; from here on intake is paused
	tip := in.log.Tip()
	if recs := readAll(t, in.log, 0); uint64(len(recs)) != tip || tip == in.last {
		t.Fatalf("%d records while the disk is full, tip %d, appended %d", len(recs), tip, in.last)
	}
	disk.free()
	committed.wait(in.last)
	<-back
	for range 20 {
		in.fill()
	}
	committed.wait(in.last)
	if !disk.fired() {
		t.Fatal("the fault did not fire")
	}
	wantEvents(t, in.log, in.next)
	mustClose(t, in.log)
	l := mustOpen(t, o)
	wantEvents(t, l, in.next)
	if seq := mustAppend(t, l, in.next); seq != in.last+1 {
		t.Fatalf("seq %d after %d", seq, in.last)
	}
	mustClose(t, l)
}

func TestCloseDuringTheFullDiskPauseEndsWithAMessageAndLosesNothingPublished(t *testing.T) {
	for n := 1; n <= 8; n++ {
		o := diskOptions(t)
		fs := &halfWriteFS{FS: o.FS}
		o.FS = fs
		full := make(chan error, 1)
		o.Events.NoSpace = func(err error) { full <- err }
		o.MaxHotBytes, o.MaxPendingBytes = 2<<10, 1<<10
		in := &intake{t: t, log: mustOpen(t, o)}
		fs.failFrom(n, syscall.ENOSPC)
		for len(full) == 0 {
			in.fill()
		}
		tip := in.log.Tip()
		err := in.log.Close()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk was full") {
			t.Fatalf("write %d: %v", n, err)
		}
		fs.failFrom(0, nil)
		o.Events.NoSpace = nil
		l := mustOpen(t, o)
		recs := readAll(t, l, 0)
		if uint64(len(recs)) < tip || len(recs) > in.next {
			t.Fatalf("write %d: %d records, %d were published", n, len(recs), tip)
		}
		wantEvents(t, l, len(recs))
		if seq := mustAppend(t, l, len(recs)); seq <= max(tip, uint64(len(recs))) {
			t.Fatalf("write %d: seq %d was seen before", n, seq)
		}
		mustClose(t, l)
	}
}

func TestAFailedOrShortWriteEndsTheLogAndNothingIsWrittenAfter(t *testing.T) {
	for _, fault := range []error{syscall.EIO, errSilent} {
		for n := 1; n <= 8; n++ {
			fs := &halfWriteFS{FS: vfs.NewMem()}
			o := testOptions(fs)
			o.MaxHotBytes, o.MaxPendingBytes = 1<<10, 1<<10
			committed := newSeen()
			o.OnCommit = committed.commit
			l := mustOpen(t, o)
			fs.failOnce(n, fault)
			next := 0
			for l.Err() == nil {
				if _, err := l.Append(context.Background(), testEntry(next)); err == nil {
					next++
				}
			}
			<-l.Failed()
			if fs.fired.Load() != 1 {
				t.Fatalf("write %d did not fail", n)
			}
			if err := l.Close(); err == nil || !errors.Is(fault, errSilent) && !errors.Is(err, fault) {
				t.Fatalf("write %d: %v", n, err)
			}
			if w := fs.after.Load(); w != 0 {
				t.Fatalf("write %d: %d writes and syncs after the one that failed", n, w)
			}
			o.OnCommit = nil
			l2 := mustOpen(t, o)
			recs := readAll(t, l2, 0)
			if len(recs) < len(committed.recs) || len(recs) > next {
				t.Fatalf("write %d: %d records, %d were published, %d appended", n, len(recs), len(committed.recs), next)
			}
			wantEvents(t, l2, len(recs))
			mustClose(t, l2)
		}
	}
}
