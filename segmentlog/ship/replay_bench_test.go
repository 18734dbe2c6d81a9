package ship

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
)

// BenchmarkReplay reads a log of 200,000 events of 3.5 kB, of which half compresses, from
// its local segments, from a bucket of a real MinIO on this machine with nothing cached,
// and from the cache. One reader, no socket.
func BenchmarkReplay(b *testing.B) {
	const events = 200_000
	server := miniotest.Start(b)
	bk, err := bucket.Open(b.Context(), server.URL("log"))
	if err != nil {
		b.Fatal(err)
	}
	defer bk.Close()
	dir := b.TempDir()
	w, err := attachFor(b, bk, dir)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	body := make([]byte, 3500)
	for i := range events {
		_, _ = rng.Read(body[:1750]) // never fails
		if _, err := w.log.Append(b.Context(), &segmentlog.Entry{
			DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Host: "pds.example", HostEpoch: 1, HostSeq: uint64(i), Head: []byte("frame "), Tail: body,
		}); err != nil {
			b.Fatal(err)
		}
	}
	w.until(w.shippedAll)
	through := w.shipper.Through()
	total := 0
	read := func(b *testing.B) {
		r := w.log.NewReader(0)
		defer r.Close()
		var rec segmentlog.Record
		n := 0
		for rec.Seq < through {
			if err := r.Next(&rec); err != nil && !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			n++
		}
		total += n
	}
	report := func(b *testing.B) {
		b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
		total = 0
	}
	b.Run("local", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
		report(b)
	})
	for _, f := range w.log.Sealed(0) {
		if err := w.log.Evict(f.Name); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("bucket", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w.fetch(b, bk)
			b.StartTimer()
			read(b)
		}
		report(b)
	})
	b.Run("cache", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
		report(b)
	})
	w.fetcher.Load().Close()
	w.kill()
}

// attachFor is start with a real bucket, segments of 256 MiB and reads through a fetcher.
func attachFor(b *testing.B, bk bucket.Bucket, dir string) (*writer, error) {
	w := &writer{t: b, dir: dir, failed: map[string]int{}}
	w.changed.L = &w.mu
	var err error
	if w.archive, err = Attach(b.Context(), Options{Bucket: bk, Dir: dir, NewStream: true, Logger: quiet()}); err != nil {
		return nil, err
	}
	w.fetch(b, bk)
	lo := segmentlog.Options{
		Dir: dir, Logger: quiet(), Stream: w.archive.Stream(), MaxHotBytes: 256 << 20, Seal: &segmentlog.SegmentOptions{},
		OpenArchived: func(a segmentlog.Archived) (segmentlog.ArchivedFile, error) {
			return w.fetcher.Load().Open(a.Key, a.Size), nil
		},
	}
	lo.Events.Seal = func(segmentlog.SealInfo) { w.change(func() { w.shipper.Wake() }) }
	w.change(func() {
		if w.log, err = segmentlog.Open(lo); err == nil {
			w.shipper = NewShipper(ShipperOptions{Archive: w.archive, Log: w.log, Logger: quiet(), Events: ShipperEvents{
				Shipped: func(e Entry, _ time.Duration) { w.change(func() { w.shipped = append(w.shipped, e) }) },
			}})
		}
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.running.Go(func() { w.err = w.shipper.Run(ctx) })
	return w, nil
}

// fetch begins with an empty cache.
func (w *writer) fetch(b *testing.B, bk bucket.Bucket) {
	if old := w.fetcher.Load(); old != nil {
		if err := old.Close(); err != nil {
			b.Fatal(err)
		}
	}
	f, err := fetch.New(fetch.Options{Bucket: bk, Dir: filepath.Join(w.dir, "cache"), Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	w.fetcher.Store(f)
}
