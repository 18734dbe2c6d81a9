package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// inode names a file whatever it is called.
type inode struct{ dev, ino uint64 }

// Usage is how many bytes the files under the folders take on disk, each once. A folder
// that is not there is empty.
func Usage(dirs ...string) (sum int64, err error) {
	seen := map[inode]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return nil
			}
			var info os.FileInfo
			if err == nil {
				info, err = d.Info()
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went meanwhile
			}
			if err != nil {
				return err
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				sum += info.Size()
				return nil
			}
			id := inode{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // not of this type on every system
			if st.Nlink > 1 && seen[id] {
				return nil
			}
			if st.Nlink > 1 {
				seen[id] = true
			}
			sum += st.Blocks * 512
			return nil
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// shared says whether a file has another name, so that removing this one frees nothing.
func shared(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
