package ship

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestWhoIsNotTheHolderIsRefusedAndToldWhoIs(t *testing.T) {
	m := newMemory()
	first := mustStart(t, options(m, t.TempDir()))
	first.append("event", 100)
	first.allShipped()
	before := m.Snapshot()
	o := options(m, t.TempDir())
	o.Machine = "other"
	_, err := start(t, o)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "test writes stream") || !strings.Contains(err.Error(), "--take-over") {
		t.Errorf("%v", err)
	}
	if !maps.EqualFunc(before, m.Snapshot(), slices.Equal) {
		t.Error("being refused changed the archive")
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 1 || left[0].Name() != lockFile {
		t.Errorf("being refused left %v, %v", left, err)
	}
	first.stop()
	o.TakeOver = false
	second := mustStart(t, o) // it was released
	defer second.stop()
	if e := second.archive.Stream().Current(); e.Epoch != 2 || e.FirstSeq != 2*EpochNumbers {
		t.Errorf("%+v", e)
	}
}

func TestASecondProcessOnADirectoryIsRefusedAndTheFirstGoesOn(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	if _, err := start(t, o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("%v", err)
	}
	if err := w.archive.Check(t.Context()); err != nil {
		t.Error(err)
	}
	w.append("event", 100)
	w.allShipped()
	w.stop()
}

func TestTheFirstNumberMayBeRaisedFarAboveTheLease(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	for _, initial := range []uint64{1, 5 * EpochNumbers, 7*EpochNumbers - 1, 3} {
		o.InitialSeq = initial
		w := mustStart(t, o)
		if c := w.archive.Ceiling(); c < initial+EpochNumbers/2 {
			t.Errorf("from %d on, up to %d", initial, c)
		}
		w.append("event", 20)
		w.stop()
	}
}

func TestAHolderThatIsAliveIsNotOvertaken(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	o.Renew = time.Millisecond
	first := mustStart(t, o)
	o2 := options(m, t.TempDir())
	o2.TakeOver, o2.Watch = true, 200*time.Millisecond
	if _, err := start(t, o2); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "its holder is alive") {
		t.Errorf("%v", err)
	}
	if err := first.archive.Check(t.Context()); err != nil {
		t.Error(err)
	}
	first.stop()
}

// A holder is stopped before or after any call, another takes over and writes, and the
// first wakes: what a reader of the archive saw stays as it was, and grows.
func TestAHolderThatWakesAfterATakeOverChangesNothing(t *testing.T) {
	for _, done := range []bool{false, true} {
		for at := 1; ; at++ {
			if !wakesAt(t, at, done) {
				t.Logf("woken at each of %d calls, which were done: %t", at-1, done)
				if at < 7 {
					t.Error("that is too few to mean anything")
				}
				break
			}
		}
	}
}

func wakesAt(t *testing.T, at int, done bool) bool {
	t.Helper()
	m := newMemory()
	first := mustStart(t, options(m, t.TempDir()))
	first.append("first", 60)
	first.allShipped()
	calls, paused, wake := 0, make(chan struct{}), make(chan struct{})
	hook := func(string) error {
		m.Mu.Lock()
		calls++
		hit := calls == at
		m.Mu.Unlock()
		if hit {
			close(paused)
			<-wake
		}
		return nil
	}
	m.Mu.Lock()
	if done {
		m.After = hook
	} else {
		m.Before = hook
	}
	m.Mu.Unlock()
	first.append("first again", 120)
	hit := make(chan bool, 1)
	go func() { first.until(func() bool { return first.shippedAll() || first.err != nil }); hit <- false }()
	go func() { <-paused; hit <- true }()
	if !<-hit {
		close(paused) // its waiter
		m.Mu.Lock()
		m.Before, m.After = nil, nil
		m.Mu.Unlock()
		<-hit
		first.stop()
		return false
	}
	m.Mu.Lock()
	m.Before, m.After = nil, nil
	m.Mu.Unlock()
	o := options(m, t.TempDir())
	o.TakeOver = true
	second := mustStart(t, o)
	_, before := contents(t, m)
	close(wake)
	second.append("second", 100)
	second.allShipped()
	first.until(func() bool { return first.err != nil || first.shippedAll() })
	<-hit
	if !errors.Is(first.err, ErrOvertaken) && at > 1 {
		// It had shipped all before it looked again: then it learns with the next segment.
		first.append("too late", 60)
		first.until(func() bool { return first.err != nil || first.shippedAll() })
	}
	if !errors.Is(first.err, ErrOvertaken) {
		t.Errorf("woken at call %d (done: %t): %v", at, done, first.err)
	}
	first.kill()
	_, after := contents(t, m)
	for seq, e := range before {
		if after[seq] != e {
			t.Fatalf("woken at call %d (done: %t): seq %d was %q and is %q", at, done, seq, e, after[seq])
		}
	}
	seconds := 0
	for seq, e := range after {
		if strings.HasPrefix(e, "second") {
			seconds++
		} else if _, known := before[seq]; !known {
			t.Fatalf("woken at call %d (done: %t): seq %d, %q, was added by the one that was overtaken", at, done, seq, e)
		}
	}
	if seconds < 80 {
		t.Errorf("%d events of the new holder", seconds)
	}
	second.stop()
	return true
}

func TestALostDiskGoesOnInANewEpochAboveEveryNumber(t *testing.T) {
	m := newMemory()
	first := mustStart(t, options(m, t.TempDir()))
	last := first.append("first", 200)
	first.allShipped()
	_, shipped := contents(t, m)
	first.kill()
	for round := range 3 {
		o := options(m, t.TempDir())
		o.TakeOver = true
		w := mustStart(t, o)
		if w.log.Tip() != maxSeq(shipped) || w.log.Oldest() != 1 {
			t.Errorf("the log is %d to %d, the archive ends at %d", w.log.Oldest(), w.log.Tip(), maxSeq(shipped))
		}
		e := w.archive.Stream().Current()
		if e.FirstSeq <= last || e.PrevLastSeq != maxSeq(shipped) {
			t.Errorf("round %d: %+v after %d", round, e, last)
		}
		last = w.append(fmt.Sprint("round ", round), 100)
		w.allShipped()
		_, shipped = contents(t, m)
		w.kill()
	}
}

func maxSeq(events map[uint64]string) (last uint64) {
	for seq := range events {
		last = max(last, seq)
	}
	return last
}

func TestARestoredBackupOpensANewEpochAndSetsItsOwnAside(t *testing.T) {
	m := newMemory()
	dir := t.TempDir()
	o := options(m, dir)
	w := mustStart(t, o)
	w.append("before", 100)
	w.allShipped()
	w.kill()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w = mustStart(t, o)
	last := w.append("after", 100)
	w.allShipped()
	_, shipped := contents(t, m)
	w.kill()

	o.Dir = backup
	w = mustStart(t, o)
	defer w.stop()
	if e := w.archive.Stream().Current(); e.Epoch != 2 || e.FirstSeq <= last {
		t.Errorf("%+v", e)
	}
	r := w.log.NewReader(0)
	defer r.Close()
	var rec segmentlog.Record
	n := 0
	for r.Next(&rec) == nil {
		n++
		if shipped[rec.Seq] != string(rec.Frame) {
			t.Fatalf("seq %d is %q, not %q", rec.Seq, rec.Frame, shipped[rec.Seq])
		}
	}
	if n != len(shipped) {
		t.Errorf("%d events of %d", n, len(shipped))
	}
	if left, err := os.ReadDir(filepath.Join(backup, "aside", "before-epoch-2")); err != nil || len(left) == 0 {
		t.Errorf("what the archive had not was not set aside: %v", err)
	}
}

func TestTheSameDirectoryResumesInItsEpoch(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	for round := range 4 {
		w := mustStart(t, o)
		w.append(fmt.Sprint("round ", round), 70)
		if e := w.archive.Stream().Current(); e.Epoch != 1 {
			t.Errorf("round %d: %+v", round, e)
		}
		if round%2 == 0 {
			w.allShipped()
			w.kill()
		} else {
			w.stop()
		}
	}
}

func TestWhatDoesNotBelongTogetherIsRefused(t *testing.T) {
	m := newMemory()
	dir := t.TempDir()
	w := mustStart(t, options(m, dir))
	w.append("event", 50)
	w.allShipped()
	w.stop()
	strange := mustStart(t, options(newMemory(), t.TempDir()))
	strange.stop()

	older := newMemory()
	maps.Copy(older.Objects, m.Objects)
	o := options(m, t.TempDir())
	mustStart(t, o).stop() // epoch 2
	for what, c := range map[string]struct {
		o    Options
		is   error
		want string
	}{
		"another stream":     {options(m, strange.dir), ErrOtherStream, "is of stream"},
		"an older archive":   {options(older, o.Dir), ErrOtherStream, "older than the data directory"},
		"an empty archive":   {options(newMemory(), dir), ErrNoStream, "archive reseed"},
		"no stream allowed":  {func() Options { o := options(newMemory(), t.TempDir()); o.NewStream = false; return o }(), ErrNoStream, "--new-stream"},
		"segments, no ident": {options(without(m, StreamKey, LeaseKey), t.TempDir()), ErrNoStream, "but no stream.json"},
		"no lease":           {options(without(m, LeaseKey), t.TempDir()), ErrNoStream, "restore it"},
	} {
		if _, err := Attach(t.Context(), c.o); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A start that is killed while it tries the bucket leaves what it wrote: the next one begins
// the stream all the same.
func TestWhatAKilledProbeLeftDoesNotStandInTheWayOfAStream(t *testing.T) {
	m := newMemory()
	if _, err := m.Create(t.Context(), bucket.ProbePrefix+"LEFT", bucket.BytesBody([]byte("first"))); err != nil {
		t.Fatal(err)
	}
	w := mustStart(t, options(m, t.TempDir()))
	w.append("event", 3)
	w.stop()
	if err := bucket.Probe(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func without(m *memory, keys ...string) *memory {
	c := newMemory()
	maps.Copy(c.Objects, m.Objects)
	for _, k := range keys {
		delete(c.Objects, k)
	}
	return c
}

func TestOfTwoWhoTakeOverAtOnceOneDoes(t *testing.T) {
	for range 50 {
		m := newMemory()
		first := mustStart(t, options(m, t.TempDir()))
		first.append("first", 30)
		first.kill()
		type result struct {
			w   *writer
			err error
		}
		results := make(chan result, 2)
		for range 2 {
			o := options(m, t.TempDir())
			o.TakeOver, o.Watch = true, 5*time.Millisecond
			go func() {
				w, err := start(t, o)
				results <- result{w, err}
			}()
		}
		won := 0
		for range 2 {
			r := <-results
			if r.err == nil {
				won++
				defer r.w.kill()
			} else if !errors.Is(r.err, ErrHeld) {
				t.Error(r.err)
			}
		}
		if won == 0 || won == 2 && func() bool { l, _, _ := readLease(t.Context(), m); return l.Epoch != 3 }() {
			t.Fatalf("%d took it", won)
		}
	}
}

func TestALeaseIsRenewedAndItsCeilingRaised(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	o.InitialSeq = EpochNumbers - 30 // half of what it may reserve is used up
	w := mustStart(t, o)
	defer w.stop()
	before := w.archive.Lease()
	w.append("event", 60)
	l := &fixed{tip: w.log.Tip(), reserved: before.Reserved - EpochNumbers/2 + 1}
	ctx, cancel := context.WithCancel(t.Context())
	l.raised = cancel
	w.archive.Keep(ctx, l)
	after := w.archive.Lease()
	if after.Reserved != before.Reserved+EpochNumbers || l.ceiling != after.Reserved || after.Tip < w.log.Tip() {
		t.Errorf("%+v, then %+v, ceiling %d", before, after, l.ceiling)
	}
}

// fixed is a log as far as a lease needs one.
type fixed struct {
	tip, reserved, ceiling uint64
	raised                 func()
}

func (f *fixed) Tip() uint64      { return f.tip }
func (f *fixed) Reserved() uint64 { return f.reserved }
func (f *fixed) SetCeiling(n uint64) {
	f.ceiling = n
	f.raised()
}

func TestARenewalWhoseAnswerWasLostIsNotATakeOver(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	w.cancel() // nothing else renews
	w.running.Wait()
	lost := errors.New("the answer was lost")
	m.Mu.Lock()
	m.After = func(string) error { return lost }
	m.Mu.Unlock()
	if err := w.archive.update(t.Context(), func(*Lease) {}); !errors.Is(err, lost) {
		t.Error(err)
	}
	m.Mu.Lock()
	m.After = nil
	m.Mu.Unlock()
	if err := w.archive.update(t.Context(), func(*Lease) {}); !errors.Is(err, bucket.ErrChanged) || w.archive.Err() != nil {
		t.Errorf("%v, %v", err, w.archive.Err())
	}
	w.stop()
	if l, _, err := readLease(t.Context(), m); err != nil || !l.Released {
		t.Errorf("%+v, %v", l, err)
	}
}
