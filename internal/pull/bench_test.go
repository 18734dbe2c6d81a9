package pull

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkPull takes an archive of 1 GiB in 64 segments away over the loopback, in turn
// with curl, which fetches the same files four at a time and proves nothing.
func BenchmarkPull(b *testing.B) {
	o := newOriginOf(b, 1<<16, 16<<10, 16<<20)
	var total int64
	urls := []string{"--silent", "--fail", "--parallel", "--parallel-max", "4"}
	for _, e := range o.shipper.Catalog("", "") {
		total += e.Bytes
		urls = append(urls, "-O", o.server.URL+"/archive/segments/"+e.Name.String())
	}
	b.Run("pull", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			dir := filepath.Join(b.TempDir(), "out")
			if r := o.pull(dir, nil); !r.OK() || r.Bytes != total {
				b.Fatalf("%+v", r)
			}
			b.StopTimer()
			_ = os.RemoveAll(dir) // to give the room back
			b.StartTimer()
		}
	})
	b.Run("curl", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			dir := b.TempDir()
			cmd := exec.Command("curl", urls...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			b.StopTimer()
			_ = os.RemoveAll(dir) // to give the room back
			b.StartTimer()
		}
	})
}
