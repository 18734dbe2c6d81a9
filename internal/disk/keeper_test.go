package disk

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a log of segments of 100 bytes.
type log struct {
	mu    sync.Mutex
	files []segmentlog.SealedFile
}

func (l *log) Sealed(uint64) []segmentlog.SealedFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.files)
}

// archived says that the archive has everything.
func (l *log) archived() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.files {
		l.files[i].Archived = true
	}
}

func (l *log) Evict(n segmentlog.SegmentName) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.files, func(f segmentlog.SealedFile) bool { return f.Name == n })
	if !l.files[i].Archived {
		return segmentlog.ErrNotArchived
	}
	l.files = slices.Delete(l.files, i, i+1)
	return nil
}

func (l *log) add(archived bool) {
	seq := uint64(1)
	if n := len(l.files); n > 0 {
		seq = l.files[n-1].Name.LastSeq + 1
	}
	l.files = append(l.files, segmentlog.SealedFile{Name: segmentlog.SegmentName{Epoch: 1, FirstSeq: seq, LastSeq: seq}, Size: 100, Archived: archived})
}

func keeperOf(l *log) *Keeper {
	return NewKeeper(Options{
		Budget: 1000, Log: l, Logger: slog.New(slog.DiscardHandler),
		Usage: func() (int64, error) { return int64(100 * len(l.Sealed(0))), nil },
	})
}

func TestTheOldestThatTheArchiveHasGoFirstAndTheNewestStays(t *testing.T) {
	l := &log{}
	k := keeperOf(l)
	for i := range 10 {
		l.add(i != 0 && i != 3) // two are not shipped yet
	}
	k.look(t.Context())
	if want := []uint64{1, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(seqs(l), want) || k.Behind() {
		t.Errorf("%d stay, paused %t", seqs(l), k.Behind())
	}
	l.add(true)
	l.add(true)
	k.look(t.Context())
	if want := []uint64{1, 4, 6, 7, 8, 9, 10, 11, 12}; !slices.Equal(seqs(l), want) {
		t.Errorf("%d stay", seqs(l))
	}
	k.o.Budget = 100
	k.look(t.Context())
	if want := []uint64{1, 4, 12}; !slices.Equal(seqs(l), want) {
		t.Errorf("%d stay", seqs(l))
	}
}

func TestWhatTheArchiveCannotShowThatItHasStays(t *testing.T) {
	l := &log{}
	k := keeperOf(l)
	for range 12 {
		l.add(true)
	}
	asked := 0
	var answer error
	k.o.Holds = func(_ context.Context, f *segmentlog.SealedFile) error {
		asked++
		if f.Name.FirstSeq == 2 {
			return nil
		}
		return answer
	}
	answer = bucket.ErrNotFound // all but the second are gone
	k.look(t.Context())
	if want := []uint64{1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; !slices.Equal(seqs(l), want) || asked != 11 {
		t.Errorf("%d stay, %d were asked for", seqs(l), asked)
	}
	asked, answer = 0, bucket.ErrUnavailable // asked once, not once a segment
	k.look(t.Context())
	if len(l.files) != 11 || asked != 1 {
		t.Errorf("%d stay, %d were asked for", len(l.files), asked)
	}
}

func seqs(l *log) (out []uint64) {
	for _, f := range l.files {
		out = append(out, f.Name.FirstSeq)
	}
	return out
}

func TestReadingPausesWhereNothingCanGoAndResumesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		k := keeperOf(l)
		for range 10 {
			l.add(false)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		synctest.Wait()
		if !k.Behind() || len(l.Sealed(0)) != 10 {
			t.Fatalf("paused %t, %d segments", k.Behind(), len(l.files))
		}
		waited := make(chan time.Duration)
		began := time.Now()
		go func() { k.Wait(context.Background()); waited <- time.Since(began) }()
		const away = 65 * time.Second
		time.Sleep(away) // virtual
		synctest.Wait()
		l.archived() // the bucket is back
		if d := <-waited; d < away || d > away+k.o.Every {
			t.Errorf("it waited %s", d)
		}
		cancel()
		<-done
	})
}

func TestAFileIsCountedOnceWhateverItIsCalled(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"segments", "archive/segments"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "segments", "a")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	one, err := Usage(dir)
	if err != nil || one < 1<<20 || one > 1<<20+64<<10 {
		t.Fatalf("%d bytes, %v", one, err)
	}
	if shared(path) {
		t.Error("it has one name")
	}
	if err := os.Link(path, filepath.Join(dir, "archive", "segments", "a")); err != nil {
		t.Fatal(err)
	}
	if two, err := Usage(dir, filepath.Join(dir, "nothing")); err != nil || two != one {
		t.Errorf("%d bytes, %d with a second name, %v", one, two, err)
	}
	if !shared(path) {
		t.Error("it has two names")
	}
}
