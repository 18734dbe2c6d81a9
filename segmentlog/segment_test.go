package segmentlog

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/transparency-dev/merkle/compact"
)

// testSegment writes events first … first+n-1 after a frontier, with small blocks.
func testSegment(t testing.TB, first, n int, frontier *compact.Range, blockSize int) ([]byte, *Footer) {
	t.Helper()
	var out bytes.Buffer
	w, err := newSegmentWriter(&out, "000102030405060708090a0b0c0d0e0f", 1, 0, frontier, SegmentOptions{BlockSize: blockSize})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for i := first; i < first+n; i++ {
		raw, _, _ := appendEntry(nil, uint64(i), int64(1_700_000_000_000_000+i), testEntry(i))
		var rec Record
		if _, err := DecodeRecord(raw, &rec); err != nil {
			t.Fatal(err)
		}
		if err := w.add(raw, &rec); err != nil {
			t.Fatal(err)
		}
	}
	f, err := w.finish(frontier)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), f
}

func openBytes(b []byte) (*Segment, error) {
	return OpenSegment("test.cbor.zst", bytes.NewReader(b), int64(len(b)))
}

func TestASegmentIsReadBackFromEveryCursor(t *testing.T) {
	const first, n = 100, 500
	b, written := testSegment(t, first, n, ranges.NewEmptyRange(0), 4<<10)
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(written.Blocks) < 10 || s.Footer().Name != written.Name || s.Footer().Count != n {
		t.Fatalf("%+v", s.Footer())
	}
	if err := s.CheckHeader(); err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{0, first - 1, first, first + 1, first + 250, first + n - 2, first + n - 1, 1 << 50} {
		next := max(after+1, first)
		for rec, err := range s.Records(after) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Seq != next {
				t.Fatalf("after %d: seq %d, want %d", after, rec.Seq, next)
			}
			wantEntry(t, rec, int(rec.Seq))
			next++
		}
		if next != max(after+1, first+n) {
			t.Fatalf("after %d: ends before seq %d", after, next)
		}
	}
}

func TestRootsOfSegmentsFollowFromEachOther(t *testing.T) {
	whole := ranges.NewEmptyRange(0)
	frontier := ranges.NewEmptyRange(0)
	first := 1
	for _, n := range []int{1, 7, 64, 100, 3, 1, 200} {
		_, f := testSegment(t, first, n, frontier, 2<<10)
		for i := first; i < first+n; i++ {
			raw, _, _ := appendEntry(nil, uint64(i), int64(1_700_000_000_000_000+i), testEntry(i))
			leaf, err := LeafHash(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := whole.Append(leaf[:], nil); err != nil {
				t.Fatal(err)
			}
		}
		root, err := rootOf(whole)
		if err != nil || !bytes.Equal(root, f.Root) {
			t.Fatalf("root after %d: %x, want %x (%v)", first+n, f.Root, root, err)
		}
		own, err := rangeOf(f.FirstLeaf, f.FirstLeaf+f.Count, f.Leaves)
		if err != nil {
			t.Fatal(err)
		}
		if err := frontier.AppendRange(own, nil); err != nil {
			t.Fatal(err)
		}
		first += n
	}
}

// readSegment reads all there is and checks all there is to check.
func readSegment(b []byte) ([]Record, error) {
	s, err := openBytes(b)
	if err != nil {
		return nil, err
	}
	if err := s.CheckHeader(); err != nil {
		return nil, err
	}
	var out []Record
	for rec, err := range s.Records(0) {
		if err != nil {
			return out, err
		}
		out = append(out, cloneRecord(rec))
	}
	return out, nil
}

func TestEveryByteOfASegmentCounts(t *testing.T) {
	const n = 60
	b, _ := testSegment(t, 1, n, ranges.NewEmptyRange(0), 2<<10)
	rng := rand.New(rand.NewPCG(seed(t), 0))
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= byte(1 + rng.IntN(255))
		recs, err := readSegment(flipped)
		var c *CorruptError
		if !errors.As(err, &c) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d of %d: %v", i, len(b), err)
		}
		for j := range recs { // what came before the error is right
			wantEntry(t, &recs[j], j+1)
		}
	}
	for i := range b {
		if _, err := readSegment(b[:i]); err == nil {
			t.Fatalf("cut at %d of %d: no error", i, len(b))
		}
	}
	if _, err := readSegment(append(bytes.Clone(b), 0)); err == nil {
		t.Fatal("a byte more: no error")
	}
}

func TestZstdReadsASegment(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("the zstd program is not installed; CI installs it")
	}
	b, _ := testSegment(t, 1, 300, ranges.NewEmptyRange(0), 4<<10)
	cmd := exec.Command(zstd, "-d", "-c")
	cmd.Stdin = bytes.NewReader(b)
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	h := Header{Stream: "000102030405060708090a0b0c0d0e0f", Epoch: 1, FirstSeq: 1}
	if head := h.appendSegment(nil); !bytes.HasPrefix(raw, head) {
		t.Fatal("no header")
	} else {
		raw = raw[len(head):]
	}
	for i := 1; len(raw) > 0; i++ {
		var rec Record
		n, err := DecodeRecord(raw, &rec)
		if err != nil {
			t.Fatal(err)
		}
		wantEntry(t, &rec, i)
		raw = raw[n:]
	}
}

// errReader fails in the middle of a file, as a disk or a network does.
type errReader struct {
	r   io.ReaderAt
	bad int64
}

var errDisk = errors.New("injected: input/output error")

func (e *errReader) ReadAt(b []byte, off int64) (int, error) {
	if off <= e.bad && e.bad < off+int64(len(b)) {
		return 0, errDisk
	}
	return e.r.ReadAt(b, off)
}

func TestAnErrorOfTheDiskIsNotCorruption(t *testing.T) {
	b, _ := testSegment(t, 1, 300, ranges.NewEmptyRange(0), 4<<10)
	for _, bad := range []int64{int64(len(b)) - 5, 3000} {
		s, err := OpenSegment("x", &errReader{bytes.NewReader(b), bad}, int64(len(b)))
		if err == nil {
			for _, e := range s.Records(0) {
				err = e
			}
		}
		var c *CorruptError
		if !errors.Is(err, errDisk) || errors.As(err, &c) {
			t.Fatalf("bad byte %d: %v", bad, err)
		}
	}
}

// TestEverythingButTheBlocksIsSmall: header, footer and table add at most a fiftieth
// to what the compressor makes of the blocks.
func TestEverythingButTheBlocksIsSmall(t *testing.T) {
	b, f := testSegment(t, 1, 12_000, ranges.NewEmptyRange(0), 0)
	if len(f.Blocks) < 2 {
		t.Fatalf("%d blocks", len(f.Blocks))
	}
	var wire int64
	for i := range f.Blocks {
		wire += f.Blocks[i].Wire
	}
	if share := float64(len(b)) / float64(wire); share > 1.02 {
		t.Errorf("the file is %.4f times its blocks", share)
	}
}
