package fetch

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestAFolderIsReadThroughAFetcher(t *testing.T) {
	d, err := bucket.OpenDir(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want := newStore(9*testPart + 1).truth("k0")
	if _, err := d.Create(t.Context(), "a/b", bucket.BytesBody(want)); err != nil {
		t.Fatal(err)
	}
	f, err := New(Options{Bucket: d, Dir: filepath.Join(t.TempDir(), "cache"), PartBytes: testPart, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, f)
	o := f.Open("a/b", int64(len(want)))
	defer o.Close()
	for range 2 {
		got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, or others: %v", len(got), len(want), err)
		}
	}
	var missing *MissingError
	if _, err := f.Open("a/c", 10).ReadAt(make([]byte, 1), 0); !errors.As(err, &missing) {
		t.Errorf("not there: %v", err)
	}
	if _, err := f.Open("a/b", o.Size()+testPart).ReadAt(make([]byte, testPart), o.Size()); !errors.Is(err, errShort) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter: %v", err)
	}
}
