package bucket

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// openSyncing opens a folder whose syncs are recorded, and fail with *broken.
func openSyncing(t *testing.T, path string, broken *error) (d *Dir, synced *[]string) {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // a test may have closed it
	synced = new([]string)
	d.sync = func(folder string) error {
		rel, err := filepath.Rel(path, folder)
		if err != nil {
			return err
		}
		*synced = append(*synced, rel)
		if *broken != nil {
			return *broken
		}
		return syncFolder(folder)
	}
	return d, synced
}

func TestAnObjectThatExistsIsDurableWhenThatIsSaid(t *testing.T) {
	path := t.TempDir()
	body := BytesBody([]byte("bytes"))
	errDisk := errors.New("the disk is broken")
	broken := errDisk
	crashed, _ := openSyncing(t, path, &broken)
	// As after a crash: folders and an object whose names were never synced.
	if err := os.MkdirAll(filepath.Join(path, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "a", "b", "c"), []byte("bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := crashed.Create(t.Context(), "a/b/c", body); errors.Is(err, ErrExists) || !errors.Is(err, errDisk) {
		t.Errorf("what cannot be synced: %v", err)
	}
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	broken = nil
	d, synced := openSyncing(t, path, &broken)
	if _, err := d.Create(t.Context(), "a/b/c", body); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if want := []string{".", "a", "a/b"}; !slices.Equal(*synced, want) {
		t.Errorf("synced %q, not %q", *synced, want)
	}
}

func TestANewObjectSyncsTheFoldersThatAreNotKnownToBeDurable(t *testing.T) {
	path := t.TempDir()
	if err := os.MkdirAll(filepath.Join(path, "a"), 0o755); err != nil { // left by a crash
		t.Fatal(err)
	}
	var broken error
	d, synced := openSyncing(t, path, &broken)
	for _, c := range []struct {
		key  string
		want []string
	}{
		{"a/b/1", []string{".", "a", "a/b"}},
		{"a/b/2", []string{"a/b"}},
		{"a/c/1", []string{"a", "a/c"}},
		{"1", []string{"."}},
	} {
		*synced = nil
		if _, err := d.Create(t.Context(), c.key, BytesBody(nil)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(*synced, c.want) {
			t.Errorf("%s: synced %q, not %q", c.key, *synced, c.want)
		}
	}
}

func TestTheHashOfAnObjectIsNeverTakenForThatOfTheNext(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, next := BytesBody([]byte("first")), BytesBody([]byte("other"))
	fired := false
	d.sync = func(folder string) error { // between the link and what Create remembers of it
		d.sync = syncFolder
		fired = true
		if err := d.Delete(t.Context(), "key"); err != nil {
			return err
		}
		_, err := d.Create(t.Context(), "key", next)
		return err
	}
	if _, err := d.Create(t.Context(), "key", first); err != nil || !fired {
		t.Fatal(fired, err)
	}
	if err := Confirm(t.Context(), d, "key", next); err != nil {
		t.Error(err)
	}
	if err := Confirm(t.Context(), d, "key", first); err == nil {
		t.Error("the hash of what was deleted is confirmed")
	}
}

func TestASymbolicLinkIsCopiedNotLinked(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	body := BytesBody([]byte("bytes"))
	body.Path = link
	if _, err := d.Create(t.Context(), "key", body); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	if err := Confirm(t.Context(), d, "key", body); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "archive", ".tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v stay, %v", left, err)
	}
}
