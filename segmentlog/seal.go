package segmentlog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/transparency-dev/merkle/compact"
)

const (
	segmentFolder = "segments"
	// sealRetry is how long to wait after a seal failed, doubled up to sealRetryMax.
	sealRetry    = time.Second
	sealRetryMax = 5 * time.Minute
	// Sealing rests sealRest times as long as it worked, after each sealSlice of work, unless
	// more files wait: for the seconds that it would take all processors, those who read at
	// the tip would wait.
	sealSlice = 5 * time.Millisecond
	sealRest  = 4
	// maxSealRest is the longest that it rests at once.
	maxSealRest = 100 * time.Millisecond
	// sealSyncBytes are given to the disk at once.
	sealSyncBytes = 1 << 20
)

// SealInfo describes a sealed segment.
type SealInfo struct {
	Name     SegmentName
	Path     string
	Records  uint64
	Raw      int64 // bytes of the hot file
	Size     int64 // bytes of the segment
	Duration time.Duration
}

// sealer turns closed hot files into segments, oldest first, in the background.
type sealer struct {
	fs   vfs.FS
	dir  string // of the segments
	o    SegmentOptions
	tree *compact.Range // the leaves of everything sealed
	// hurry says that more than one file waits.
	hurry func() bool
}

// seal writes the segment of a closed hot file: temporary name, sync, rename, sync
// of the directory. The hot file stays.
func (s *sealer) seal(ctx context.Context, h *hotFile) (*sealedFile, *Footer, error) {
	if h.header.FirstLeaf != s.tree.End() {
		return nil, nil, fmt.Errorf("%s begins at leaf %d, the tree has %d leaves", h.path, h.header.FirstLeaf, s.tree.End())
	}
	tmp := s.fs.PathJoin(s.dir, s.fs.PathBase(h.path)+tmpSuffix)
	f, err := s.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, nil, err
	}
	// Written back as it grows: the sync of a whole segment at once holds the group commits up
	// for seconds.
	gently := vfs.NewSyncingFile(f, vfs.SyncingFileOptions{NoSyncOnClose: true, BytesPerSync: sealSyncBytes})
	hash := sha256.New()
	footer, err := s.write(ctx, io.MultiWriter(gently, hash), h)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.fs.Remove(tmp))
	}
	out := &sealedFile{name: footer.Name, path: s.fs.PathJoin(s.dir, footer.Name.String())}
	if err := s.fs.Rename(tmp, out.path); err != nil {
		return nil, nil, err
	}
	if err := SyncDir(s.fs, s.dir); err != nil {
		return nil, nil, err
	}
	st, err := s.fs.Stat(out.path)
	if err != nil {
		return nil, nil, err
	}
	out.size, out.born = st.Size(), footer.FirstWitnessed
	out.sum.Store((*[HashSize]byte)(hash.Sum(nil)))
	return out, footer, extend(s.tree, footer)
}

// write copies the records of h into a segment.
func (s *sealer) write(ctx context.Context, f io.Writer, h *hotFile) (*Footer, error) {
	hot, err := s.fs.Open(h.path)
	if err != nil {
		return nil, err
	}
	defer hot.Close()
	w, err := newSegmentWriter(f, h.header.Stream, h.header.Epoch, 0, s.tree, s.o)
	if err != nil {
		return nil, err
	}
	defer w.close()
	records := h.records(hot, h.headerLen, h.end.Load())
	var rec Record
	began := time.Now()
	for i := 0; ; i++ {
		if i%64 == 0 {
			began = s.rest(ctx, began)
		}
		err := records.next(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.add(records.raw(), &rec)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
	}
	if w.footer.Count != h.count.Load() || w.footer.Name.LastSeq != h.lastSeq.Load() {
		return nil, records.corrupt(fmt.Errorf("it holds %d records up to seq %d, expected %d up to %d",
			w.footer.Count, w.footer.Name.LastSeq, h.count.Load(), h.lastSeq.Load()))
	}
	return w.finish(s.tree)
}

// rest lets others work when it is time for that. It returns since when there was no rest.
func (s *sealer) rest(ctx context.Context, began time.Time) time.Time {
	worked := time.Since(began)
	switch {
	case worked < sealSlice:
		return began
	case s.hurry():
		return time.Now()
	}
	timer := time.NewTimer(min(sealRest*worked, maxSealRest)) // a slow disk is no work
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return time.Now()
}
