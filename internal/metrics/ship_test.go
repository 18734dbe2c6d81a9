package metrics

import (
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
)

func TestWhatTheCacheHoldsIsExposed(t *testing.T) { synctest.Test(t, cacheIsExposed) }

func cacheIsExposed(t *testing.T) {
	d, err := bucket.OpenDir(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const size = 2500
	if _, err := d.Create(t.Context(), "object", bucket.BytesBody(make([]byte, size))); err != nil {
		t.Fatal(err)
	}
	f, err := fetch.New(fetch.Options{
		Bucket: d, Dir: filepath.Join(t.TempDir(), "cache"), PartBytes: 1000, CacheBytes: 10_000, Ahead: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reg := prometheus.NewRegistry()
	CacheGauge(reg, f.CachedBytes)
	wantGauge(t, reg, "cistern_archive_cache_bytes", 0)
	o := f.Open("object", size)
	defer o.Close()
	if _, err := io.Copy(io.Discard, io.NewSectionReader(o, 0, size)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // it is written behind its readers
	wantGauge(t, reg, "cistern_archive_cache_bytes", size)
	f.Forget("object")
	wantGauge(t, reg, "cistern_archive_cache_bytes", 0)
}
