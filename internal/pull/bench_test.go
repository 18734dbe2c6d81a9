package pull

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkPull takes an archive of 1 GiB in 64 segments away over the loopback, in turn
// with curl, which fetches the same files four at a time and proves nothing. It reports
// the medians of both, of pull up to the last byte and to its end, and of how the first
// compares with the curl of its turn.
func BenchmarkPull(b *testing.B) {
	o := newOriginOf(b, 1<<16, 16<<10, 16<<20)
	var total int64
	urls := []string{"--silent", "--fail", "--parallel", "--parallel-max", "4"}
	for _, e := range o.shipper.Catalog("", "") {
		total += e.Bytes
		urls = append(urls, "-O", o.server.URL+"/archive/segments/"+e.Name.String())
	}
	var last atomic.Int64 // when the last byte came, Unix ns
	pull := func(dir string) {
		r := o.pull(dir, func(p *Options) {
			p.Progress = func(n, _ int64) {
				if n == total {
					last.Store(time.Now().UnixNano())
				}
			}
		})
		if !r.OK() || r.Bytes != total {
			b.Fatalf("%+v", r)
		}
	}
	curl := func(dir string) {
		cmd := exec.Command("curl", urls...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		last.Store(time.Now().UnixNano())
	}
	rates := func(take func(dir string)) (transfer, all float64) { // MB/s
		dir := filepath.Join(b.TempDir(), "out")
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		take(dir)
		ended := time.Now()
		_ = os.RemoveAll(dir) // to give the room back
		mb := float64(total) / 1e6
		return mb / time.Unix(0, last.Load()).Sub(began).Seconds(), mb / ended.Sub(began).Seconds()
	}
	var transfers, alls, curls, shares []float64
	for b.Loop() {
		p, all := rates(pull)
		c, _ := rates(curl)
		transfers, alls, curls, shares = append(transfers, p), append(alls, all), append(curls, c), append(shares, 100*p/c)
	}
	median := func(x []float64) float64 { slices.Sort(x); return x[len(x)/2] }
	b.ReportMetric(median(alls), "MB/s")
	b.ReportMetric(median(transfers), "transfer-MB/s")
	b.ReportMetric(median(curls), "curl-MB/s")
	b.ReportMetric(median(shares), "%-of-curl")
}
