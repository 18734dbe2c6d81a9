package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// benchEntrySize is about what a commit's record measures in the network, in bytes.
const benchEntrySize = 3500

// cpuTime is the processor time that this process has used, kernel included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportEvents adds events a second and processor time an event.
func reportEvents(b *testing.B, n int, cpu time.Duration) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(n), "cpu-µs/event")
}

// BenchmarkAppend sequences events and makes them durable, as fast as it goes.
func BenchmarkAppend(b *testing.B) {
	done := make(chan struct{}, 1)
	o := Options{Dir: b.TempDir(), Logger: quiet()}
	commits := 0
	o.OnCommit = func(batch Batch) {
		commits++
		if batch.Seq(batch.Len()-1) == uint64(b.N) {
			done <- struct{}{}
		}
	}
	l := mustOpen(b, o)
	e := benchEntry(rand.NewChaCha8([32]byte{1}), 1, benchEntrySize)
	b.SetBytes(benchEntrySize)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if _, err := l.Append(context.Background(), e); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	reportEvents(b, b.N, cpuTime()-cpu)
	b.ReportMetric(float64(b.N)/float64(commits), "events/commit")
	b.StopTimer()
	mustClose(b, l)
}

// crashedHot returns a folder with a hot file of so many bytes that nothing closed.
func crashedHot(b *testing.B, size int) (dir, path string, count int) {
	b.Helper()
	dir = b.TempDir()
	path = filepath.Join(dir, hotName(1, 1))
	h := *sampleHeader()
	w, err := createHot(vfs.Default, path, h)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	var p pendingBatch
	for seq := uint64(1); w.size < int64(size); {
		p.reset()
		for range 20 {
			p.add(seq, 1, benchEntry(rng, int(seq), benchEntrySize))
			seq++
		}
		w.mark.put(p.buf, w.size)
		if err := w.write(p.buf); err != nil {
			b.Fatal(err)
		}
		w.noteBatch(w.end.Load(), &p)
		w.advance(seq-1, 20)
	}
	if err := w.f.Close(); err != nil {
		b.Fatal(err)
	}
	return dir, path, int(w.count.Load())
}

// BenchmarkScanHot checks a hot file of 256 MiB that a crash left.
func BenchmarkScanHot(b *testing.B) {
	const size = 256 << 20
	_, path, count := crashedHot(b, size)
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s, err := scanHot(vfs.Default, path, 0, false)
		if err != nil || int(s.count()) != count {
			b.Fatal(s, err)
		}
	}
}

// BenchmarkReadHot reads a hot file from its beginning, again and again.
func BenchmarkReadHot(b *testing.B) {
	o := Options{Dir: b.TempDir(), Logger: quiet()}
	done := make(chan struct{})
	const events = 40_000
	o.OnCommit = func(batch Batch) {
		if batch.Seq(batch.Len()-1) == events {
			close(done)
		}
	}
	l := mustOpen(b, o)
	rng := rand.NewChaCha8([32]byte{1})
	for n := range events {
		if _, err := l.Append(context.Background(), benchEntry(rng, n, benchEntrySize)); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.SetBytes(benchEntrySize)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	r := l.NewReader(0)
	var rec Record
	for range b.N {
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
			r = l.NewReader(0)
			err = r.Next(&rec)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	reportEvents(b, b.N, cpuTime()-cpu)
	b.StopTimer()
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	mustClose(b, l)
}

func TestAppendAndNextDoNotAllocatePerEvent(t *testing.T) {
	o := diskOptions(t)
	l := mustOpen(t, o)
	e := benchEntry(rand.NewChaCha8([32]byte{1}), 1, benchEntrySize)
	const n = 5000
	fill := func() {
		if _, err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	for range n { // the buffers grow
		fill()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if got := testing.AllocsPerRun(n, fill); got != 0 {
		t.Errorf("Append allocates %v times", got)
	}
	mustClose(t, l) // everything is durable
	l = mustOpen(t, o)
	defer mustClose(t, l)
	r := l.NewReader(0)
	defer r.Close()
	var rec Record
	if got := testing.AllocsPerRun(n, func() {
		if err := r.Next(&rec); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Next allocates %v times", got)
	}
}

// BenchmarkEncode is what each append costs under the log's lock.
func BenchmarkEncode(b *testing.B) {
	e := benchEntry(rand.NewChaCha8([32]byte{}), 1, 3500)
	e.Key = make([]byte, 35)
	buf, _, _ := appendEntry(nil, 1<<40, 1_767_225_600_000_000, e)
	b.Run("entry", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		b.ReportAllocs()
		for b.Loop() {
			buf, _, _ = appendEntry(buf[:0], 1<<40, 1_767_225_600_000_000, e)
		}
	})
	var rec Record
	if _, err := DecodeRecord(bytes.Clone(buf), &rec); err != nil {
		b.Fatal(err)
	}
	b.Run("record", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendRecord(buf[:0], &rec)
		}
	})
}
