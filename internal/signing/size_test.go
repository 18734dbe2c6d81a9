package signing

import (
	"runtime"
	"testing"
)

// heap is the memory of what is reachable, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Caches count keys by Size, so it must be near the truth in both builds.
func TestSizeIsWhatAKeyTakes(t *testing.T) {
	const n = 20_000
	for curve, priv := range pairs(t) {
		code := keyOf(t, priv).Multicodec()
		keys := make([]*Key, n)
		before := heap()
		for i := range keys {
			k, err := ParseMulticodec(code)
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = k
		}
		took := (heap() - before) / n
		size := keys[0].Size()
		t.Logf("%s: %d bytes, counted as %d", curve, took, size)
		if size < took*8/10 || size > took*3/2 {
			t.Errorf("%s: a key takes %d bytes and is counted as %d", curve, took, size)
		}
		runtime.KeepAlive(keys)
	}
}
