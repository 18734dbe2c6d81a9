package segmentlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const benchStream = "000102030405060708090a0b0c0d0e0f"

// benchEntry returns an event of size bytes that does not compress.
func benchEntry(rng *rand.ChaCha8, n, size int) *Entry {
	body := make([]byte, size)
	_, _ = rng.Read(body) // never fails
	return &Entry{DID: fmt.Sprintf("did:plc:%024d", n%1000), Host: "pds.example", HostEpoch: 1, HostSeq: uint64(n + 1), Tail: body}
}

// sealedDir fills a data directory with count segments of perSegment events each.
func sealedDir(b *testing.B, count, perSegment, size int) (dir string, last uint64) {
	b.Helper()
	dir = b.TempDir()
	segments := filepath.Join(dir, segmentFolder)
	if err := os.MkdirAll(segments, 0o755); err != nil {
		b.Fatal(err)
	}
	stream, err := json.Marshal(Stream{Version: 1, ID: benchStream, Epochs: []Epoch{{Epoch: 1, FirstSeq: 1}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, streamFile), stream, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{})
	s := sealer{fs: vfs.Default, dir: segments, tree: ranges.NewEmptyRange(0)}
	began := time.Now().Add(-time.Hour).UnixMicro()
	for range count {
		tmp := filepath.Join(segments, "x")
		f, err := os.Create(tmp)
		if err != nil {
			b.Fatal(err)
		}
		w, err := newSegmentWriter(f, benchStream, 1, 0, s.tree, SegmentOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for range perSegment {
			last++
			raw, _, _ := appendEntry(nil, last, began+int64(last), benchEntry(rng, int(last), size))
			if err := w.add(raw, &Record{Seq: last, Witnessed: began + int64(last)}); err != nil {
				b.Fatal(err)
			}
		}
		footer, err := w.finish(s.tree)
		w.close()
		if err = errors.Join(err, f.Close(), os.Rename(tmp, filepath.Join(segments, footer.Name.String())), extend(s.tree, footer)); err != nil {
			b.Fatal(err)
		}
	}
	return dir, last
}

// BenchmarkStart opens a log of 1,000 sealed segments and a hot file of 256 MiB
// that a crash left: the time is that from the start of the process's Open to a log
// that serves.
func BenchmarkStart(b *testing.B) {
	dir, _ := sealedDir(b, 1000, 100, 1000)
	o := Options{Dir: dir, Logger: quiet(), MaxHotBytes: 1 << 30}
	l := mustOpen(b, o)
	rng := rand.NewChaCha8([32]byte{1})
	for n := 0; n < 256<<20/3500; n++ {
		if _, err := l.Append(context.Background(), benchEntry(rng, n, 3500)); err != nil {
			b.Fatal(err)
		}
	}
	last := l.next - 1
	for l.Tip() < last {
		time.Sleep(time.Millisecond) // not a test: the fixture is being written
	}
	crashed := b.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil { // as a kill would leave it
		b.Fatal(err)
	}
	mustClose(b, l)
	b.ResetTimer()
	for range b.N {
		o.Dir = crashed
		l, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if l.Tip() != last {
			b.Fatalf("tip %d, want %d", l.Tip(), last)
		}
		mustClose(b, l)
		if err := os.Remove(filepath.Join(crashed, reservedFile)); err != nil { // unclean again
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSeek goes from a random cursor in a sealed log of 1,000,000 events to
// the first record in hand.
func BenchmarkSeek(b *testing.B) {
	dir, last := sealedDir(b, 40, 25_000, 400)
	l := mustOpen(b, Options{Dir: dir, Logger: quiet()})
	defer mustClose(b, l)
	rng := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	var rec Record
	for b.Loop() {
		cursor := rng.Uint64N(last)
		began := time.Now()
		r := l.NewReader(cursor)
		if err := r.Next(&rec); err != nil || rec.Seq != cursor+1 {
			b.Fatal(rec.Seq, err)
		}
		took = append(took, time.Since(began))
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkReadSealed reads a whole sealed log.
func BenchmarkReadSealed(b *testing.B) {
	dir, last := sealedDir(b, 4, 10_000, 3500)
	l := mustOpen(b, Options{Dir: dir, Logger: quiet()})
	defer mustClose(b, l)
	b.ReportAllocs()
	var rec Record
	n := 0
	r := l.NewReader(0)
	for b.Loop() {
		if err := r.Next(&rec); errors.Is(err, io.EOF) {
			if n = 0; r.Close() != nil {
				b.Fatal("close")
			}
			r = l.NewReader(0)
			continue
		} else if err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.SetBytes(3500)
	_ = last
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}
