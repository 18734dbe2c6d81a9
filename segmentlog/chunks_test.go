package segmentlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

func TestAFileThatGoesBetweenTheLookAndTheOpeningIsLookedUpAgainOnce(t *testing.T) {
	o := diskOptions(t)
	fs := &openFS{FS: o.FS}
	o.FS = fs
	l := tieredLog(t, o, 0, 700)
	defer mustClose(t, l)
	l.sealer = &sealer{fs: o.FS, dir: o.FS.PathJoin(o.Dir, segmentFolder), tree: ranges.NewEmptyRange(0), hurry: func() bool { return false }}
	want := readAll(t, l, 0)
	sealed := 0
	fs.before = func(path string) { // the sealer is faster, each time but for the newest file
		h := hotFilesOf(l)[0]
		if path != h.path || !h.complete() {
			return
		}
		before := fs.before
		fs.before = nil
		if err := l.sealOne(t.Context(), h); err != nil {
			t.Error(err)
		}
		sealed++
		fs.before = before
	}
	wantSame(t, "sealed meanwhile", decodeChunks(t, l, 0, 2), want)
	if sealed < 3 || len(hotFilesOf(l)) != 1 {
		t.Fatalf("%d files were sealed, %d are left", sealed, len(hotFilesOf(l)))
	}
	looked := 0
	fs.before = func(path string) {
		looked++
		_ = os.Remove(path) // the second time it is gone
	}
	for _, err := range l.Chunks(0) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("a segment that is gone: %v", err)
		}
	}
	if looked != 2 {
		t.Fatalf("looked %d times", looked)
	}
}

// openFS counts the files that are open for reading.
type openFS struct {
	vfs.FS
	open   atomic.Int64
	before func(path string) // called before a file is opened, may be nil
}

func (o *openFS) Open(path string, opts ...vfs.OpenOption) (vfs.File, error) {
	if o.before != nil {
		o.before(path)
	}
	f, err := o.FS.Open(path, opts...)
	if err != nil {
		return nil, err
	}
	o.open.Add(1)
	return &openFile{File: f, fs: o}, nil
}

type openFile struct {
	vfs.File
	fs *openFS
}

func (f *openFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func TestAFileIsOpenForItsChunksAndNotLonger(t *testing.T) {
	o := diskOptions(t)
	fs := &openFS{FS: o.FS}
	o.FS = fs
	l := tieredLog(t, o, 400, 300)
	defer mustClose(t, l)
	before := fs.open.Load()
	parts := len(*l.files.Load())
	var chunks []*Chunk
	for c, err := range l.Chunks(0) {
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
	}
	if n := int(fs.open.Load() - before); n != parts || len(chunks) <= parts {
		t.Fatalf("%d files are open for %d chunks of %d parts", n, len(chunks), parts)
	}
	for i, c := range chunks {
		switch i % 3 {
		case 0: // not wanted
			c.Close()
			c.Close()
		case 1: // walked to its end
			for _, err := range c.Records(nil) {
				if err != nil {
					t.Fatal(err)
				}
			}
		case 2: // left early
			for _, err := range c.Records(nil) {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		for _, err := range c.Records(nil) {
			if !errors.Is(err, errChunkClosed) {
				t.Fatalf("a chunk that was closed: %v", err)
			}
		}
	}
	if n := fs.open.Load() - before; n != 0 {
		t.Fatalf("%d files are still open", n)
	}
	for c, err := range l.Chunks(0) { // ends early itself
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		break
	}
	if n := fs.open.Load() - before; n != 0 {
		t.Fatalf("%d files are still open", n)
	}
}

func TestADamagedChunkIsACorruptErrorAndTheOthersAreRead(t *testing.T) {
	o := diskOptions(t)
	l := tieredLog(t, o, 400, 300)
	defer mustClose(t, l)
	hot := hotFilesOf(l)
	for _, victim := range []part{(*l.files.Load())[0], part(hot[0])} {
		path := ""
		switch p := victim.(type) {
		case *sealedFile:
			path = p.path
		case *hotFile:
			path = p.path
		}
		whole := mustRead(t, o.FS, path)
		at := len(whole) / 3
		whole[at] ^= 1
		mustWrite(t, o.FS, path, whole)
		bad := 0
		for c, err := range l.Chunks(0) {
			if err != nil {
				t.Fatal(err)
			}
			var failed error
			for rec, err := range c.Records(nil) {
				if failed != nil {
					t.Fatal("records after an error")
				}
				if failed = err; err == nil && (rec.Seq <= c.After || rec.Seq > c.Through) {
					t.Fatalf("seq %d in (%d, %d]", rec.Seq, c.After, c.Through)
				}
			}
			if failed == nil {
				continue
			}
			bad++
			var corrupt *CorruptError
			if !errors.As(failed, &corrupt) || corrupt.File != path || corrupt.Offset > int64(at) {
				t.Fatalf("byte %d of %s: %v", at, path, failed)
			}
		}
		if bad != 1 {
			t.Fatalf("%s: %d chunks are damaged", path, bad)
		}
		whole[at] ^= 1
		mustWrite(t, o.FS, path, whole)
	}
}

func TestAHotChunkWhoseRecordsAreOutOfOrderIsACorruptError(t *testing.T) {
	for _, seqs := range [][]uint64{{1, 3, 2, 4}, {1, 2, 2, 4}, {2, 1, 3, 4}} {
		h := &hotFile{path: "/hot", header: *sampleHeader()}
		content := h.header.encode()
		h.headerLen = int64(len(content))
		for _, seq := range seqs {
			content, _, _ = appendEntry(content, seq, 1, &Entry{DID: "did:web:a"})
		}
		c := hotChunk{file: h, from: seekPoint{seqs[0], h.headerLen}, to: seekPoint{5, int64(len(content))}, final: true}
		err := c.each(memFile(t, content), &BlockBuffer{}, func(*Record) bool { return true })
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !errors.Is(err, errOrder) {
			t.Errorf("%v: %v", seqs, err)
		}
	}
}

func TestAHotChunkWhoseRecordsAreOthersThanWereWrittenIsACorruptError(t *testing.T) {
	l := tieredLog(t, diskOptions(t), 0, 40)
	defer mustClose(t, l)
	h := hotFilesOf(l)[0]
	cuts := h.cuts(0, h.finalSeq(), 1<<40)
	from, to := cuts[0], cuts[1]
	f, err := l.opts.FS.Open(h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for want, c := range map[string]hotChunk{
		"seq 1, not 2":       {from: seekPoint{2, from.off}, to: to, final: true},
		"not above":          {from: from, to: seekPoint{to.seq - 1, to.off}},
		"they end at seq":    {from: from, to: seekPoint{to.seq + 1, to.off}, final: true},
		"ends within a reco": {from: from, to: seekPoint{to.seq, to.off - 5}, final: true},
		"become shorter":     {from: from, to: seekPoint{to.seq + 1, to.off + 1<<20}, final: true},
		"neither a mark nor": {from: seekPoint{1, from.off + 1}, to: to, final: true},
	} {
		c.file = h
		err := c.each(f, &BlockBuffer{}, func(*Record) bool { return true })
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
