package index

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestAPageOfReposBeginsBehindItsCursor(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 100))
	defer mustClose(t, x)
	b := x.NewBatch()
	var want []string
	for i := range 25 {
		did := fmt.Sprintf("did:plc:%024d", i)
		want = append(want, did)
		b.Collection("app.example.post", did)
		b.Collection("app.example.post", did) // twice is once
		b.Collection("app.example.posts", did+"x")
		b.Collection("app.example.pos", did+"y")
	}
	if err := b.Commit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var got []string
	pages := 0
	for cursor := ""; ; pages++ {
		page, err := x.ReposByCollection("app.example.post", cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < 10 {
			break
		}
		cursor = page[len(page)-1]
	}
	if !slices.Equal(got, want) || pages != 2 {
		t.Errorf("%d pages: %v", pages+1, got)
	}
	for _, c := range []string{"", "app.example.\x00", "app.example.none"} {
		if page, err := x.ReposByCollection(c, "", 10); err != nil || len(page) != 0 {
			t.Errorf("collection %q: %v, %v", c, page, err)
		}
	}
}

func TestATimeFindsTheFirstRecordOfItsSecondOrOfTheNext(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 1000))
	defer mustClose(t, x)
	if seq, err := x.SeekTime(0); err != nil || seq != 1 {
		t.Errorf("empty: %d, %v", seq, err)
	}
	b := x.NewBatch()
	b.Time(100, 1)
	b.Time(101, 20)
	b.Time(500, 333)
	if err := b.Commit(t.Context(), 400); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		t    int64
		want uint64
	}{
		{-5, 1}, {0, 1}, {100_000_000, 1}, {100_999_999, 1}, {101_000_000, 20}, {101_000_001, 20},
		{102_000_000, 333}, {500_999_999, 333}, {501_000_000, 401}, {1 << 60, 401},
	} {
		if seq, err := x.SeekTime(c.t); err != nil || seq != c.want {
			t.Errorf("time %d µs: seq %d, want %d (%v)", c.t, seq, c.want, err)
		}
	}
	if s, found, err := x.LastSecond(); s != 500 || !found || err != nil {
		t.Errorf("last second %d, %v, %v", s, found, err)
	}
}

func segment(epoch, first, last, generation uint64) Segment {
	n := segmentlog.SegmentName{Epoch: epoch, FirstSeq: first, LastSeq: last, Generation: generation}
	return Segment{
		Name: n, Key: "segments/2026/01/01/" + n.String(), Bytes: 12345, SHA256: [32]byte{1, byte(first)},
		Count: last - first + 1, FirstWitnessed: int64(first) * 1e6, LastWitnessed: int64(last) * 1e6,
	}
}

func put(t *testing.T, x *Index, want bool, s Segment) {
	t.Helper()
	if ok, err := x.PutSegment(t.Context(), &s); ok != want || err != nil {
		t.Fatalf("put %s: %v, %v", s.Name, ok, err)
	}
}

func blocksOf(s Segment) []segmentlog.Block {
	var blocks []segmentlog.Block
	for first := s.Name.FirstSeq; first <= s.Name.LastSeq; first += 10 {
		b := segmentlog.Block{Count: 10, FirstSeq: first, LastSeq: min(first+9, s.Name.LastSeq), FirstWitnessed: int64(first)}
		b.Offset, b.Wire, b.Raw, b.SHA256 = int64(first)*100, 90, 200, [32]byte{9, byte(first)}
		blocks = append(blocks, b)
	}
	return blocks
}

func TestASegmentIsFoundByAnySeqInIt(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 1000))
	defer mustClose(t, x)
	a, b := segment(1, 1, 99, 0), segment(1, 110, 199, 0)
	put(t, x, true, b)
	put(t, x, true, a)
	for _, c := range []struct {
		seq   uint64
		want  Segment
		found bool
	}{{1, a, true}, {50, a, true}, {99, a, true}, {100, Segment{}, false}, {110, b, true}, {199, b, true}, {200, Segment{}, false}, {0, Segment{}, false}} {
		if s, found, err := x.Segment(c.seq); s != c.want || found != c.found || err != nil {
			t.Errorf("seq %d: %+v, %v, %v", c.seq, s, found, err)
		}
	}
	for _, c := range []struct {
		from  uint64
		limit int
		want  []Segment
	}{{0, 9, []Segment{a, b}}, {99, 9, []Segment{a, b}}, {100, 9, []Segment{b}}, {1, 1, []Segment{a}}, {200, 9, nil}} {
		if s, err := x.Segments(c.from, c.limit); !slices.Equal(s, c.want) || err != nil {
			t.Errorf("from %d: %+v, %v", c.from, s, err)
		}
	}
}

func TestAHigherGenerationTakesThePlaceOfItsPartsAndTheirBlocks(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 1000))
	defer mustClose(t, x)
	a, b, next := segment(1, 1, 99, 0), segment(1, 100, 199, 0), segment(1, 200, 299, 0)
	for _, s := range []Segment{a, b, next} {
		put(t, x, true, s)
		if err := x.PutBlocks(t.Context(), s.Name, blocksOf(s)); err != nil {
			t.Fatal(err)
		}
	}
	if n, block, found, err := x.Block(105); n != b.Name || block != blocksOf(b)[0] || !found || err != nil {
		t.Errorf("block of 105: %v %+v, %v, %v", n, block, found, err)
	}
	merged := segment(1, 1, 199, 1)
	put(t, x, true, merged)
	put(t, x, false, a) // a late word of a part
	if s, _, err := x.Segment(150); s != merged || err != nil {
		t.Errorf("150 is in %+v (%v)", s, err)
	}
	for seq, want := range map[uint64]bool{1: false, 150: false, 199: false, 200: true, 299: true, 300: false} {
		if _, _, found, err := x.Block(seq); found != want || err != nil {
			t.Errorf("block of %d: %v, %v", seq, found, err)
		}
	}
	if err := x.PutBlocks(t.Context(), a.Name, blocksOf(a)); err != nil { // of what is no longer there
		t.Fatal(err)
	}
	if _, _, found, _ := x.Block(50); found {
		t.Error("blocks of an overwritten segment are kept")
	}
	if err := x.DropSegment(t.Context(), a.Name); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := x.Segment(50); !found {
		t.Error("dropping a part dropped the merged segment")
	}
	if err := x.DropSegment(t.Context(), next.Name); err != nil {
		t.Fatal(err)
	}
	_, found, _ := x.Segment(250)
	_, _, blocks, _ := x.Block(250)
	if found || blocks {
		t.Error("a dropped segment is still there, or its blocks")
	}
}

func TestACursorOfAHostOnlyMovesOn(t *testing.T) {
	h := Host{Name: "pds.example", Epoch: 2, Cursor: 50}
	for _, c := range []struct{ epoch, cursor, wantEpoch, wantCursor uint64 }{
		{2, 40, 2, 50}, {1, 99, 2, 50}, {2, 51, 2, 51}, {3, 7, 3, 7}, {2, 60, 3, 7},
	} {
		if h.Raise(c.epoch, c.cursor); h.Epoch != c.wantEpoch || h.Cursor != c.wantCursor {
			t.Fatalf("at %d of epoch %d after %d of epoch %d, want %d of epoch %d",
				h.Cursor, h.Epoch, c.cursor, c.epoch, c.wantCursor, c.wantEpoch)
		}
	}
}
