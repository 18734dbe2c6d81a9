package segmentlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// syncError is a failed fsync. What it covered is lost track of: the kernel may
// have dropped the pages and report success the next time, so nothing is retried.
type syncError struct{ err error }

func (e *syncError) Error() string { return "sync: " + e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

func asSyncError(err error) error {
	if err == nil {
		return nil
	}
	return &syncError{err}
}

// isNoSpace says whether err is a write that found the disk or a quota full, which
// can be tried again. A sync that reports the same is a failed sync.
func isNoSpace(err error) bool {
	var s *syncError
	return !errors.As(err, &s) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// writeAll writes b; fewer bytes than all are an error even where w reports none.
func writeAll(w io.Writer, b []byte) (n int, err error) {
	n, err = w.Write(b)
	if err == nil && n != len(b) {
		err = fmt.Errorf("%w: %d of %d bytes", io.ErrShortWrite, n, len(b))
	}
	return n, err
}

// ReplaceFile puts content under dir/name durably and at once: temporary name,
// sync, rename, sync of the directory.
func ReplaceFile(fs vfs.FS, dir, name string, content []byte) error {
	tmp := fs.PathJoin(dir, name+tmpSuffix)
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = writeAll(f, content)
	if err == nil {
		err = asSyncError(f.Sync())
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, fs.PathJoin(dir, name))
	}
	if err == nil {
		err = SyncDir(fs, dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// SyncDir makes the names in dir durable.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = asSyncError(d.Sync())
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// syncAncestors makes the names of dir and of every folder above it durable.
func syncAncestors(fs vfs.FS, dir string) error {
	for {
		up := fs.PathDir(dir)
		if up == dir {
			return nil
		}
		if err := SyncDir(fs, up); errors.Is(err, unix.EACCES) {
			return nil // a folder that we may not read is none that we made
		} else if err != nil {
			return fmt.Errorf("sync folder %s: %w", up, err)
		}
		dir = up
	}
}

// ReadFile reads a whole file.
func ReadFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
