package segmentlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func verifyBytes(b []byte, o VerifyOptions) error {
	s, err := openBytes(b)
	if err != nil {
		return err
	}
	return s.Verify(context.Background(), o)
}

func TestVerifyReadsEveryByteOnce(t *testing.T) {
	b, _ := testSegment(t, 1, 300, ranges.NewEmptyRange(0), 2<<10)
	var told int64
	if err := verifyBytes(b, VerifyOptions{Progress: func(n int64) { told += n }}); err != nil {
		t.Fatal(err)
	}
	if told != int64(len(b)) {
		t.Fatalf("%d bytes of %d", told, len(b))
	}
}

func TestVerifyFindsEveryFlippedByte(t *testing.T) {
	b, _ := testSegment(t, 1, 60, ranges.NewEmptyRange(0), 2<<10)
	rng := rand.New(rand.NewPCG(seed(t), 0))
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= byte(1 + rng.IntN(255))
		var c *CorruptError
		if err := verifyBytes(flipped, VerifyOptions{Workers: 1}); !errors.As(err, &c) && !errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d of %d: %v", i, len(b), err)
		}
	}
}

// reseal replaces the footer and the seek table of a segment by those of f.
func reseal(b []byte, f *Footer) []byte {
	return appendTail(bytes.Clone(b[:f.wireEnd()]), f)
}

// TestAFooterThatLiesIsFound changes what the footer says and gives it a valid
// checksum.
func TestAFooterThatLiesIsFound(t *testing.T) {
	frontier := ranges.NewEmptyRange(0)
	_, before := testSegment(t, 1, 10, frontier, 1<<10)
	frontier, err := before.TreeAfter()
	if err != nil {
		t.Fatal(err)
	}
	good, _ := testSegment(t, 11, 40, frontier, 2<<10)
	reroot := func(f *Footer) {
		after, err := f.TreeAfter()
		if err == nil {
			f.Root, err = rootOf(after)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, lie := range map[string]func(f *Footer){
		"stream":           func(f *Footer) { f.Stream = strings.Repeat("1", 32) },
		"no stream":        func(f *Footer) { f.Stream = "" },
		"epoch":            func(f *Footer) { f.Name.Epoch++ },
		"first seq":        func(f *Footer) { f.Name.FirstSeq--; f.Blocks[0].FirstSeq-- },
		"last seq":         func(f *Footer) { f.Name.LastSeq++; f.Blocks[len(f.Blocks)-1].LastSeq++ },
		"seq 0":            func(f *Footer) { f.Name.FirstSeq, f.Blocks[0].FirstSeq = 0, 0 },
		"first witnessed":  func(f *Footer) { f.FirstWitnessed--; f.Blocks[0].FirstWitnessed-- },
		"last witnessed":   func(f *Footer) { f.LastWitnessed++; f.Blocks[len(f.Blocks)-1].LastWitnessed++ },
		"time between":     func(f *Footer) { f.Blocks[1].FirstWitnessed -= 1000 },
		"count":            func(f *Footer) { f.Count++; f.Blocks[1].Count++ },
		"first leaf":       func(f *Footer) { f.FirstLeaf++ },
		"frontier":         func(f *Footer) { f.Frontier[0][0]++ },
		"frontier, root":   func(f *Footer) { f.Leaves[0][0]++; reroot(f) },
		"no frontier":      func(f *Footer) { f.Frontier = nil },
		"root":             func(f *Footer) { f.Root[5]++ },
		"header length":    func(f *Footer) { f.Header.Raw++ },
		"negative header":  func(f *Footer) { f.Header.Raw = -1 },
		"header hash":      func(f *Footer) { f.Header.SHA256[0]++ },
		"block length":     func(f *Footer) { f.Blocks[1].Raw++ },
		"block hash":       func(f *Footer) { f.Blocks[1].SHA256[0]++ },
		"kinds":            func(f *Footer) { f.Kinds["#commit"]++ },
		"collections":      func(f *Footer) { f.Collections["app.bsky.feed.post"]++ },
		"blocks in a row":  func(f *Footer) { f.Blocks[1], f.Blocks[2] = f.Blocks[2], f.Blocks[1] },
		"a block left out": func(f *Footer) { f.Blocks = f.Blocks[:len(f.Blocks)-1] },
	} {
		s, err := openBytes(good)
		if err != nil {
			t.Fatal(err)
		}
		f := s.Footer()
		lie(f)
		err = verifyBytes(reseal(good, f), VerifyOptions{})
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := verifyBytes(good, VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestTheFirstBadRecordIsNamed breaks two records behind every checksum but their
// own, and has a check of the caller's refuse one.
func TestTheFirstBadRecordIsNamed(t *testing.T) {
	refuse := errors.New("refused")
	b, _ := testSegment(t, 1, 200, ranges.NewEmptyRange(0), 1<<10)
	err := verifyBytes(b, VerifyOptions{Workers: 4, Check: func() func(*Record) error {
		return func(r *Record) error {
			if r.Seq >= 77 {
				return refuse
			}
			return nil
		}
	}})
	var c *CorruptError
	var r *RecordError
	if !errors.As(err, &c) || !errors.As(err, &r) || !errors.Is(err, refuse) || r.Seq != 77 {
		t.Fatal(err)
	}
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if at := s.Footer().Blocks[r.Block]; at.Offset != c.Offset || at.FirstSeq+r.Index != 77 {
		t.Fatalf("%+v in %+v", r, at)
	}
}

func TestABlockIsExactlyOneFrame(t *testing.T) {
	b, _ := testSegment(t, 1, 60, ranges.NewEmptyRange(0), 64<<10)
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	block := s.Footer().Blocks[0]
	wire := b[block.Offset : block.Offset+block.Wire]
	if err := checkFrame(wire, block.Raw); err != nil {
		t.Fatal(err)
	}
	empty := binary.LittleEndian.AppendUint32(nil, footerMagic)
	empty = binary.LittleEndian.AppendUint32(empty, 0)
	for what, bad := range map[string][]byte{
		"nothing":              nil,
		"a skippable frame":    empty,
		"one more byte":        append(bytes.Clone(wire), 0),
		"a frame behind it":    append(bytes.Clone(wire), empty...),
		"a frame before it":    append(bytes.Clone(empty), wire...),
		"without checksum":     wire[:len(wire)-4],
		"a byte too little":    wire[:len(wire)-1],
		"two of it":            append(bytes.Clone(wire), wire...),
		"half of it":           wire[:len(wire)/2],
		"its head and no more": wire[:8],
	} {
		if checkFrame(bad, block.Raw) == nil {
			t.Errorf("%s is taken for a block", what)
		}
	}
	if checkFrame(wire, block.Raw+1) == nil {
		t.Error("another content size is taken")
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	b, _ := testSegment(t, 1, 300, ranges.NewEmptyRange(0), 1<<10)
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	blocks := 0
	err = s.Verify(ctx, VerifyOptions{Progress: func(int64) {
		if blocks++; blocks == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || blocks > 4 {
		t.Fatalf("%d blocks: %v", blocks, err)
	}
}

func TestRecordsOfABlockAscendInSeqAndTime(t *testing.T) {
	record := func(seq uint64, witnessed int64) []byte {
		b, _, _ := appendEntry(nil, seq, witnessed, testEntry(int(seq)))
		return b
	}
	for _, c := range []struct {
		what      string
		seqs      [3]uint64
		witnessed [3]int64
		good      uint64 // of them
	}{
		{"in order", [3]uint64{5, 6, 9}, [3]int64{10, 10, 11}, 3},
		{"a seq twice", [3]uint64{5, 5, 9}, [3]int64{10, 10, 11}, 1},
		{"a seq that goes back", [3]uint64{5, 7, 6}, [3]int64{10, 10, 11}, 2},
		{"a time that goes back", [3]uint64{5, 6, 9}, [3]int64{10, 9, 11}, 1},
	} {
		var raw []byte
		for i, seq := range c.seqs {
			raw = append(raw, record(seq, c.witnessed[i])...)
		}
		meta := Block{Count: 3, FirstSeq: c.seqs[0], LastSeq: c.seqs[2], FirstWitnessed: c.witnessed[0], LastWitnessed: c.witnessed[2]}
		b := blockRecords{s: &Segment{footer: &Footer{Blocks: []Block{meta}}}, raw: raw}
		var rec Record
		err := error(nil)
		for err == nil {
			err = b.next(&rec)
		}
		var bad *CorruptError
		if b.count != c.good || errors.As(err, &bad) == (c.good == 3) {
			t.Errorf("%s: %d records are taken, then %v", c.what, b.count, err)
		}
	}
}
