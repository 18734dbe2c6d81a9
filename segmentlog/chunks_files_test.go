package segmentlog

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestAFileThatGoesBetweenTheLookAndTheOpeningIsLookedUpAgainOnce(t *testing.T) {
	l, fs := watchedLog(t, 0, 700)
	defer mustClose(t, l)
	l.sealer = &sealer{fs: fs, dir: fs.PathJoin(l.opts.Dir, segmentFolder), tree: ranges.NewEmptyRange(0), hurry: func() bool { return false }}
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

// watchedLog is a tieredLog that notes which files are opened.
func watchedLog(t *testing.T, sealed, hot int) (*Log, *openFS) {
	o := diskOptions(t)
	fs := &openFS{FS: o.FS}
	o.FS = fs
	return tieredLog(t, o, sealed, hot), fs
}

func TestAFileIsOpenForItsChunksAndNotLonger(t *testing.T) {
	l, fs := watchedLog(t, 400, 300)
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
