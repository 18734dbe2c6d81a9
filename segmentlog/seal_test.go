package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// sealEvents lets a test wait for seals.
type sealEvents struct {
	mu     sync.Mutex
	cond   sync.Cond
	sealed []SealInfo
	failed int
}

func watchSeals(o *Options) *sealEvents {
	s := &sealEvents{}
	s.cond.L = &s.mu
	o.Events.Seal = func(i SealInfo) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sealed = append(s.sealed, i)
		s.cond.Broadcast()
	}
	o.Events.SealFailed = func(string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed++
		s.cond.Broadcast()
	}
	return s
}

func (s *sealEvents) wait(until func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !until() {
		s.cond.Wait()
	}
}

func TestSealedSegmentsServeEveryCursorAcrossRestarts(t *testing.T) {
	o := diskOptions(t)
	o.MaxHotBytes = 16 << 10
	o.Seal = &SegmentOptions{BlockSize: 2 << 10}
	n := 0
	for range 3 {
		seals := watchSeals(&o)
		committed := newSeen()
		o.OnCommit = committed.commit
		l := mustOpen(t, o)
		for range 400 {
			committed.wait(mustAppend(t, l, n))
			n++
		}
		seals.wait(func() bool { return len(seals.sealed) >= 3 })
		for _, after := range []uint64{0, 1, 57, 399, 400, 401, uint64(n) - 1, uint64(n)} {
			recs := readAll(t, l, after)
			if len(recs) != n-int(min(after, uint64(n))) {
				t.Fatalf("cursor %d: %d records of %d", after, len(recs), n)
			}
			for i := range recs {
				wantEntry(t, &recs[i], int(recs[i].Seq)-1)
			}
		}
		mustClose(t, l)
	}
}

func TestAReaderGoesOnWhileItsHotFileIsSealedAndRemoved(t *testing.T) {
	o := diskOptions(t)
	o.MaxHotBytes = 8 << 10
	o.Seal = &SegmentOptions{BlockSize: 2 << 10}
	seals := watchSeals(&o)
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	defer mustClose(t, l)
	r := l.NewReader(0)
	defer r.Close()
	var rec Record
	committed.wait(mustAppend(t, l, 0))
	if err := r.Next(&rec); err != nil { // in the first file
		t.Fatal(err)
	}
	const n = 1000
	for i := 1; i < n; i++ {
		committed.wait(mustAppend(t, l, i))
	}
	seals.wait(func() bool { return len(seals.sealed) >= 10 })
	for i := 1; i < n; i++ {
		if err := r.Next(&rec); err != nil {
			t.Fatal(err)
		}
		wantEntry(t, &rec, i)
	}
}

func TestAHotFileIsSealedByAge(t *testing.T) {
	o := diskOptions(t)
	o.SegmentAge = 20 * time.Millisecond
	o.Seal = &SegmentOptions{}
	seals := watchSeals(&o)
	l := mustOpen(t, o)
	defer mustClose(t, l)
	mustAppend(t, l, 0)
	seals.wait(func() bool { return len(seals.sealed) == 1 })
	mustAppend(t, l, 1)
	seals.wait(func() bool { return len(seals.sealed) == 2 })
}

func TestPowerCutWhileSealingLosesNothingAndLeavesNothingBehind(t *testing.T) {
	s := seed(t)
	const lines, points = 30, 12
	all := lineage{t: t, fired: map[place]int{}}
	for i := range lines {
		g := newLineage(t, rand.New(rand.NewPCG(s, uint64(i))))
		g.tune = sealSmall
		g.run(points)
		for at, n := range g.fired {
			all.fired[at] += n
		}
		o := g.opts
		o.FS = g.mem
		l := mustOpen(t, o)
		g.check(l)
		mustClose(t, l)
		for _, dir := range []string{"/data/log", "/data/segments"} {
			names, err := g.mem.List(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				if strings.HasSuffix(n, tmpSuffix) {
					t.Fatalf("%s/%s was left behind", dir, n)
				}
			}
		}
	}
	if all.reportFired()["seal"] == 0 {
		t.Fatal("no crash came in the middle of a seal")
	}
}

func TestASealThatFailsIsTriedAgainAndTheHotFileServesMeanwhile(t *testing.T) {
	fs := newCrashFS(vfs.NewCrashableMem(), rand.New(rand.NewPCG(1, 1)))
	fired := 0
	fs.fail = func(op errorfs.Op) error {
		if strings.Contains(op.Path, "/segments/") && op.Kind == errorfs.OpFileSync && fired == 0 {
			fired++
			return errInjected
		}
		return nil
	}
	o := testOptions(fs)
	o.Seal = &SegmentOptions{}
	o.MaxHotBytes = 1 << 10
	seals := watchSeals(&o)
	l := mustOpen(t, o)
	defer mustClose(t, l)
	for i := range 20 {
		if _, err := l.Append(context.Background(), testEntry(i)); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			for l.Tip() < uint64(i+1) { // one commit a few records, so that files rotate
				<-time.After(time.Millisecond)
			}
		}
	}
	seals.wait(func() bool { return seals.failed == 1 })
	if recs := readAll(t, l, 0); len(recs) != 20 {
		t.Fatal(fmt.Sprint(len(recs), " records while sealing fails"))
	}
	seals.wait(func() bool { return len(seals.sealed) >= 2 })
	if recs := readAll(t, l, 0); len(recs) != 20 || fired != 1 {
		t.Fatal(fmt.Sprint(len(recs), " records after sealing again"))
	}
}

// A crash may come between the naming of a segment and the removal of its hot file.
// The hot file is what is left of the records when the segment then turns out damaged.
func TestASegmentThatIsDamagedKeepsItsHotFile(t *testing.T) {
	fs := newCrashFS(vfs.NewCrashableMem(), rand.New(rand.NewPCG(1, 1)))
	kept := ""
	fs.fail = func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, hotSuffix) {
			kept = op.Path
			return errInjected
		}
		return nil
	}
	o := testOptions(fs)
	o.Seal = &SegmentOptions{}
	o.SegmentAge = time.Millisecond
	seals := watchSeals(&o)
	l := mustOpen(t, o)
	mustAppend(t, l, 0)
	seals.wait(func() bool { return seals.failed == 1 })
	mustClose(t, l)
	if kept == "" || len(seals.sealed) != 1 {
		t.Fatalf("%d seals, hot file %q", len(seals.sealed), kept)
	}

	o = testOptions(fs.mem)
	path := seals.sealed[0].Path
	segment, err := ReadFile(fs.mem, path)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(b []byte) {
		t.Helper()
		if err := ReplaceFile(fs.mem, fs.mem.PathDir(path), fs.mem.PathBase(path), b); err != nil {
			t.Fatal(err)
		}
	}
	f, s, err := openSealed(fs.mem, path)
	if err != nil {
		t.Fatal(err)
	}
	block := s.Footer().Blocks[0]
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(segment)
	damaged[block.Offset+block.Wire/2] ^= 1
	replace(damaged)
	var bad *CorruptError
	if l, err := Open(o); !errors.As(err, &bad) {
		t.Fatalf("opened %v, %v; want the damage to be named", l, err)
	}
	if _, err := fs.mem.Stat(kept); err != nil {
		t.Fatalf("the hot file is gone: %v", err)
	}

	replace(segment)
	l = mustOpen(t, o)
	defer mustClose(t, l)
	if _, err := fs.mem.Stat(kept); !oserror.IsNotExist(err) {
		t.Errorf("the hot file of a segment that is whole: %v, want it gone", err)
	}
	recs := readAll(t, l, 0)
	if len(recs) != 1 {
		t.Fatalf("%d records, want 1", len(recs))
	}
	wantEntry(t, &recs[0], 0)
}
