package segmentlog

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

const (
	hotSuffix = ".cbor"
	tmpSuffix = ".tmp"
	// seekSpacing is how far apart, in bytes, the entries of a seek table are.
	seekSpacing = 64 << 10
)

func hotName(epoch, firstSeq uint64) string {
	return fmt.Sprintf("%08d-%016d%s", epoch, firstSeq, hotSuffix)
}

// parseHotName reads a name that hotName made.
func parseHotName(name string) (epoch, firstSeq uint64, ok bool) {
	stem, found := strings.CutSuffix(name, hotSuffix)
	if !found {
		return 0, 0, false
	}
	if n, err := fmt.Sscanf(stem, "%d-%d", &epoch, &firstSeq); n != 2 || err != nil {
		return 0, 0, false
	}
	return epoch, firstSeq, hotName(epoch, firstSeq) == name
}

// hotFile is what readers know of a hot file. Everything but the end, the last
// seq, the seek table and closed is fixed when it enters Log.files.
type hotFile struct {
	path      string
	header    Header
	headerLen int64

	end     atomic.Int64  // durable end: no reader passes it
	lastSeq atomic.Uint64 // of the last durable record; 0 for none
	count   atomic.Uint64 // durable records
	closed  atomic.Bool   // no longer written: set after the last change of end

	mu    sync.Mutex
	seeks []seekPoint
}

// seekPoint says that a mark or a record begins at off and that the first record
// at or after it has this seq.
type seekPoint struct {
	seq uint64
	off int64
}

func (h *hotFile) firstSeq() uint64 { return h.header.FirstSeq }
func (h *hotFile) finalSeq() uint64 { return h.lastSeq.Load() }
func (h *hotFile) complete() bool   { return h.closed.Load() }

// note adds a seek point when the last one is far enough behind.
func (h *hotFile) note(seq uint64, off int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(seq, off)
}

func (h *hotFile) noteLocked(seq uint64, off int64) {
	if n := len(h.seeks); n == 0 || off-h.seeks[n-1].off >= seekSpacing {
		h.seeks = append(h.seeks, seekPoint{seq, off})
	}
}

// noteBatch adds the seek points of a batch whose mark stands at off.
func (h *hotFile) noteBatch(off int64, b *pendingBatch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(b.firstSeq(), off)
	if len(b.buf) < seekSpacing {
		return
	}
	for _, r := range b.refs {
		h.noteLocked(r.seq, off+int64(r.off))
	}
}

// seek returns an offset at or before the first record with a seq above after.
func (h *hotFile) seek(after uint64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := sort.Search(len(h.seeks), func(i int) bool { return h.seeks[i].seq > after })
	if i == 0 {
		return h.headerLen
	}
	return h.seeks[i-1].off
}

// hotWriter appends to a new hot file. It never opens an old one.
type hotWriter struct {
	*hotFile
	f    vfs.File
	mark marker
	size int64 // written so far
	// spoiled is set when a write failed: no record is written to the file again.
	spoiled bool
}

// createHot makes an empty hot file under path, with its header and its first
// mark, synced; the caller syncs the directory.
func createHot(fs vfs.FS, path string, h Header) (*hotWriter, error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	head := h.encode()
	w := &hotWriter{hotFile: &hotFile{path: path, header: h}, f: f, mark: newMarker(head)}
	w.headerLen = int64(len(head))
	b := make([]byte, len(head)+markSize)
	copy(b, head)
	w.mark.put(b[len(head):], w.headerLen)
	if err := w.write(b); err != nil {
		_ = f.Close() // the write's error says more
		return nil, fmt.Errorf("write: %w", err)
	}
	if err := f.Sync(); err != nil {
		_ = f.Close() // the same
		return nil, asSyncError(err)
	}
	w.end.Store(w.size)
	return w, nil
}

// write appends b whole. A vfs.File may scribble over what it is given to write,
// and b is still to be published: only a real file gets it as it is.
func (w *hotWriter) write(b []byte) error {
	if w.f.Fd() == vfs.InvalidFd {
		b = bytes.Clone(b)
	}
	n, err := writeAll(w.f, b)
	w.size += int64(n)
	w.spoiled = w.spoiled || err != nil
	return err
}

// appendBatch writes and syncs one group commit. The first 16 bytes of b are room
// for its mark.
func (w *hotWriter) appendBatch(b []byte) error {
	w.mark.put(b, w.end.Load())
	if err := w.write(b); err != nil {
		return fmt.Errorf("append to the hot file: %w", err)
	}
	if err := w.f.SyncData(); err != nil {
		return fmt.Errorf("%s: %w", w.path, asSyncError(err))
	}
	return nil
}

// advance makes what has been synced visible to readers: count more records, up to
// the seq last.
func (w *hotWriter) advance(last uint64, count int) {
	w.lastSeq.Store(last)
	w.count.Add(uint64(count))
	w.end.Store(w.size)
}

// close writes the closing mark at the durable end and syncs it. What a failed
// write left above the durable end has been cut away by cutBack.
func (w *hotWriter) close() error {
	var b [markSize]byte
	end := w.end.Load()
	w.mark.put(b[:], end)
	if !w.spoiled {
		if err := w.write(b[:]); err != nil {
			return fmt.Errorf("close %s: %w", w.path, err)
		}
	} else if _, err := w.f.WriteAt(b[:], end); err != nil {
		return fmt.Errorf("close %s: %w", w.path, err)
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("close %s: %w", w.path, asSyncError(err))
	}
	w.closed.Store(true)
	_ = w.f.Close() // everything is synced, nothing is left that could fail to be written
	return nil
}

// cutBack removes what a write that found no space left above the durable end.
// Where the file system cannot truncate, the next mark ends the content anyway.
func (w *hotWriter) cutBack() error {
	fd := w.f.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	if err := unix.Ftruncate(int(fd), w.end.Load()); err != nil {
		return fmt.Errorf("cut %s back: %w", w.path, err)
	}
	return nil
}
