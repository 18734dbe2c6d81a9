package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	dirLock = "LOCK"
	dirTmp  = ".tmp"
	// dirHashed bounds the objects that are hashed for their version, in bytes. Larger
	// ones are written once.
	dirHashed = 64 << 20
)

// Dir is a folder as a bucket: an object is a file. One process has it open at a time.
// What is written is synced, the names included.
type Dir struct {
	path string
	lock *os.File

	mu     sync.Mutex // who replaces or deletes
	hashes sync.Map   // key → dirHash: what this process wrote or linked and hashed
}

// dirHash is a file's SHA-256 as long as the file is the one that was hashed.
type dirHash struct {
	stat os.FileInfo
	sum  [sha256.Size]byte
}

// errReadOnly: the folder was opened for reading.
var errReadOnly = errors.New("the folder was opened for reading alone")

// OpenDirReadOnly opens a folder that is there for reading, whoever writes it. Writing
// fails.
func OpenDirReadOnly(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(path)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is not a folder", path)
	}
	if err != nil {
		return nil, fmt.Errorf("archive folder: %w", err)
	}
	return &Dir{path: path}, nil
}

// OpenDir opens a folder, or makes it, and locks it.
func OpenDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(path, dirTmp), 0o755); err != nil {
		return nil, fmt.Errorf("archive folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, dirLock), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("archive folder: %w", err)
	}
	d := &Dir{path: path, lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, fmt.Errorf("archive folder %s cannot be locked, is another process using it? %w", path, err)
	}
	if err := d.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("archive folder: %w", err), d.Close())
	}
	return d, nil
}

// sweep removes what a crash left of writes and makes the folder's name durable.
func (d *Dir) sweep() error {
	left, err := os.ReadDir(filepath.Join(d.path, dirTmp))
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := os.Remove(filepath.Join(d.path, dirTmp, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(d.path), syncFolder(filepath.Dir(d.path)))
}

// Close gives the lock back.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Path returns the folder.
func (d *Dir) Path() string { return d.path }

func (d *Dir) String() string { return "file://" + d.path }

// file returns where an object stands.
func (d *Dir) file(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if !ValidKey(key) || key == dirLock || key == dirTmp || strings.HasPrefix(key, dirTmp+"/") {
		return "", fmt.Errorf("%q cannot be the key of an object", key)
	}
	return filepath.Join(d.path, filepath.FromSlash(key)), nil
}

// writable is file for a write.
func (d *Dir) writable(ctx context.Context, key string) (string, error) {
	if d.lock == nil {
		return "", fmt.Errorf("%s: %w", key, errReadOnly)
	}
	return d.file(ctx, key)
}

// Create implements Bucket: a file that may be linked is, any other is copied.
func (d *Dir) Create(ctx context.Context, key string, body Body) (Info, error) {
	path, err := d.writable(ctx, key)
	if err != nil {
		return Info{}, err
	}
	if _, err := os.Lstat(path); err == nil {
		return Info{}, fmt.Errorf("%s: %w", key, ErrExists)
	}
	from, linked, err := d.stage(ctx, body)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, inMismatch(err, key))
	}
	if !linked {
		defer os.Remove(from) // its name; the object keeps the bytes
	}
	if err := d.makeFolders(filepath.Dir(path)); err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	if err := os.Link(from, path); errors.Is(err, fs.ErrExist) {
		return Info{}, fmt.Errorf("%s: %w", key, ErrExists)
	} else if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	return d.hashed(key, path, body)
}

// stage returns a synced file with the body's bytes, whose hash was checked: the body's
// own file where that can be linked into the folder, else a temporary one.
func (d *Dir) stage(ctx context.Context, body Body) (path string, linked bool, err error) {
	if body.Path != "" && d.linkable(body.Path) {
		return body.Path, true, d.check(ctx, body)
	}
	f, err := os.CreateTemp(filepath.Join(d.path, dirTmp), "put")
	if err != nil {
		return "", false, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), &untilDone{ctx, io.NewSectionReader(body.Bytes, 0, body.Size)})
	if err == nil && (n != body.Size || [sha256.Size]byte(h.Sum(nil)) != body.SHA256) {
		err = &MismatchError{Want: body, Size: n, Sum: h.Sum(nil)}
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", false, errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), false, nil
}

// linkable says whether a file can have a name in the folder too.
func (d *Dir) linkable(path string) bool {
	probe := filepath.Join(d.path, dirTmp, fmt.Sprintf("link-%x", rand.Uint64()))
	if os.Link(path, probe) != nil { // another file system, too many links, no such thing here
		return false
	}
	return os.Remove(probe) == nil
}

// check hashes the body's own file.
func (d *Dir) check(ctx context.Context, body Body) error {
	f, err := os.Open(body.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, &untilDone{ctx, f})
	if err != nil {
		return err
	}
	if n != body.Size || [sha256.Size]byte(h.Sum(nil)) != body.SHA256 {
		return &MismatchError{Want: body, Size: n, Sum: h.Sum(nil)}
	}
	return nil
}

// inMismatch puts the key into a mismatch.
func inMismatch(err error, key string) error {
	var m *MismatchError
	if errors.As(err, &m) {
		m.Key = key
	}
	return err
}

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// hashed remembers the hash of an object that was just written and returns its Info.
func (d *Dir) hashed(key, path string, body Body) (Info, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	d.hashes.Store(key, dirHash{st, body.SHA256})
	return Info{Key: key, Size: body.Size, Version: version(body.SHA256), SHA256: body.SHA256[:]}, nil
}

func version(sum [sha256.Size]byte) Version { return Version(hex.EncodeToString(sum[:])) }

// Replace implements Bucket.
func (d *Dir) Replace(ctx context.Context, key string, old Version, body Body) (Info, error) {
	path, err := d.writable(ctx, key)
	if err != nil {
		return Info{}, err
	}
	body.Path = "" // its file would have one name less
	from, _, err := d.stage(ctx, body)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, inMismatch(err, key))
	}
	defer os.Remove(from) // gone when it was renamed
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.Stat(ctx, key)
	if errors.Is(err, ErrNotFound) || err == nil && (old == "" || now.Version != old) {
		return Info{}, fmt.Errorf("%s: %w", key, ErrChanged)
	}
	if err == nil {
		err = os.Rename(from, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, err)
	}
	return d.hashed(key, path, body)
}

// makeFolders makes a folder and those above it durably.
func (d *Dir) makeFolders(path string) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	if path != d.path {
		if err := d.makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
