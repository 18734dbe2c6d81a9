package fetch

import (
	"fmt"
	"io"
	"testing"
)

// BenchmarkReadAtHit reads blocks in a row from parts that are cached.
func BenchmarkReadAtHit(b *testing.B) {
	for _, block := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("block=%dKiB", block>>10), func(b *testing.B) {
			s := newStore(64 << 20)
			f, _ := start(b, s, func(o *Options) { o.PartBytes, o.CacheBytes = 4<<20, 128<<20 })
			defer end(b, f)
			o := open(f, s, "k0")
			if _, err := io.Copy(io.Discard, io.NewSectionReader(o, 0, o.Size())); err != nil {
				b.Fatal(err)
			}
			f.settle()
			asked, _ := s.requests()
			buf, off := make([]byte, block), int64(0)
			b.SetBytes(int64(block))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.ReadAt(buf, off); err != nil {
					b.Fatal(err)
				}
				off = (off + int64(block)) % o.Size()
			}
			if now, _ := s.requests(); now != asked {
				b.Fatalf("%d requests: that was no hit", now-asked)
			}
		})
	}
}

// BenchmarkReadAtMiss reads an object in a row, each part once from the bucket.
func BenchmarkReadAtMiss(b *testing.B) {
	s := newStore(64 << 20)
	f, _ := start(b, s, func(o *Options) { o.PartBytes, o.CacheBytes, o.Ahead = 4<<20, 128<<20, 4 })
	defer end(b, f)
	buf := make([]byte, 1<<20)
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		o := open(f, s, "k0")
		for off := int64(0); off < o.Size(); off += int64(len(buf)) {
			if _, err := o.ReadAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
		f.settle()
		f.Forget("k0")
	}
}
