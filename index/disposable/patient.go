package disposable

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patientFS is a file system that waits where Pebble would not. While the disk is
// full, Pebble tries to write tables again and again, and takes a manifest that
// cannot be written for fatal. Neither holds Pebble's main lock here.
type patientFS struct {
	vfs.FS
	closing chan struct{} // closed when nothing should wait any more

	mu    sync.Mutex
	until time.Time // before which no table is begun
}

// hold makes new tables wait for d: flushes and compactions begin with one.
func (p *patientFS) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(d)
}

// Create makes a file, a table when it may be made.
func (p *patientFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	table := strings.HasSuffix(name, ".sst")
	if table {
		p.mu.Lock()
		wait := time.Until(p.until)
		p.mu.Unlock()
		p.wait(wait)
	}
	f, err := p.FS.Create(name, category)
	if err == nil && !table {
		f = &patientFile{File: f, fs: p}
	}
	return f, err
}

// Unwrap returns the file system below.
func (p *patientFS) Unwrap() vfs.FS { return p.FS }

// wait waits and says whether it makes sense to go on.
func (p *patientFS) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.closing:
		return false
	}
}

// patientFile is a manifest, or another small file, whose writes wait for space.
type patientFile struct {
	vfs.File
	fs *patientFS
}

func (f *patientFile) Write(b []byte) (done int, err error) {
	for {
		n, err := f.File.Write(b[done:])
		done += n
		if err == nil || !isNoSpace(err) || !f.fs.wait(retryAfter) {
			return done, err
		}
	}
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// probeSize is more than opening a store writes, in bytes.
const probeSize = 256 << 10

// probe says whether a directory can be written. Pebble's Open does not return while
// the disk is full.
func probe(fs vfs.FS, dir string) (err error) {
	name := fs.PathJoin(dir, "PROBE")
	f, err := fs.Create(name, "unspecified")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), fs.Remove(name))
}
