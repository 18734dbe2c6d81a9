package segmentlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// allocated runs f and fails when it allocates more than it may for input of n
// bytes: what an attacker writes in a length must not become memory.
func allocated(t *testing.T, n int, f func()) {
	t.Helper()
	const perByte, fixed = 400, 1 << 20 // a counted name in a map is the dearest
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(n)*perByte+fixed {
		t.Fatalf("%d bytes of input allocate %d", n, got)
	}
}

func goldenBytes(f *testing.F) []byte {
	f.Helper()
	b, err := os.ReadFile(filepath.Join(goldenFolder, goldenSegment))
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// FuzzFooter gives any map the checksum that makes it a footer.
func FuzzFooter(f *testing.F) {
	s, err := openBytes(goldenBytes(f))
	if err != nil {
		f.Fatal(err)
	}
	whole := s.Footer().append(nil)
	f.Add(whole[:len(whole)-2-HashSize])
	f.Add([]byte{0xa0})
	f.Add([]byte{0xa1, 0x0e, 0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		sealed := append(append(bytes.Clone(b), 0x58, HashSize), sum[:]...)
		var footer *Footer
		var err error
		allocated(t, len(b), func() { footer, err = decodeFooter(sealed) })
		if err != nil {
			if !errors.Is(err, errFooter) {
				t.Fatal(err)
			}
			return
		}
		again, err := decodeFooter(footer.append(nil))
		if err != nil || !bytes.Equal(again.append(nil), footer.append(nil)) {
			t.Fatalf("a footer is not read as it is written: %v", err)
		}
		if i := footer.FindSeq(footer.Name.LastSeq - 1); i >= len(footer.Blocks) || footer.FindSeq(footer.Name.LastSeq) != len(footer.Blocks) {
			t.Fatal("the last seq is in no block")
		}
		if i := footer.FindTime(footer.LastWitnessed); i >= len(footer.Blocks) {
			t.Fatal("the last time is in no block")
		}
		_, _ = decodeTail(appendTail(nil, footer), int64(len(footer.append(nil))+skippableHead))
	})
}

// FuzzSeekTable opens anything that may end a segment.
func FuzzSeekTable(f *testing.F) {
	b := goldenBytes(f)
	f.Add(b[len(b)-50:])
	f.Add(b)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0xb1, 0xea, 0x92, 0x8f})
	f.Fuzz(func(t *testing.T, b []byte) {
		allocated(t, len(b), func() {
			table, footer, err := tailSizes(b)
			if err != nil || table+footer > int64(len(b)) {
				return
			}
			parsed, err := decodeTail(b[int64(len(b))-table-footer:], footer)
			if err == nil && !bytes.HasSuffix(b, appendSeekTable(nil, parsed, int(footer))) {
				t.Fatal("a seek table that is not what the footer says is taken")
			}
		})
	})
}

// FuzzOpenSegment puts any bytes for the frames of a segment and makes a footer to
// go with them, so that the reader gets past the checksums.
func FuzzOpenSegment(f *testing.F) {
	b := goldenBytes(f)
	s, err := openBytes(b)
	if err != nil {
		f.Fatal(err)
	}
	head, block := s.Footer().Header, s.Footer().Blocks[0]
	f.Add(b[:head.Wire], b[block.Offset:block.Offset+block.Wire], uint32(head.Raw), uint32(block.Raw))
	f.Add(b[:head.Wire], []byte("\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51"), uint32(head.Raw), uint32(MaxBlock))
	f.Fuzz(func(t *testing.T, head, wire []byte, headRaw, raw uint32) {
		footer := *s.Footer()
		footer.Blocks = []Block{block}
		footer.Header = Span{Wire: int64(len(head)), Raw: int64(headRaw), SHA256: sha256.Sum256(head)}
		footer.Blocks[0].Span = Span{Offset: int64(len(head)), Wire: int64(len(wire)), Raw: int64(raw), SHA256: sha256.Sum256(wire)}
		footer.Name.LastSeq, footer.LastWitnessed, footer.Count = block.LastSeq, block.LastWitnessed, block.Count
		footer.Leaves = footer.Leaves[:0]
		own := ranges.NewEmptyRange(footer.FirstLeaf)
		for i := range block.Count {
			if err := own.Append(goldenLeaf(int(i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		footer.Leaves = own.Hashes()
		after, err := footer.TreeAfter()
		if err != nil {
			t.Fatal(err)
		}
		if footer.Root, err = rootOf(after); err != nil {
			t.Fatal(err)
		}
		file := appendTail(append(bytes.Clone(head), wire...), &footer)
		opened, err := openBytes(file)
		if err != nil {
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Fatal(err)
			}
			return
		}
		var buf BlockBuffer
		allocated(t, len(file)+int(min(raw, MaxBlock)), func() {
			_ = opened.CheckHeader()
			if got, err := opened.ReadBlock(0, &buf); err == nil && len(got) != int(raw) {
				t.Fatalf("a block of %d bytes, the footer says %d", len(got), raw)
			}
		})
		if err := opened.Verify(context.Background(), VerifyOptions{Workers: 1}); err == nil {
			t.Fatal("leaves that are not those of the records are verified")
		}
	})
}

// FuzzBlock reads any decoded block as records.
func FuzzBlock(f *testing.F) {
	s, err := openBytes(goldenBytes(f))
	if err != nil {
		f.Fatal(err)
	}
	raw, err := s.ReadBlock(0, &BlockBuffer{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:100])
	f.Add([]byte{recordHead, 1, 1, 0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		allocated(t, len(b), func() {
			r := blockRecords{s: s, raw: b}
			var rec Record
			var scratch []byte
			var p peeked
			var l leaves
			l.reset()
			for last := uint64(0); ; last = rec.Seq {
				from := r.off
				err := r.next(&rec)
				if err != nil {
					var c *CorruptError
					if !errors.As(err, &c) && !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
					return
				}
				if rec.Seq <= last {
					t.Fatalf("seq %d after %d", rec.Seq, last)
				}
				if !bytes.Equal(AppendRecord(nil, &rec), b[from:r.off]) {
					t.Fatal("a record has two encodings")
				}
				scratch, _ = l.add(b[from:r.off], scratch, &p)
			}
		})
	})
}

// FuzzZstdFrame: what passes for one frame is one for the decoder too, or none.
func FuzzZstdFrame(f *testing.F) {
	s, err := openBytes(goldenBytes(f))
	if err != nil {
		f.Fatal(err)
	}
	b := s.Footer().Blocks[0]
	f.Add(goldenBytes(f)[b.Offset:b.Offset+b.Wire], uint32(b.Raw))
	f.Fuzz(func(t *testing.T, wire []byte, size uint32) {
		if checkFrame(wire, int64(size)) != nil {
			return
		}
		dec, err := decoders()
		if err != nil {
			t.Fatal(err)
		}
		size = min(size, 1<<20)
		if raw, err := dec.DecodeAll(wire, make([]byte, 0, size)); err == nil && len(raw) != int(size) {
			t.Fatalf("a frame of %d bytes decodes to %d", size, len(raw))
		}
	})
}

// FuzzParseSegmentName: a name that is one is written as it was read.
func FuzzParseSegmentName(f *testing.F) {
	f.Add(goldenSegment)
	f.Add("00000001-0000000000000001-0000000000000002.0.cbor.zst")
	f.Add("+0000001-0000000000000001-0000000000000002.0.cbor.zst")
	f.Add("1-1-1.0.cbor.zst")
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := ParseSegmentName(name); ok && (n.String() != name || n.FirstSeq > n.LastSeq || n.LastSeq > MaxSeq) {
			t.Fatalf("%q is %+v", name, n)
		}
	})
}
