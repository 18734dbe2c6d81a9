package segmentlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// variedLog returns a log that has archived segments, local ones and hot files, the newest
// of which is written, and the n events that are in it.
func variedLog(t *testing.T) (l *Log, n int) {
	t.Helper()
	o := diskOptions(t)
	far := &fakeArchive{bytes: map[SegmentName][]byte{}}
	o.OpenArchived = far.open
	var ticks atomic.Int64
	o.Now = func() time.Time { return time.UnixMicro(1_700_000_000_000_000 + 1000*ticks.Add(1)) }
	l = sealedLog(t, &o, 400)
	far.archive(t, l)
	for _, s := range l.Sealed(0)[:2] {
		if err := l.Evict(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	o.Archived = far.list
	mustClose(t, l)
	o.Seal = nil
	committed := newSeen()
	o.OnCommit = committed.commit
	l = mustOpen(t, o)
	t.Cleanup(func() { mustClose(t, l) })
	for i := 400; i < 600; i++ {
		committed.wait(mustAppend(t, l, i))
	}
	return l, 600
}

func TestViewsAreTheWholeLogInBlocksThatAreTheSameForEveryPosition(t *testing.T) {
	l, _ := variedLog(t)
	want := readAll(t, l, 0)
	type bounds struct{ after, through uint64 }
	blocks := map[uint64]bounds{} // by seq of a record: the block it is in
	kinds := map[string]int{}
	for after := uint64(0); ; {
		v, err := l.View(after)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if v.After != after || v.Through <= after {
			t.Fatalf("the view after %d is (%d, %d]", after, v.After, v.Through)
		}
		kinds[fmt.Sprint(v.Archived, v.Complete)]++
		for i := range v.Blocks() {
			from, through, _ := v.Block(i)
			if from != after {
				t.Fatalf("block %d begins after %d, not %d", i, from, after)
			}
			var got []Record
			for rec, err := range v.Records(i, &BlockBuffer{}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, cloneRecord(rec))
				blocks[rec.Seq] = bounds{from, through}
			}
			wantSame(t, fmt.Sprint("block after ", from), got, want[:len(got)])
			want, after = want[len(got):], through
		}
		v.Close()
		v.Close()
	}
	if len(want) > 0 || len(kinds) != 3 {
		t.Fatalf("%d records are in no view; views %v", len(want), kinds)
	}
	for seq, b := range blocks {
		v, err := l.View(seq - 1)
		if err != nil {
			t.Fatal(err)
		}
		if from, through, _ := v.Block(v.Find(seq - 1)); from != b.after || through != b.through {
			t.Fatalf("seq %d is in block (%d, %d] and in (%d, %d]", seq, b.after, b.through, from, through)
		}
		v.Close()
	}
}

func TestATimeIsFoundInEveryTier(t *testing.T) {
	l, n := variedLog(t)
	all := readAll(t, l, 0)
	if len(all) != n {
		t.Fatalf("%d records", len(all))
	}
	for i, rec := range all {
		for _, c := range []struct {
			t    int64
			want uint64
		}{{rec.Witnessed, rec.Seq - 1}, {rec.Witnessed + 1, rec.Seq}} {
			if i+1 < n && all[i+1].Witnessed == rec.Witnessed || i > 0 && all[i-1].Witnessed == rec.Witnessed {
				continue // several events of one instant
			}
			if got, err := l.SeqAt(c.t); err != nil || got != c.want {
				t.Fatalf("at %d, seq %d's: after %d, %v; want %d", c.t, rec.Seq, got, err, c.want)
			}
		}
	}
	if got, err := l.SeqAt(0); err != nil || got != 0 {
		t.Fatalf("the beginning of time: %d, %v", got, err)
	}
}

// firstBlock is what the footer of a view's segment says of its first block.
func firstBlock(t *testing.T, v *View) *Block {
	t.Helper()
	c, ok := v.chunks[0].body.(blockChunk)
	if !ok {
		t.Fatal("the view is of a hot file")
	}
	return &c.seg.footer.Blocks[0]
}

func TestAViewReadsLocalBlocksWithoutTheirSHA256AndArchivedOnesWithIt(t *testing.T) {
	l, _ := variedLog(t)
	for after, archived := range map[uint64]bool{0: true, l.Sealed(0)[0].Name.FirstSeq - 1: false} {
		v, err := l.View(after)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if v.Archived != archived {
			t.Fatalf("the view after %d: archived %v", after, v.Archived)
		}
		firstBlock(t, v).SHA256[0] ^= 1
		var corrupt *CorruptError
		var failed error
		for _, err := range v.Records(0, &BlockBuffer{}) {
			failed = err
		}
		if errors.As(failed, &corrupt) != archived {
			t.Fatalf("archived %v, a wrong SHA-256: %v", archived, failed)
		}
	}
}

func TestADamagedByteOfALocalBlockIsNoticedWithoutItsSHA256(t *testing.T) {
	l, _ := variedLog(t)
	s := l.Sealed(0)[0]
	b, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	want := readAll(t, l, s.Name.FirstSeq-1)
	v, err := l.View(s.Name.FirstSeq - 1)
	if err != nil {
		t.Fatal(err)
	}
	sp := firstBlock(t, v).Span
	v.Close()
	for off := sp.Offset; off < sp.Offset+sp.Wire; off++ {
		bad := append([]byte(nil), b...)
		bad[off] ^= 0x10
		if err := os.WriteFile(s.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := l.View(s.Name.FirstSeq - 1)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for rec, err := range v.Records(0, &BlockBuffer{}) {
			if err != nil {
				break
			}
			wantSame(t, fmt.Sprint("with a damaged byte at ", off), []Record{*rec}, want[i:i+1])
			i++
		}
		v.Close()
	}
}
