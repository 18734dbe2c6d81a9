//go:build race

package replay

// Under the race detector chunks are on the heap, which it watches, and what was released
// is overwritten, so that whoever reads it then is noticed.
const onHeap = true

func poison(b []byte) {
	for i := range b {
		b[i] = 0xdd
	}
}
