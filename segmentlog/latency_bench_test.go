package segmentlog

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkAppendLatency appends 2,000 events/s of 3.5 kB and reports how long each
// took from Append to OnCommit, alone and while segments are sealed all the time.
func BenchmarkAppendLatency(b *testing.B) {
	b.Run("alone", func(b *testing.B) { appendLatency(b, nil) })
	b.Run("sealing", func(b *testing.B) { appendLatency(b, &SegmentOptions{}) })
}

func appendLatency(b *testing.B, seal *SegmentOptions) {
	const rate, batch = 2000, 10
	o := Options{Dir: b.TempDir(), Logger: quiet(), Seal: seal, MaxHotBytes: 2 << 20} // a file a third of a second
	var mu sync.Mutex
	began := map[uint64]time.Time{}
	var took []time.Duration
	o.OnCommit = func(c Batch) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		for i := range c.Len() {
			took = append(took, now.Sub(began[c.Seq(i)]))
			delete(began, c.Seq(i))
		}
	}
	seals := watchSeals(&o)
	l := mustOpen(b, o)
	rng := rand.NewChaCha8([32]byte{})
	entries := make([]*Entry, 64)
	for i := range entries {
		entries[i] = benchEntry(rng, i, 3500)
	}
	tick := time.NewTicker(time.Second * batch / rate)
	defer tick.Stop()
	n := 0
	for b.Loop() {
		<-tick.C
		for range batch {
			mu.Lock()
			at := time.Now()
			seq, err := l.Append(context.Background(), entries[n%len(entries)])
			if err != nil {
				b.Fatal(err)
			}
			began[seq] = at
			mu.Unlock()
			n++
		}
	}
	mustClose(b, l)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(seals.sealed)), "seals")
}
