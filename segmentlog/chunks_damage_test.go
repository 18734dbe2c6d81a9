package segmentlog

import (
	"errors"
	"strings"
	"testing"
)

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
