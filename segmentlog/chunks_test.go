package segmentlog

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tieredLog returns a log of n events: as many of them sealed as rotate away before
// the sealer is switched off, the rest in hot files, the newest of which is written.
func tieredLog(t testing.TB, o Options, sealed, hot int) *Log {
	t.Helper()
	o.MaxHotBytes = 16 << 10
	n := 0
	fill := func(count int) *Log {
		committed := newSeen()
		o.OnCommit = committed.commit
		l := mustOpen(t, o)
		for range count {
			committed.wait(mustAppend(t, l, n))
			n++
		}
		return l
	}
	if sealed > 0 {
		o.Seal = &SegmentOptions{BlockSize: 2 << 10}
		seals := watchSeals(&o)
		rotated := 0
		o.Events.Rotate = func(string) { rotated++ }
		mustClose(t, fill(sealed))
		count := rotated // Close rotates the last one
		l := mustOpen(t, o)
		seals.wait(func() bool { return len(seals.sealed) == count })
		mustClose(t, l)
		o.Seal = nil
	}
	return fill(hot)
}

// decodeChunks decodes all chunks after a seq with so many goroutines and puts the
// records in order.
func decodeChunks(t testing.TB, l *Log, after uint64, goroutines int) []Record {
	t.Helper()
	type job struct {
		index int
		c     *Chunk
	}
	jobs := make(chan job)
	var mu sync.Mutex
	var chunks [][]Record
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			var buf BlockBuffer
			for j := range jobs {
				var recs []Record
				for rec, err := range j.c.Records(&buf) {
					if err != nil {
						t.Error(err)
						break
					}
					if rec.Seq <= j.c.After || rec.Seq > j.c.Through {
						t.Errorf("seq %d in the chunk (%d, %d]", rec.Seq, j.c.After, j.c.Through)
					}
					recs = append(recs, cloneRecord(rec))
				}
				mu.Lock()
				chunks[j.index] = recs
				mu.Unlock()
			}
		})
	}
	last := after
	for c, err := range l.Chunks(after) {
		if err != nil {
			t.Error(err)
			break
		}
		if c.After != last || c.Through <= c.After {
			t.Errorf("chunk (%d, %d] after %d", c.After, c.Through, last)
		}
		last = c.Through
		mu.Lock()
		chunks = append(chunks, nil)
		i := len(chunks) - 1
		mu.Unlock()
		jobs <- job{i, c}
	}
	close(jobs)
	wg.Wait()
	return slices.Concat(chunks...)
}

func wantSame(t testing.TB, what string, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(AppendRecord(nil, &got[i]), AppendRecord(nil, &want[i])) {
			t.Fatalf("%s: record %d is seq %d, want %d", what, i, got[i].Seq, want[i].Seq)
		}
	}
}

func TestChunksAreWhatAReaderReadsFromEveryCursorInEveryTier(t *testing.T) {
	for name, tiers := range map[string][2]int{"hot": {0, 700}, "sealed": {700, 0}, "mixed": {400, 300}} {
		t.Run(name, func(t *testing.T) {
			l := tieredLog(t, diskOptions(t), tiers[0], tiers[1])
			defer mustClose(t, l)
			hot, sealed := 0, 0
			for _, p := range *l.files.Load() {
				if _, ok := p.(*sealedFile); ok {
					sealed++
				} else {
					hot++
				}
			}
			if (hot > 1) != (tiers[1] > 0) || (sealed > 1) != (tiers[0] > 0) {
				t.Fatalf("%d hot files, %d segments", hot, sealed)
			}
			for _, after := range []uint64{0, 1, 2, 57, 198, 399, 400, 401, 402, 650, 698, 699, 700, 701, MaxSeq} {
				want := readAll(t, l, after)
				for _, goroutines := range []int{1, 3} {
					wantSame(t, fmt.Sprint("after ", after), decodeChunks(t, l, after, goroutines), want)
				}
			}
		})
	}
}

func TestAHotFileIsCutIntoChunksOfWholeItems(t *testing.T) {
	o := diskOptions(t)
	o.MaxPendingBytes = 300 << 10
	largest, batches := 0, 0
	o.Events.Commit = func(c CommitInfo) { largest, batches = max(largest, c.Bytes), batches+1 }
	committed := newSeen()
	o.OnCommit = committed.commit
	in := &intake{t: t, log: mustOpen(t, o)}
	for in.next < 6_000 { // large batches, and between them small ones
		in.fill()
		committed.wait(in.last)
		committed.wait(mustAppend(t, in.log, in.next))
		in.next++
	}
	mustClose(t, in.log)
	if largest < 4*seekSpacing || batches < 8 {
		t.Fatalf("%d batches, the largest of %d bytes", batches, largest)
	}
	h, tip := hotFilesOf(in.log)[0], in.log.Tip()
	f, err := o.FS.Open(h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{1, 200 << 10, hotChunkSize, 1 << 40} {
		for _, after := range []uint64{0, 1, tip / 3, tip - 1} {
			for _, through := range []uint64{tip, tip - 1, tip/3 + 1} {
				if through > after {
					walkCuts(t, h, f, after, through, size)
				}
			}
		}
	}
	for _, p := range h.seeks[1:] { // on either side of every place where it may be cut
		for _, after := range []uint64{p.seq - 2, p.seq - 1, p.seq} {
			walkCuts(t, h, f, after, min(after+3, tip), 1)
		}
	}
}

func TestAHotFileIsNotReadAboveItsDurableEnd(t *testing.T) {
	h := &hotFile{headerLen: 64, seeks: []seekPoint{{1, 80}, {5, 1000}, {9, 2000}}}
	h.header.FirstSeq = 1
	h.end.Store(1500) // records from 9 on were copied to another file
	if cuts := h.cuts(0, 8, 1); !slices.Equal(cuts, []seekPoint{{1, 80}, {5, 1000}, {9, 1500}}) {
		t.Fatal(cuts)
	}
}

// walkCuts reads a hot file by its cuts, which must be about size apart.
func walkCuts(t *testing.T, h *hotFile, f vfs.File, after, through uint64, size int64) {
	t.Helper()
	cuts := h.cuts(after, through, size)
	seq := after
	for i := range cuts[:len(cuts)-1] {
		c := hotChunk{file: h, from: cuts[i], to: cuts[i+1], final: i == len(cuts)-2}
		err := c.each(f, &BlockBuffer{}, func(rec *Record) bool {
			if rec.Seq > after {
				if seq++; rec.Seq != seq {
					t.Fatalf("seq %d, want %d", rec.Seq, seq)
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := c.to.off - c.from.off; n > size+2*seekSpacing {
			t.Fatalf("a chunk of %d bytes, wanted about %d", n, size)
		}
	}
	if seq != through {
		t.Fatalf("(%d, %d] by %d ends at %d", after, through, size, seq)
	}
}

func TestChunksEndAtTheTipOfWhenTheyBegan(t *testing.T) {
	l := tieredLog(t, diskOptions(t), 0, 100)
	defer mustClose(t, l)
	n := 100
	for c, err := range l.Chunks(0) {
		if err != nil {
			t.Fatal(err)
		}
		for range 50 { // in this file and in later ones
			for seq := mustAppend(t, l, n); l.Tip() < seq; {
				runtime.Gosched()
			}
			n++
		}
		last := uint64(0)
		for rec, err := range c.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			last = rec.Seq
		}
		if last != c.Through || last > 100 {
			t.Fatalf("a chunk through %d ends at %d", c.Through, last)
		}
	}
}

func TestChunksAreReadWhileFilesAreAddedAndSealed(t *testing.T) {
	o := diskOptions(t)
	o.MaxHotBytes = 8 << 10
	o.Seal = &SegmentOptions{BlockSize: 2 << 10}
	seals := watchSeals(&o)
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	defer mustClose(t, l)
	var appended sync.WaitGroup
	appended.Go(func() {
		for n := range 2000 {
			committed.wait(mustAppend(t, l, n))
		}
	})
	for tip := uint64(0); tip < 2000; {
		tip = l.Tip()
		recs := decodeChunks(t, l, 0, 2)
		if uint64(len(recs)) < tip {
			t.Fatalf("%d records, the tip was %d", len(recs), tip)
		}
		for i := range recs {
			wantEntry(t, &recs[i], i)
		}
	}
	appended.Wait()
	// Chunks that were made of hot files are read when these are gone.
	var chunks []*Chunk
	for c, err := range l.Chunks(0) {
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
	}
	files := len(hotFilesOf(l))
	count := 0
	committed.wait(mustAppend(t, l, 2000))
	seals.wait(func() bool { return len(hotFilesOf(l)) <= 1 })
	for _, c := range chunks {
		for rec, err := range c.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			wantEntry(t, rec, count)
			count++
		}
	}
	if count != 2000 {
		t.Fatalf("%d records of chunks, %d hot files when they were made", count, files)
	}
}
