package segmentlog

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// build appends n events one commit each, in files of at most maxHot bytes, and
// returns the log, still open.
func build(t testing.TB, o Options, n int, maxHot int64) *Log {
	t.Helper()
	o.MaxHotBytes = maxHot
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	for i := range n {
		committed.wait(mustAppend(t, l, i))
	}
	return l
}

// hotPaths returns the hot files of the log in o.Dir, oldest first.
func hotPaths(t testing.TB, o Options) []string {
	t.Helper()
	dir := o.FS.PathJoin(o.Dir, logFolder)
	rec := recovery{opts: &o, dir: dir}
	o.EnsureDefaults()
	names, err := rec.list()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		out = append(out, o.FS.PathJoin(dir, n.name))
	}
	return out
}

func mustRead(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	b, err := ReadFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWrite(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil { // the file may scribble over it
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantCorrupt checks that err names path and an offset at or before limit, and
// says what to do.
func wantCorrupt(t testing.TB, err error, path string, limit int64) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
	if c.File != path || c.Offset > limit {
		t.Fatalf("%v: want file %s, an offset up to %d", err, path, limit)
	}
	if !strings.Contains(err.Error(), "backup") {
		t.Fatalf("%v: does not say what to do", err)
	}
}
