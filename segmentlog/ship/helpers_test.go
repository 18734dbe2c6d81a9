package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is the bucket of the tests.
type memory = buckettest.Memory

func newMemory() *memory { return buckettest.NewMemory() }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// writer is a data directory that is attached to an archive, its log and its shipper.
type writer struct {
	t       testing.TB
	dir     string
	archive *Archive
	fetcher atomic.Pointer[fetch.Fetcher] // nil: segments are read from the memory of the bucket
	log     *segmentlog.Log
	shipper *Shipper

	cancel  context.CancelFunc
	running sync.WaitGroup
	err     error // of the shipper

	mu      sync.Mutex
	changed sync.Cond
	tip     uint64
	sealed  int
	shipped []Entry
	failed  map[string]int
}

func options(b *memory, dir string) Options {
	return Options{Bucket: b, Dir: dir, NewStream: true, Watch: time.Millisecond, Renew: time.Hour, Logger: quiet(), Machine: "test"}
}

// start attaches, opens the log and ships.
func start(t testing.TB, o Options) (*writer, error) {
	w := &writer{t: t, dir: o.Dir, failed: map[string]int{}}
	w.changed.L = &w.mu
	var err error
	if w.archive, err = Attach(t.Context(), o); err != nil {
		return nil, err
	}
	lo := segmentlog.Options{
		Dir: o.Dir, Logger: quiet(), Stream: w.archive.Stream(), Archived: w.archive.Archived(), Ceiling: w.archive.Ceiling(),
		OpenArchived: func(a segmentlog.Archived) (segmentlog.ArchivedFile, error) {
			if f := w.fetcher.Load(); f != nil {
				return f.Open(a.Key, a.Size), nil
			}
			return openIn(o, a)
		},
		Now: o.Now, MaxHotBytes: 8 << 10, Seal: &segmentlog.SegmentOptions{BlockSize: 2 << 10},
		OnCommit: func(b segmentlog.Batch) { w.change(func() { w.tip = b.Seq(b.Len() - 1) }) },
	}
	lo.Events.Seal = func(segmentlog.SealInfo) {
		w.change(func() {
			w.sealed++
			if w.shipper != nil {
				w.shipper.Wake()
			}
		})
	}
	if w.log, err = segmentlog.Open(lo); err != nil {
		return nil, errors.Join(err, w.archive.Close())
	}
	s := NewShipper(ShipperOptions{Archive: w.archive, Log: w.log, Logger: quiet(), Events: ShipperEvents{
		Failed:  func(kind string) { w.change(func() { w.failed[kind]++ }) },
		Shipped: func(e Entry, _ time.Duration) { w.change(func() { w.shipped = append(w.shipped, e) }) },
	}})
	w.change(func() { w.shipper = s })
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.running.Go(func() {
		err := s.Run(ctx)
		w.change(func() { w.err = err })
	})
	w.running.Go(func() { w.archive.Keep(ctx, w.log) })
	return w, nil
}

func mustStart(t testing.TB, o Options) *writer {
	t.Helper()
	w, err := start(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func openIn(o Options, a segmentlog.Archived) (segmentlog.ArchivedFile, error) {
	m, ok := o.Bucket.(*memory)
	if !ok {
		return nil, os.ErrInvalid
	}
	for key, b := range m.Snapshot() {
		if _, n, ok := parseSegmentKey(key); ok && n == a.Name {
			return nopCloser{bytes.NewReader(b)}, nil
		}
	}
	return nil, os.ErrNotExist
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func (w *writer) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.changed.Broadcast()
}

// until waits for a condition of what change changes.
func (w *writer) until(ok func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !ok() {
		w.changed.Wait()
	}
}

// append writes n events that begin with a word and waits until they are durable.
func (w *writer) append(word string, n int) (last uint64) {
	w.t.Helper()
	for i := range n {
		var err error
		last, err = w.log.Append(w.t.Context(), &segmentlog.Entry{
			DID: fmt.Sprintf("did:plc:%024d", i%7), Host: "pds.example", HostEpoch: 1, HostSeq: uint64(i), Verdict: segmentlog.Signature,
			Key: []byte{0xe7, 1}, Head: fmt.Appendf(nil, "%s %d ", word, i), Tail: bytes.Repeat([]byte{byte(i)}, 150),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		if i%8 == 7 || i == n-1 { // so that no commit is larger than a segment
			w.until(func() bool { return w.tip >= last })
		}
	}
	return last
}

// allShipped waits until every closed file is sealed and shipped.
func (w *writer) allShipped() { w.until(w.shippedAll) }

func (w *writer) shippedAll() bool {
	if w.log.Closed() > 0 { // first: what is closed is sealed after it
		return false
	}
	files, through := w.log.Sealed(0), w.shipper.Through()
	told := len(w.shipped) == 0 || w.shipped[len(w.shipped)-1].Name.LastSeq == through // the event comes after the number
	return told && len(files) > 0 && through == files[len(files)-1].Name.LastSeq
}

// kill ends everything but the log as a kill would; the log is closed, since its locks
// are the process's.
func (w *writer) kill() {
	w.cancel()
	w.running.Wait()
	if err := errors.Join(w.log.Close(), w.archive.Close()); err != nil {
		w.t.Error(err)
	}
}

// stop ends the writer and releases the lease.
func (w *writer) stop() {
	w.t.Helper()
	w.kill()
	if err := w.archive.Release(context.Background(), w.log.Tip()); err != nil {
		w.t.Error(err)
	}
}

// contents are what a reader of the archive sees: its log's entries, and every event
// with its seq.
func contents(t testing.TB, m *memory) (entries []Entry, events map[uint64]string) {
	t.Helper()
	s, err := ReadStream(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ReadInventory(t.Context(), m, s)
	if err != nil {
		t.Fatal(err)
	}
	objects := m.Snapshot()
	events = map[uint64]string{}
	for _, e := range v.Entries {
		b := objects[e.Key()]
		seg, err := segmentlog.OpenSegment(e.Key(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range seg.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			events[rec.Seq] = string(rec.Frame)
		}
	}
	return v.Entries, events
}
