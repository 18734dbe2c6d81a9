package segmentlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestAFileThatShrinksUnderAReaderIsDamageAndNotItsEnd(t *testing.T) {
	for _, closed := range []bool{false, true} {
		o := diskOptions(t)
		n := 20
		if closed {
			n = 60
		}
		l := build(t, o, n, 8<<10)
		path := hotPaths(t, o)[0]
		if files := len(*l.files.Load()); closed != (files > 1) {
			t.Fatalf("%d files", files)
		}
		if err := os.Truncate(path, 2000); err != nil {
			t.Fatal(err)
		}
		r := l.NewReader(0)
		var rec Record
		var err error
		for err == nil {
			err = r.Next(&rec)
		}
		var c *CorruptError
		if !errors.As(err, &c) || c.File != path || c.Offset > 2000 {
			t.Fatalf("closed %v: after seq %d: %v", closed, r.Position(), err)
		}
		r.Close()
		mustClose(t, l)
	}
}

func TestAnEntryThatIsNotTextIsRefusedBeforeItSpoilsTheLog(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	defer l.Close()
	for _, e := range []*Entry{{DID: "did:plc:\xff"}, {DID: "did:plc:a", Host: "h\xc3"}} {
		if _, err := l.Append(context.Background(), e); !errors.Is(err, ErrRecordForm) {
			t.Fatalf("%q %q: %v", e.DID, e.Host, err)
		}
	}
	if seq := mustAppend(t, l, 1); seq != 1 {
		t.Fatalf("a refused entry took a number: next is %d", seq)
	}
}

func TestAnEpochNeverBeginsBelowItsFirstSeqWhateverCrashes(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	o.InitialSeq = 1000
	l := mustOpen(t, o)
	o.FS, o.InitialSeq = mem.CrashClone(vfs.CrashCloneCfg{}), 0
	mustClose(t, l)
	l = mustOpen(t, o)
	defer l.Close()
	if seq := mustAppend(t, l, 0); seq < 1000 {
		t.Fatalf("seq %d in an epoch that begins at 1000", seq)
	}
}

func TestANewLogsFoldersSurviveAPowerCut(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	o.Dir = "/srv/cistern/data"
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	committed.wait(mustAppend(t, l, 0))
	o.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, l)
	l = mustOpen(t, o)
	defer l.Close()
	if n := len(readAll(t, l, 0)); n != 1 {
		t.Fatalf("%d records after the power cut", n)
	}
}

func TestANewestFileThatIsGoneAfterACleanShutdownIsMissed(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 30, 4<<10))
	paths := hotPaths(t, o)
	if err := o.FS.Remove(paths[len(paths)-1]); err != nil {
		t.Fatal(err)
	}
	_, err := Open(o)
	wantCorrupt(t, err, paths[len(paths)-2], 1<<20)
}

func TestALogWhoseFilesAreAllGoneDoesNotStartAfresh(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 3, 0))
	for _, p := range hotPaths(t, o) {
		if err := o.FS.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Fatal(err)
	}
}

func TestAFileThatIsShortOfWhatAnEmptyOneSaysIsNotATear(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 5, 0))
	path := hotPaths(t, o)[0]
	whole := mustRead(t, o.FS, path)
	s, err := scanHot(o.FS, path, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	// The crash came when the next file had been created, so this one was closed.
	if err := (reservation{Epoch: 1, Through: reserveBlock}).write(o.FS, o.Dir); err != nil {
		t.Fatal(err)
	}
	h := s.file.header
	h.FirstSeq, h.FirstLeaf = 6, s.count()
	w, err := createHot(o.FS, o.FS.PathJoin(o.Dir, logFolder, hotName(1, 6)), h)
	if err != nil {
		t.Fatal(err)
	}
	w.f.Close()
	mustWrite(t, o.FS, path, whole[:s.file.end.Load()-40])
	_, err = Open(o)
	wantCorrupt(t, err, path, s.file.end.Load()-40)
	mustWrite(t, o.FS, path, whole)
	l := mustOpen(t, o)
	defer mustClose(t, l)
	wantEvents(t, l, 5)
}

func TestAMissingFileIsNotAGap(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 30, 3<<10))
	paths := hotPaths(t, o)
	for i, p := range paths {
		whole := mustRead(t, o.FS, p)
		if err := o.FS.Remove(p); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(o); err == nil {
			t.Fatalf("without file %d of %d: the log opened with %d records", i, len(paths), len(readAll(t, l, 0)))
		}
		mustWrite(t, o.FS, p, whole)
	}
	mustClose(t, mustOpen(t, o))
}

// A file system that cannot cut a file back leaves what a full disk refused
// behind the closing mark. Two starts later it must still not come between.
func TestWhatAFullDiskRefusedNeverComesBackBetweenOtherRecords(t *testing.T) {
	mem := vfs.NewCrashableMem()
	half := &halfWriteFS{FS: mem}
	o := testOptions(half)
	committed, gate, full := newSeen(), make(chan struct{}), make(chan struct{}, 1)
	o.OnCommit = func(b Batch) {
		committed.commit(b)
		if b.Seq(0) == 1 {
			<-gate
		}
	}
	o.Events.NoSpace = func(error) { full <- struct{}{} }
	l := mustOpen(t, o)
	committed.wait(mustAppend(t, l, 0))
	var last uint64
	for n := 1; n < 12; n++ { // one batch of many records, of which half get written
		last = mustAppend(t, l, n)
	}
	half.failFrom(1, syscall.ENOSPC)
	close(gate)
	<-full
	// The disk has space again, and the power goes when the next file exists.
	var crashed *vfs.MemFS
	half.mu.Lock()
	half.in = 0
	half.beforeSyncData = func() {
		if crashed == nil {
			crashed = mem.CrashClone(vfs.CrashCloneCfg{})
		}
	}
	half.mu.Unlock()
	committed.wait(last)
	mustClose(t, l)
	if crashed == nil {
		t.Fatal("no crash")
	}
	o.FS = crashed
	for round := range 4 {
		committed := newSeen()
		o.OnCommit = committed.commit
		l, err := Open(o)
		if err != nil {
			t.Fatalf("start %d: %v", round, err)
		}
		last := uint64(0)
		for _, r := range readAll(t, l, 0) {
			if r.Seq <= last {
				t.Fatalf("seq %d after %d", r.Seq, last)
			}
			last = r.Seq
		}
		if last == 0 {
			t.Fatal("the published record is gone")
		}
		committed.wait(mustAppend(t, l, 50+round))
		next := crashed.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRNG(1)})
		mustClose(t, l)
		crashed, o.FS = next, next
	}
}

func TestAFullDiskInAnyFsyncEndsTheLog(t *testing.T) {
	for at := 1; ; at++ {
		fs := newCrashFS(vfs.NewCrashableMem(), newRNG(1))
		o := testOptions(fs)
		done := make(chan struct{})
		o.OnCommit = func(Batch) { close(done) }
		l := mustOpen(t, o)
		n, fired := 0, ""
		fs.mu.Lock()
		fs.fail = func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
				if n++; n == at {
					fired = op.Path
					return syscall.ENOSPC
				}
			}
			return nil
		}
		fs.mu.Unlock()
		mustAppend(t, l, 0)
		select {
		case <-done:
		case <-l.Failed():
		}
		err := l.Close()
		if fired == "" {
			if err != nil || at < 6 {
				t.Fatalf("%d syncs, %v", at-1, err)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a sync of %s that failed was passed over: %v", fired, err)
		}
		select {
		case <-l.Failed():
		default:
			t.Fatalf("sync %d of %s: the log does not say that it failed", at, fired)
		}
	}
}

func TestALaterVersionIsNotCalledDamage(t *testing.T) {
	o := testOptions(vfs.NewMem())
	mustClose(t, build(t, o, 3, 0))
	path := hotPaths(t, o)[0]
	b := mustRead(t, o.FS, path)
	h, n, err := decodeHotHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	head := h.encode()
	head[9] = 2 // the version
	m := newMarker(head)
	b = append(append([]byte(nil), head...), b[n:]...)
	m.put(b[n:], 0)
	mustWrite(t, o.FS, path, b)
	_, err = Open(o)
	var c *CorruptError
	if !errors.Is(err, ErrVersion) || errors.As(err, &c) || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	b[9] = 3 // now the mark does not fit: rot
	mustWrite(t, o.FS, path, b)
	_, err = Open(o)
	wantCorrupt(t, err, path, 0)
}

func TestAFileOfAnotherStreamOrEpochOrNameIsRefused(t *testing.T) {
	for name, change := range map[string]func(h *Header){
		"stream": func(h *Header) { h.Stream = strings.Repeat("0", 32) },
		"epoch":  func(h *Header) { h.Epoch = 7 },
		"name":   func(h *Header) { h.FirstSeq = 2 },
	} {
		o := testOptions(vfs.NewMem())
		mustClose(t, build(t, o, 3, 0))
		path := hotPaths(t, o)[0]
		h, _, err := decodeHotHeader(mustRead(t, o.FS, path))
		if err != nil {
			t.Fatal(err)
		}
		change(&h)
		if name == "epoch" {
			if err := o.FS.Remove(path); err != nil {
				t.Fatal(err)
			}
			path = filepath.Join(filepath.Dir(path), hotName(h.Epoch, h.FirstSeq))
		}
		w, err := createHot(o.FS, path, h)
		if err != nil {
			t.Fatal(err)
		}
		var p pendingBatch
		p.reset()
		for i := range uint64(3) {
			p.add(h.FirstSeq+i, 1, testEntry(1))
		}
		if err := w.appendBatch(p.buf); err != nil {
			t.Fatal(err)
		}
		w.advance(h.FirstSeq+2, 3)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if _, err = Open(o); err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestAStartOnAFullDiskSaysSoAndLeavesTheLogAsItWas(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	l := build(t, o, 5, 0)
	crash := mem.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, l)
	half := &halfWriteFS{FS: crash}
	half.failFrom(1, syscall.ENOSPC)
	o.FS = half
	if _, err := Open(o); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "space") {
		t.Fatal(err)
	}
	if half.fired.Load() == 0 {
		t.Fatal("no write failed")
	}
	names, err := crash.List("/data/" + logFolder)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	o.FS = crash
	l = mustOpen(t, o)
	defer l.Close()
	if n := len(readAll(t, l, 0)); n != 5 {
		t.Fatal(n)
	}
}
