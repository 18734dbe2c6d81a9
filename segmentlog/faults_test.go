package segmentlog

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// crashFS lets a test stop the world before the k-th operation that changes the
// file system, and take what a power cut or a kill at that moment would leave.
type crashFS struct {
	vfs.FS
	mem *vfs.MemFS
	rng *rand.Rand

	mu      sync.Mutex
	ops     int
	at      int  // crash before this operation; 0 for never
	kill    bool // the process is killed: what is not synced stays in the page cache
	percent int  // of unsynced blocks and names that survive a power cut
	crashed *vfs.MemFS
	onCrash func(place)
	phase   string                 // start, run or end
	written map[string]bool        // hot files that hold a commit
	fail    func(errorfs.Op) error // another fault to inject, may be nil
}

// place is where a crash came: before an operation, in the middle of something.
type place struct{ during, op string }

var opNames = map[errorfs.OpKind]string{
	errorfs.OpCreate: "create", errorfs.OpRemove: "remove", errorfs.OpRename: "rename", errorfs.OpMkdirAll: "mkdir", errorfs.OpLock: "lock",
	errorfs.OpFileClose: "close", errorfs.OpFileWrite: "write", errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync data",
}

// placeOf says where op stands, by the file and by what was done to it before.
func (c *crashFS) placeOf(op errorfs.Op) place {
	p := place{"append", opNames[op.Kind]}
	inLog := strings.Contains(op.Path, "/"+logFolder)
	switch {
	case c.phase == "start":
		p.during = "start"
	case strings.Contains(op.Path, segmentFolder) || inLog && op.Kind == errorfs.OpRemove:
		p.during = "seal"
	case c.phase == "end":
		p.during = "end"
	case strings.Contains(op.Path, reservedFile) || !inLog:
		p.during = "reserve"
	case op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileWrite && c.written[op.Path]: // a closing mark is a write as well
	default: // creating a file, its header, its name; and the sync and the close at its end
		p.during = "rotate"
	}
	if op.Kind == errorfs.OpFileSyncData {
		c.written[op.Path] = true
	}
	return p
}

// enter says what the log does from now on.
func (c *crashFS) enter(phase string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = phase
}

// errKilled is what a killed process would get, if it were still there to see it.
var errKilled = errors.New("killed")

func newCrashFS(mem *vfs.MemFS, rng *rand.Rand) *crashFS {
	c := &crashFS{mem: mem, written: map[string]bool{}, rng: rand.New(rand.NewPCG(rng.Uint64(), 3))} // of its own: it is drawn from in any goroutine
	c.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(c.inject))
	return c
}

func (c *crashFS) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops++
	at := c.placeOf(op)
	if c.ops == c.at {
		if c.crashed = c.mem; !c.kill {
			c.crashed = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
		}
		c.onCrash(at)
	}
	if c.kill && c.crashed != nil {
		return errKilled
	}
	if c.fail != nil {
		return c.fail(op)
	}
	return nil
}

func (c *crashFS) crashedFS() *vfs.MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashed
}

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
