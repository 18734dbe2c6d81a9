package segmentlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// simulated returns records of a simulated network's frames, the same each time.
var simulated = sync.OnceValues(func() ([][]byte, error) {
	n, err := netsim.New(netsim.Options{Seed: 4, Hosts: 4, Accounts: 100, Offline: true})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	var out [][]byte
	for i := 0; i < 9000; i++ {
		if err := n.Step(); err != nil {
			return nil, err
		}
	}
	for i, e := range n.Ledger() {
		frame, err := n.Frame(e.Index)
		if err != nil {
			return nil, err
		}
		out = append(out, recordOf(i, e.DID, e.Host, frame))
	}
	return out, nil
})

func recordOf(i int, did, host string, frame []byte) []byte {
	key := append([]byte{0xe7, 1, 2}, bytes.Repeat([]byte(did[len(did)-8:]), 4)...)
	return segmentlog.AppendRecord(nil, &segmentlog.Record{
		Seq: uint64(i + 1), Witnessed: 1_767_225_600_000_000 + int64(i)*1977, DID: []byte(did), Host: []byte(host), HostEpoch: 1,
		HostSeq: uint64(i + 1), HostFloor: uint64(i), Verdict: segmentlog.Signature, Key: key, Frame: frame,
	})
}

// realRecords returns records of the real frames that stand beside the repository: 75, too
// few to say anything about blocks larger than they are together.
func realRecords(b *testing.B) [][]byte {
	packed, err := os.ReadFile(filepath.Join("..", "..", "shared", "corpus", "frames.bin.zst"))
	if errors.Is(err, os.ErrNotExist) {
		b.Skip("the corpus of real frames is not here")
	}
	if err != nil {
		b.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(packed, nil)
	if err != nil {
		b.Fatal(err)
	}
	var out [][]byte
	for i := 0; len(raw) > 0; i++ {
		n := binary.LittleEndian.Uint32(raw)
		out = append(out, recordOf(i, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "pds.example", raw[4:4+n]))
		raw = raw[4+n:]
	}
	return out
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func total(records [][]byte) (n int64) {
	for _, r := range records {
		n += int64(len(r))
	}
	return n
}

// BenchmarkSeal is sealing beside compressing the same blocks alone: CPU per byte of
// records, with the same compressor and the same number of workers.
func BenchmarkSeal(b *testing.B) {
	records, err := simulated()
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	footer, err := segmentlog.WriteSegment(&file, records, segmentlog.SegmentOptions{})
	if err != nil {
		b.Fatal(err)
	}
	blocks := blocksOf(b, file.Bytes(), footer)
	perByte := map[string]float64{}
	measure := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(total(records))
			runtime.GC()
			began := cpu()
			for b.Loop() {
				f()
			}
			perByte[name] = float64(cpu()-began) / float64(b.N) / float64(total(records))
			b.ReportMetric(perByte[name], "cpu-ns/B")
			if alone := perByte["compress"]; name == "seal" && alone > 0 {
				b.ReportMetric(perByte[name]/alone, "times-compress")
			}
		})
	}
	measure("compress", func() {
		enc, err := segmentlog.NewBlockEncoder(segmentlog.SegmentOptions{Level: zstd.SpeedDefault, Workers: 1})
		if err != nil {
			b.Fatal(err)
		}
		var wire []byte
		for _, raw := range blocks {
			wire = enc.EncodeAll(raw, wire[:0])
		}
	})
	measure("seal", func() {
		if _, err := segmentlog.WriteSegment(io.Discard, records, segmentlog.SegmentOptions{Workers: 1}); err != nil {
			b.Fatal(err)
		}
	})
}

// blocksOf decodes all blocks of a segment.
func blocksOf(b *testing.B, file []byte, footer *segmentlog.Footer) (out [][]byte) {
	s, err := segmentlog.OpenSegment("x", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		b.Fatal(err)
	}
	for i := range footer.Blocks {
		raw, err := s.ReadBlock(i, &segmentlog.BlockBuffer{})
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

// BenchmarkBlocks is the table of docs/decisions/0004-blocks.md: block sizes and
// levels, what they cost and what they save.
func BenchmarkBlocks(b *testing.B) {
	sets := []struct {
		name    string
		records func() [][]byte
	}{
		{"simulated", func() [][]byte {
			r, err := simulated()
			if err != nil {
				b.Fatal(err)
			}
			return r
		}},
		{"real", func() [][]byte { return realRecords(b) }},
	}
	for _, set := range sets {
		records := set.records()
		for _, size := range []int{256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20} {
			benchmarkBlocks(b, set.name, records, segmentlog.SegmentOptions{BlockSize: size})
		}
		for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
			benchmarkBlocks(b, set.name, records, segmentlog.SegmentOptions{Level: level})
		}
	}
}

func benchmarkBlocks(b *testing.B, set string, records [][]byte, o segmentlog.SegmentOptions) {
	o.EnsureDefaults()
	o.Workers = 1
	b.Run(fmt.Sprintf("%s/%dKiB/%s", set, o.BlockSize>>10, o.Level), func(b *testing.B) {
		var file bytes.Buffer
		var footer *segmentlog.Footer
		var seal, decode time.Duration
		raw, blocks := float64(total(records)), 0
		for b.Loop() {
			file.Reset()
			began := cpu()
			var err error
			if footer, err = segmentlog.WriteSegment(&file, records, o); err != nil {
				b.Fatal(err)
			}
			seal += cpu() - began
			s, err := segmentlog.OpenSegment("x", bytes.NewReader(file.Bytes()), int64(file.Len()))
			if err != nil {
				b.Fatal(err)
			}
			var buf segmentlog.BlockBuffer
			began = cpu()
			for i := range footer.Blocks {
				if _, err := s.ReadBlock(i, &buf); err != nil {
					b.Fatal(err)
				}
			}
			decode += cpu() - began
			blocks += len(footer.Blocks)
		}
		var wire int64
		for i := range footer.Blocks {
			wire += footer.Blocks[i].Wire
		}
		b.ReportMetric(raw/float64(file.Len()), "ratio")
		b.ReportMetric(float64(file.Len())/float64(wire), "file/blocks")
		b.ReportMetric(raw*float64(b.N)/1e6/seal.Seconds(), "seal-MB/s")
		b.ReportMetric(raw*float64(b.N)/1e6/decode.Seconds(), "decode-MB/s")
		b.ReportMetric(float64(decode.Microseconds())/float64(blocks), "µs/block")
		b.ReportMetric(0, "ns/op")
	})
}
