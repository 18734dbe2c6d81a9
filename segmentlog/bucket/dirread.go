package bucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Read implements Bucket.
func (d *Dir) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	path, err := d.file(ctx, key)
	if err != nil {
		return nil, err
	}
	f, err := open(path, key)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case off < 0:
		err = fmt.Errorf("offset %d", off)
	case n < 0:
		if n = st.Size() - off; n < 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", key, err), f.Close())
	}
	return &exactly{&untilDone{ctx, io.NewSectionReader(f, off, n)}, n, f}, nil
}

// open opens an object's file.
func open(path, key string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil && st.Mode().IsRegular() {
			return f, nil
		}
		err = errors.Join(err, f.Close(), fs.ErrNotExist) // a folder
	}
	return nil, fmt.Errorf("%s: %w", key, absent(err))
}

// absent makes ErrNotFound of what a file that is not there gives.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ErrNotFound
	}
	return err
}

// exactly is a reader whose end before n bytes is an error.
type exactly struct {
	io.Reader
	left int64
	io.Closer
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Stat implements Bucket. The SHA-256 is that of what this process wrote, as long as
// nobody else writes into the folder; a small file is hashed.
func (d *Dir) Stat(ctx context.Context, key string) (Info, error) {
	path, err := d.file(ctx, key)
	if err != nil {
		return Info{}, err
	}
	f, err := open(path, key)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	info := Info{Key: key, Size: st.Size()}
	if v, ok := d.hashes.Load(key); ok {
		known, _ := v.(dirHash)
		if os.SameFile(known.stat, st) && known.stat.Size() == st.Size() && known.stat.ModTime().Equal(st.ModTime()) {
			info.SHA256, info.Version = known.sum[:], version(known.sum)
			return info, nil
		}
	}
	if st.Size() > dirHashed {
		return info, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, &untilDone{ctx, f}); err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	info.SHA256 = h.Sum(nil)
	info.Version = version([sha256.Size]byte(info.SHA256))
	return info, nil
}

// Delete implements Bucket.
func (d *Dir) Delete(ctx context.Context, key string) error {
	path, err := d.writable(ctx, key)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := open(path, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(path), d.sync(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	d.hashes.Delete(key)
	return nil
}

// List implements Bucket.
func (d *Dir) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		w := walk{d: d, ctx: ctx, prefix: prefix, after: after, yield: yield}
		w.folder("")
	}
}

// walk goes through the folders in the order of whole keys.
type walk struct {
	d             *Dir
	ctx           context.Context
	prefix, after string
	yield         func(Info, error) bool
}

// folder yields what is below a folder, whose key is "" or ends with a slash, and says
// whether to go on.
func (w *walk) folder(key string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(key, err)
	}
	entries, err := os.ReadDir(filepath.Join(w.d.path, filepath.FromSlash(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return true // it went meanwhile
	}
	if err != nil {
		return w.fail(key, err)
	}
	var keys []string
	for _, e := range entries {
		k := key + e.Name()
		if e.IsDir() {
			k += "/" // sorts as its first object does
		}
		if key == "" && (k == dirLock || k == dirTmp+"/") {
			continue
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !w.item(k) {
			return false
		}
	}
	return true
}

// item yields an object or what is below a folder.
func (w *walk) item(k string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(k, err)
	}
	below := strings.HasSuffix(k, "/")
	switch {
	case below && !strings.HasPrefix(k, w.prefix) && !strings.HasPrefix(w.prefix, k):
		return true
	case below && k < w.after && !strings.HasPrefix(w.after, k):
		return true
	case below:
		return w.folder(k)
	case !strings.HasPrefix(k, w.prefix) || k <= w.after:
		return true
	}
	st, err := os.Lstat(filepath.Join(w.d.path, filepath.FromSlash(k)))
	if errors.Is(err, fs.ErrNotExist) {
		return true // it went meanwhile
	}
	if err != nil {
		return w.fail(k, err)
	}
	if !st.Mode().IsRegular() {
		return true
	}
	return w.yield(Info{Key: k, Size: st.Size()}, nil)
}

func (w *walk) fail(key string, err error) bool {
	w.yield(Info{}, fmt.Errorf("list %s: %w", key, err))
	return false
}

// Open opens an object's file: ErrNotFound.
func (d *Dir) Open(key string) (*os.File, error) {
	path, err := d.file(context.Background(), key)
	if err != nil {
		return nil, err
	}
	return open(path, key)
}
