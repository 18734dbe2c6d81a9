package segmentlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// simulatedLog writes a log of the simulated network's frames, many times over, and
// seals it when seal is set.
func simulatedLog(b *testing.B, times int, seal bool) (l *segmentlog.Log, events int) {
	b.Helper()
	records, err := simulated()
	if err != nil {
		b.Fatal(err)
	}
	sealed := make(chan struct{}, 1)
	o := segmentlog.Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	write := func() {
		if l, err = segmentlog.Open(o); err != nil {
			b.Fatal(err)
		}
		for range times {
			for _, raw := range records {
				var r segmentlog.Record
				if _, err := segmentlog.DecodeRecord(raw, &r); err != nil {
					b.Fatal(err)
				}
				e := segmentlog.Entry{DID: string(r.DID), Host: string(r.Host), HostEpoch: r.HostEpoch, HostSeq: r.HostSeq,
					HostFloor: r.HostFloor, Verdict: r.Verdict, Key: r.Key, Head: r.Frame[:20], Tail: r.Frame[20:]}
				if _, err := l.Append(context.Background(), &e); err != nil {
					b.Fatal(err)
				}
				events++
			}
		}
	}
	write()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	if seal {
		o.Seal = &segmentlog.SegmentOptions{}
		o.Events.Seal = func(segmentlog.SealInfo) { sealed <- struct{}{} }
	}
	if l, err = segmentlog.Open(o); err != nil {
		b.Fatal(err)
	}
	if seal {
		<-sealed // all of it is one hot file
	}
	b.Cleanup(func() { _ = l.Close() }) // nothing was written
	return l, events
}

// BenchmarkChunks decodes a whole log, sealed and hot, with one and two goroutines,
// and with a Reader.
func BenchmarkChunks(b *testing.B) {
	for _, tier := range []string{"sealed", "hot"} {
		l, events := simulatedLog(b, 3, tier == "sealed")
		b.Run(tier+"/reader", func(b *testing.B) {
			b.ReportAllocs()
			began := cpu()
			for b.Loop() {
				r := l.NewReader(0)
				var rec segmentlog.Record
				for range events {
					if err := r.Next(&rec); err != nil {
						b.Fatal(err)
					}
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((cpu()-began)/time.Duration(events*b.N)), "cpu-ns/event")
		})
		for _, goroutines := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", tier, goroutines), func(b *testing.B) {
				b.ReportAllocs()
				began := cpu()
				for b.Loop() {
					if n := decodeAll(b, l, goroutines); n != events {
						b.Fatalf("%d events of %d", n, events)
					}
				}
				b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64((cpu()-began)/time.Duration(events*b.N)), "cpu-ns/event")
			})
		}
	}
}

func decodeAll(b *testing.B, l *segmentlog.Log, goroutines int) (events int) {
	chunks := make(chan *segmentlog.Chunk, goroutines)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			var buf segmentlog.BlockBuffer
			for c := range chunks {
				n := 0
				for _, err := range c.Records(&buf) {
					if err != nil {
						b.Error(err)
					}
					n++
				}
				mu.Lock()
				events += n
				mu.Unlock()
			}
		})
	}
	for c, err := range l.Chunks(0) {
		if err != nil {
			b.Error(err)
			break
		}
		chunks <- c
	}
	close(chunks)
	wg.Wait()
	return events
}
