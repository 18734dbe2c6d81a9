package segmentlog

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// errSilent makes a halfWriteFS write half and report no error.
var errSilent = errors.New("half of it was written")

// halfWriteFS fails writes the way a full or broken disk does: half of the bytes
// are really written, and the error says so.
type halfWriteFS struct {
	vfs.FS
	fired atomic.Int64 // writes that failed
	after atomic.Int64 // writes and syncs since the first that failed

	mu             sync.Mutex
	in             int // the in-th write from now on fails, and all after it; 0 for none
	once           bool
	err            error
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

// next says how the next write ends.
func (h *halfWriteFS) next() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fired.Load() > 0 {
		h.after.Add(1)
	}
	if h.in == 0 {
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
	return &halfWriteFile{File: f, fs: h}, nil
}

type halfWriteFile struct {
	vfs.File
	fs *halfWriteFS
}

func (f *halfWriteFile) Write(b []byte) (int, error) {
	if err := f.fs.next(); err != nil {
		n, werr := f.File.Write(b[:len(b)/2])
		switch {
		case werr != nil:
			return n, werr
		case errors.Is(err, errSilent):
			return n, nil
		}
		return n, err
	}
	return f.File.Write(b)
}

func (f *halfWriteFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.next(); err != nil {
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
