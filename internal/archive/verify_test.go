package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestAWholeArchiveVerifiesWithItsSignatures(t *testing.T) {
	s := theSample(t)
	var done, total int64
	r := mustVerify(t, find(t, s.dir), VerifyOptions{Signatures: true, Progress: func(d, all int64) {
		if d < done || d > all {
			t.Errorf("%d of %d after %d", d, all, done)
		}
		done, total = d, all
	}})
	if !r.OK() || r.Files != len(s.files) || r.Files < 4 || r.Records != uint64(len(s.frames)) || r.TreeSize != r.Records || r.FirstLeaf != 0 {
		t.Fatalf("%+v", r)
	}
	if done != total || done != r.Bytes {
		t.Errorf("progress ended at %d of %d, the files have %d bytes", done, total, r.Bytes)
	}
	if c := r.Checked; c.Verified < 100 || c.Other == 0 || c.Unsigned != 0 || c.Verified+c.Other != r.Records {
		t.Errorf("%+v", c)
	}
}

// TestEveryByteOfEveryFileCounts flips random bytes, one at a time.
func TestEveryByteOfEveryFileCounts(t *testing.T) {
	flips := 1500
	if os.Getenv("CISTERN_FLIPS") != "" {
		if _, err := fmt.Sscan(os.Getenv("CISTERN_FLIPS"), &flips); err != nil {
			t.Fatal(err)
		}
	}
	s := theSample(t)
	rng := rand.New(rand.NewPCG(seed(t), 0))
	var files [][]byte
	for _, f := range s.files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	where := map[string]int{}
	for range flips {
		i := rng.IntN(len(files))
		b, at, mask := files[i], rng.IntN(len(files[i])), byte(1+rng.IntN(255))
		switch rng.IntN(8) { // what is a small part of a file gets its share
		case 0, 1: // footer and seek table
			at = len(b) - 1 - rng.IntN(min(1000, len(b)))
		case 2: // header
			at = rng.IntN(min(100, len(b)))
		}
		where[placeIn(t, b, int64(at))]++
		b[at] ^= mask
		err := verifyOne(b)
		var c *segmentlog.CorruptError
		if !errors.As(err, &c) && !errors.Is(err, segmentlog.ErrVersion) {
			t.Fatalf("%s, byte %d, xor %#x: %v", filepath.Base(s.files[i]), at, mask, err)
		}
		b[at] ^= mask
	}
	t.Logf("%d flips were found: %v", flips, where)
	if len(where) != 3 {
		t.Fatal("they do not come everywhere")
	}
}

// placeIn says in what part of a segment a byte is.
func placeIn(t *testing.T, b []byte, at int64) string {
	seg, err := segmentlog.OpenSegment("x", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f := seg.Footer()
	switch last := f.Blocks[len(f.Blocks)-1]; {
	case at < f.Header.Wire:
		return "header"
	case at < last.Offset+last.Wire:
		return "blocks"
	}
	return "footer and seek table"
}

func verifyOne(b []byte) error {
	seg, err := segmentlog.OpenSegment("x", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	return seg.Verify(context.Background(), segmentlog.VerifyOptions{Workers: 1})
}

func TestTheFirstBadPlaceIsNamed(t *testing.T) {
	dir, files := theSample(t).copyOf(t)
	src := find(t, dir)
	seg, err := src.Files[2].Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	block := seg.Footer().Blocks[1]
	seg.Close()
	b, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	b[block.Offset+block.Wire/2] ^= 1
	if err := os.WriteFile(files[2], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, src, VerifyOptions{})
	wantProblem(t, r, files[2], fmt.Sprintf("offset %d", block.Offset), fmt.Sprintf("seq %d", block.FirstSeq), "SHA-256")
	if r.Files != len(files) {
		t.Errorf("verification stopped after %d files of %d", r.Files, len(files))
	}
}

func TestAMissingFileIsToldPrecisely(t *testing.T) {
	dir, files := theSample(t).copyOf(t)
	gone := find(t, dir).Files[1].Name
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, find(t, dir), VerifyOptions{})
	wantProblem(t, r, files[0], files[2], "missing",
		fmt.Sprintf("%d records", gone.LastSeq-gone.FirstSeq+1),
		fmt.Sprintf("leaves %d to %d", gone.FirstSeq-1, gone.LastSeq-1), // seqs without a gap, from 1
		fmt.Sprintf("seqs between %d and %d", gone.FirstSeq-1, gone.LastSeq+1))
}

func TestALogWithoutItsBeginningSaysSo(t *testing.T) {
	s := theSample(t)
	r := mustVerify(t, find(t, s.files[1:]...), VerifyOptions{})
	if !r.OK() || r.FirstLeaf == 0 || r.TreeSize != uint64(len(s.frames)) {
		t.Fatalf("%+v", r)
	}
}

func TestASegmentUnderAnotherNameIsFound(t *testing.T) {
	dir, files := theSample(t).copyOf(t)
	name, ok := segmentlog.ParseSegmentName(filepath.Base(files[3]))
	if !ok {
		t.Fatal(files[3])
	}
	name.LastSeq++
	if err := os.Rename(files[3], filepath.Join(dir, name.String())); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, find(t, dir), VerifyOptions{})
	if r.OK() || r.Problems[0].File != filepath.Join(dir, name.String()) {
		t.Fatalf("%+v", r)
	}
}

func TestSegmentsOfAnotherLogAreFound(t *testing.T) {
	s := theSample(t)
	other := sample{}
	h := segmentlog.Entry{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Head: []byte("head"), Tail: []byte("tail")}
	if err := other.write(t.TempDir(), []*segmentlog.Entry{&h, &h, &h}); err != nil {
		t.Fatal(err)
	}
	r := mustVerify(t, find(t, other.files[0], s.files[1]), VerifyOptions{})
	wantProblem(t, r, "of stream", other.files[0])
	r = mustVerify(t, find(t, other.files[0]), VerifyOptions{Signatures: true})
	wantProblem(t, r, "seq 1", "its frame cannot be read")
}

func TestGenerationsReplaceEachOther(t *testing.T) {
	name := func(first, last, gen uint64) *File {
		return &File{Name: segmentlog.SegmentName{Epoch: 1, FirstSeq: first, LastSeq: last, Generation: gen}}
	}
	files := []*File{
		name(1, 10, 0), name(11, 20, 0), name(1, 20, 1), name(21, 30, 0), name(31, 40, 0), name(31, 40, 2), name(31, 40, 1),
		name(41, 50, 0), name(1, 20, 1),
	}
	s := choose(files)
	got := ""
	for _, f := range s.Files {
		got += fmt.Sprintf("%d-%d.%d ", f.Name.FirstSeq, f.Name.LastSeq, f.Name.Generation)
	}
	if got != "1-20.1 21-30.0 31-40.2 41-50.0 " || len(s.Superseded) != 5 {
		t.Fatalf("%s and %d superseded", got, len(s.Superseded))
	}
	overlap := choose([]*File{name(1, 10, 0), name(5, 15, 0)})
	if len(overlap.Files) != 2 {
		t.Fatal("two that overlap in one generation: one was dropped in silence")
	}
}

func TestWhatIsNoSegmentIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(context.Background(), nil, []string{dir}); err == nil {
		t.Error("an empty directory")
	}
	if _, err := Find(context.Background(), nil, nil); err == nil {
		t.Error("nothing")
	}
	if _, err := Find(context.Background(), nil, []string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	junk := filepath.Join(dir, "junk.cbor.zst")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("no segment "), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(context.Background(), nil, []string{dir}); err == nil {
		t.Error("a file that is no segment")
	}
}
