package bucket_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openDir(t *testing.T, path string) *bucket.Dir {
	t.Helper()
	d, err := bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // a test may have closed it
	return d
}

func TestAFolderIsABucket(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return openDir(t, t.TempDir()) })
}

func TestAFolderOnAnotherFileSystemIsABucket(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		dir, err := os.MkdirTemp("/dev/shm", "cistern-bucket")
		if err != nil {
			t.Skipf("no second file system to try: %v", err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return openDir(t, dir)
	})
}

func TestOnlyOneProcessHasAFolderOpen(t *testing.T) {
	dir := t.TempDir()
	first := openDir(t, dir)
	if _, err := bucket.OpenDir(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openDir(t, dir)
}

func TestWhatACrashLeftOfAWriteIsSweptAndNoObject(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	left := filepath.Join(dir, ".tmp", "put123")
	if err := os.WriteFile(left, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	for info, err := range d.List(t.Context(), "", "") {
		t.Errorf("%+v, %v", info, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openDir(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stays: %v", left, err)
	}
}

func TestALinkedObjectIsTheLocalFileItself(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, filepath.Join(dir, "archive"))
	path := filepath.Join(dir, "segment")
	if err := os.WriteFile(path, []byte("bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	body := bucket.BytesBody([]byte("bytes"))
	body.Path = path
	if _, err := d.Create(t.Context(), "segments/1", body); err != nil {
		t.Fatal(err)
	}
	a, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dir, "archive", "segments", "1"))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("it was copied: %v", err)
	}
}
