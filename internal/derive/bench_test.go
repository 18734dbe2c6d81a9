package derive

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
)

// benchEvents is how many events the log of the benchmark has: CISTERN_BENCH_EVENTS, or
// 100,000.
func benchEvents(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("CISTERN_BENCH_EVENTS"))
	if err != nil {
		return 100_000
	}
	return n
}

// BenchmarkRebuild makes the index of a sealed log that has none, on the disk, as a
// start does. Its events are those of a simulated network again and again.
func BenchmarkRebuild(b *testing.B) {
	all, err := network()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	sealed := make(chan segmentlog.SealInfo, 1000)
	o := segmentlog.Options{
		Dir: dir, Logger: slog.New(slog.DiscardHandler), MaxHotBytes: 64 << 20, Seal: &segmentlog.SegmentOptions{},
		Events: segmentlog.Events{Seal: func(i segmentlog.SealInfo) { sealed <- i }},
	}
	log, err := segmentlog.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	n := benchEvents(b)
	var raw int64
	for i := range n {
		e := &all[i%len(all)]
		if _, err := log.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		raw += int64(len(e.Head) + len(e.Tail))
	}
	if err := log.Close(); err != nil { // its last hot file is sealed after the next start
		b.Fatal(err)
	}
	if log, err = segmentlog.Open(o); err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	for last := uint64(0); last < log.Tip(); {
		last = (<-sealed).Name.LastSeq
	}
	stream := log.Stream()
	events, began, used := 0, time.Duration(0), time.Duration(0)
	for i := 0; b.Loop(); i++ {
		x, err := index.Open(index.Options{
			Dir: filepath.Join(dir, "index", strconv.Itoa(i)), Logger: slog.New(slog.DiscardHandler), Stream: stream.ID, Tip: log.Tip(), Epochs: stream.Epochs,
		})
		if err != nil {
			b.Fatal(err)
		}
		f := New(Options{Log: log, Index: x})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		start, cpu := time.Now(), processCPU(b)
		go func() { done <- f.Run(ctx) }()
		if !f.CaughtUp(b.Context(), log.Tip()) {
			b.Fatal(<-done)
		}
		began += time.Since(start)
		used += processCPU(b) - cpu
		events += n
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events)/began.Seconds(), "events/s")
	b.ReportMetric(float64(used.Microseconds())/float64(events), "cpu-µs/event")
	b.ReportMetric(float64(raw)/float64(n), "B/event")
}

// BenchmarkFold is the part of it that is ours: parsing a record's frame and noting what
// it changes.
func BenchmarkFold(b *testing.B) {
	all, err := network()
	if err != nil {
		b.Fatal(err)
	}
	records := make([]segmentlog.Record, 0, len(all))
	for i := range all {
		e := &all[i]
		records = append(records, segmentlog.Record{
			Seq: uint64(i + 1), Witnessed: int64(i) * 2000, DID: []byte(e.DID), Host: []byte(e.Host), HostSeq: e.HostSeq, HostFloor: e.HostFloor,
			Verdict: e.Verdict, Frame: append(append(append([]byte(nil), e.Head...), 0x18, 0x64), e.Tail...),
		})
	}
	b.ReportAllocs()
	fold := newFold()
	for i := 0; b.Loop(); i++ {
		if i%250 == 0 {
			fold = newFold()
		}
		fold.add(&records[i%len(records)])
	}
	if fold.bad > 0 {
		b.Fatal(fold.badErr)
	}
}

func processCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
