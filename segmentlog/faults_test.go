package segmentlog

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// halfWriteFS fails writes the way a full or broken disk does: half of the bytes
// are really written, and the error says so.
type halfWriteFS struct {
	vfs.FS
	fired atomic.Int64 // writes that failed

	mu             sync.Mutex
	in             int // the in-th write from now on fails, and all after it; 0 for none
	once           bool
	err            error
	match          func(path string) bool // nil for every file
	beforeSyncData func()
}

// failFrom makes the n-th write from now on fail with err, and all after it; n 0
// ends that.
func (h *halfWriteFS) failFrom(n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in, h.err, h.once = n, err, false
}

// failOnce makes the n-th write from now on fail with err, and none after it.
func (h *halfWriteFS) failOnce(n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in, h.err, h.once = n, err, true
}

// next says how the next write of path ends.
func (h *halfWriteFS) next(path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.in == 0 || h.match != nil && !h.match(path) {
		return nil
	}
	if h.in > 1 {
		h.in--
		return nil
	}
	if h.once {
		h.in = 0
	}
	h.fired.Add(1)
	return h.err
}

func (h *halfWriteFS) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(path, c)
	if err != nil {
		return nil, err
	}
	return &halfWriteFile{File: f, fs: h, path: path}, nil
}

type halfWriteFile struct {
	vfs.File
	fs   *halfWriteFS
	path string
}

func (f *halfWriteFile) Write(b []byte) (int, error) {
	if err := f.fs.next(f.path); err != nil {
		n, werr := f.File.Write(b[:len(b)/2])
		if werr != nil {
			return n, werr
		}
		return n, err
	}
	return f.File.Write(b)
}

func (f *halfWriteFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.next(f.path); err != nil {
		n, werr := f.File.WriteAt(b[:len(b)/2], off)
		if werr != nil {
			return n, werr
		}
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *halfWriteFile) SyncData() error {
	f.fs.mu.Lock()
	before := f.fs.beforeSyncData
	f.fs.mu.Unlock()
	if before != nil {
		before()
	}
	return f.File.SyncData()
}
