package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

// The benchmarks' simulated network imports a library whose logger starts a
// goroutine when it is imported.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// testEntry returns an event whose bytes depend on n alone.
func testEntry(n int) *Entry {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	body := make([]byte, 20+rng.IntN(200))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	return &Entry{
		DID: fmt.Sprintf("did:plc:%024d", n%97), Host: fmt.Sprintf("pds%d.example", n%5), HostEpoch: 1,
		HostSeq: uint64(n), HostFloor: uint64(max(n-3, 0)), Verdict: Signature, Key: []byte{0xe7, 1, byte(n)},
		Head: fmt.Appendf(nil, "event %d ", n), Tail: body,
	}
}

// seen collects what OnCommit published.
type seen struct {
	mu   sync.Mutex
	cond sync.Cond
	recs map[uint64]Record
	last uint64
	over bool // no more will come
}

func newSeen() *seen {
	s := &seen{recs: map[uint64]Record{}}
	s.cond.L = &s.mu
	return s
}

func (s *seen) commit(b Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Len() {
		var r Record
		if err := b.Record(i, &r); err != nil {
			panic(err)
		}
		s.recs[r.Seq] = cloneRecord(&r)
		s.last = r.Seq
	}
	s.cond.Broadcast()
}

// wait returns when seq was published.
func (s *seen) wait(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.last < seq {
		s.cond.Wait()
	}
}

// waitOr returns when seq was published or failed is closed.
func (s *seen) waitOr(seq uint64, failed <-chan struct{}) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-failed:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.over = true
			s.cond.Broadcast()
		case <-done:
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.last < seq && !s.over {
		s.cond.Wait()
	}
}

func cloneRecord(r *Record) Record {
	c := *r
	c.DID, c.Host, c.Key = bytes.Clone(r.DID), bytes.Clone(r.Host), bytes.Clone(r.Key)
	c.Frame, c.Digest = bytes.Clone(r.Frame), bytes.Clone(r.Digest)
	return c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func testOptions(fs vfs.FS) Options {
	return Options{Dir: "/data", FS: fs, Logger: quiet(), RetryNoSpace: time.Millisecond}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, n int) uint64 {
	t.Helper()
	seq, err := l.Append(context.Background(), testEntry(n))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// readAll returns every record above after.
func readAll(t testing.TB, l *Log, after uint64) []Record {
	t.Helper()
	r := l.NewReader(after)
	defer r.Close()
	var out []Record
	for {
		var rec Record
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cloneRecord(&rec))
	}
}

// wantEntry checks that r is event n as it was appended.
func wantEntry(t testing.TB, r *Record, n int) {
	t.Helper()
	e := testEntry(n)
	want, _, _ := appendEntry(nil, r.Seq, r.Witnessed, e)
	if got := AppendRecord(nil, r); !bytes.Equal(got, want) {
		t.Fatalf("record %d is not event %d", r.Seq, n)
	}
}

func diskOptions(t testing.TB) Options {
	o := testOptions(vfs.Default)
	o.Dir = t.TempDir()
	return o
}

// hotFilesOf returns the hot files among the log's parts.
func hotFilesOf(l *Log) (out []*hotFile) {
	for _, f := range *l.files.Load() {
		if h, ok := any(f).(*hotFile); ok {
			out = append(out, h)
		}
	}
	return out
}
