package segmentlog

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	logFolder = "log"
	lockFile  = "LOCK"
	// maxClockBehind is how far the wall clock may be behind the last record.
	maxClockBehind = time.Minute
)

// Open opens the log in o.Dir, or creates it, and recovers what a crash left.
//
// It returns a *CorruptError when bytes that were durable have changed,
// ErrClockBehind when the clock is wrong, and ErrVersion when a later version
// wrote the log.
func Open(o Options) (*Log, error) {
	o.EnsureDefaults()
	l := &Log{
		opts: o, dir: o.FS.PathJoin(o.Dir, logFolder),
		pending: &pendingBatch{}, spare: &pendingBatch{},
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), failed: make(chan struct{}),
	}
	l.room.L = &l.mu
	l.pending.reset()
	if err := o.FS.MkdirAll(l.dir, 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	lock, err := o.FS.Lock(o.FS.PathJoin(o.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("open log: %s is in use by another process: %w", o.Dir, err)
	}
	l.lock = lock
	if err := l.load(); err != nil {
		_ = lock.Close() // the load's error says more
		return nil, fmt.Errorf("open log: %w", err)
	}
	go l.run()
	return l, nil
}

func newSalt() []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return salt
}

// load reads everything that is there and decides where writing goes on.
func (l *Log) load() error {
	o := &l.opts
	initial := max(o.InitialSeq, 1)
	res, err := readReservation(o.FS, o.Dir)
	if err != nil {
		return err
	}
	rec := recovery{opts: o, dir: l.dir}
	names, err := rec.list()
	if err != nil {
		return err
	}
	if l.stream, err = openStream(o.FS, o.Dir, initial, len(names) == 0); err != nil {
		return err
	}
	for _, dir := range []string{o.Dir, o.FS.PathDir(o.Dir)} { // new names must survive
		if err := syncDir(o.FS, dir); err != nil {
			return err
		}
	}
	rec.stream = l.stream
	if err := rec.run(names, res.Next > 0); err != nil {
		return err
	}
	l.files.Store(&rec.files)
	l.leaves, l.witnessed, l.writer = rec.leaves, rec.witnessed, rec.writer
	if behind := time.UnixMicro(rec.witnessed).Sub(o.Now()); behind > maxClockBehind {
		return fmt.Errorf("%w: by %s; the last record was witnessed at %s",
			ErrClockBehind, behind.Round(time.Second), time.UnixMicro(rec.witnessed).UTC().Format(time.RFC3339))
	}
	l.number(res, rec.lastSeq, rec.clean, initial)
	if n := len(rec.files); n > 0 {
		l.oldest.Store(rec.files[0].header.FirstSeq)
		l.tip.Store(rec.lastSeq)
	}
	return nil
}

// number decides the next seq. After a clean shutdown it is the one that the
// reservation names; otherwise numbers up to the reservation may have been seen.
func (l *Log) number(res reservation, lastSeq uint64, clean bool, initial uint64) {
	switch {
	case res.Next > lastSeq && clean:
		l.next, l.cleanNote = res.Next, true
	case res.Through == 0 && lastSeq > 0: // reserved.json is gone: it named at most this
		l.next = lastSeq + reserveBlock + 1
	case res.Through == 0:
		l.next = 1
	default:
		l.next = max(res.Through, lastSeq) + 1
	}
	l.reserved.Store(res.Through)
	l.next = max(l.next, initial)
}

// recovery turns the folder into a list of files that readers may use.
type recovery struct {
	opts   *Options
	dir    string
	stream *Stream

	files     []*hotFile
	writer    *hotWriter // holds the copied tail of a crash
	lastSeq   uint64
	leaves    uint64
	witnessed int64
	clean     bool // the last shutdown was clean, and the newest file ends as it should
}

type namedFile struct {
	name            string
	epoch, firstSeq uint64
}

// run reads the files. noted says that the last shutdown left a note that it was
// clean.
func (r *recovery) run(names []namedFile, noted bool) error {
	r.clean = noted
	for i, n := range names {
		limit := uint64(0)
		if i < len(names)-1 {
			limit = names[i+1].firstSeq
		}
		s, err := scanHot(r.opts.FS, r.opts.FS.PathJoin(r.dir, n.name), limit, noted)
		switch {
		case err != nil:
		case limit > 0:
			err = r.addClosed(n, s)
		default:
			err = r.addNewest(n, s, noted)
		}
		if err != nil {
			return adviseOnDamage(err)
		}
	}
	return nil
}

// list returns the hot files by first seq and removes temporary ones.
func (r *recovery) list() ([]namedFile, error) {
	entries, err := r.opts.FS.List(r.dir)
	if err != nil {
		return nil, err
	}
	var names []namedFile
	for _, name := range entries {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := r.opts.FS.Remove(r.opts.FS.PathJoin(r.dir, name)); err != nil {
				return nil, fmt.Errorf("remove unfinished file: %w", err)
			}
			continue
		}
		epoch, firstSeq, ok := parseHotName(name)
		if !ok {
			r.opts.Logger.Warn("a file that is not of the log stands in its folder", "file", name)
			continue
		}
		names = append(names, namedFile{name, epoch, firstSeq})
	}
	slices.SortFunc(names, func(a, b namedFile) int { return cmp.Compare(a.firstSeq, b.firstSeq) })
	return names, nil
}

// check compares what a file says of itself with its name and its neighbours.
func (r *recovery) check(n namedFile, h *Header) error {
	path := r.opts.FS.PathJoin(r.dir, n.name)
	switch {
	case h.Stream != r.stream.ID:
		return fmt.Errorf("%s is of stream %s, the data directory of %s: move it away", path, h.Stream, r.stream.ID)
	case h.FirstSeq != n.firstSeq || h.Epoch != n.epoch:
		return fmt.Errorf("%s says that it is %s: it was renamed", path, hotName(h.Epoch, h.FirstSeq))
	case h.FirstLeaf != r.leaves:
		return fmt.Errorf("%s begins at leaf %d, but %d records stand before it: a file is missing", path, h.FirstLeaf, r.leaves)
	case h.FirstSeq <= r.lastSeq:
		return fmt.Errorf("%s begins at seq %d, but the file before it ends at %d", path, h.FirstSeq, r.lastSeq)
	}
	return nil
}

// addClosed takes in a file that has a successor: its content ends at its highest
// mark or where the next file begins, whichever comes first.
func (r *recovery) addClosed(n namedFile, s *scanned) error {
	if s.newborn {
		return &CorruptError{File: s.file.path, Offset: 0, Err: errors.New("it holds no record, but a later file exists")}
	}
	if err := r.check(n, &s.file.header); err != nil {
		return err
	}
	if s.tailCount > 0 {
		return &CorruptError{File: s.file.path, Offset: s.tailEnd,
			Err: fmt.Errorf("the mark that ends the file is missing: record %d is in no later file", s.tailLast)}
	}
	r.add(s)
	return nil
}

func (r *recovery) add(s *scanned) {
	s.file.closed.Store(true)
	r.files = append(r.files, s.file)
	r.leaves += s.file.count.Load()
	r.lastSeq = s.file.lastSeq.Load()
	r.witnessed = max(r.witnessed, s.witnessed)
}

// addNewest takes in the file that was being written when the last run ended.
func (r *recovery) addNewest(n namedFile, s *scanned, noted bool) error {
	if s.newborn {
		r.clean = false
		r.reportCut(s)
		return r.removeNewborn(s)
	}
	if err := r.check(n, &s.file.header); err != nil {
		return err
	}
	if s.torn {
		r.reportCut(s)
	}
	r.clean = noted && s.tailCount == 0 && s.size == s.file.end.Load()+markSize
	if s.file.count.Load() > 0 {
		r.add(s)
	}
	if s.tailCount == 0 {
		return nil
	}
	return r.copyTail(s)
}

func (r *recovery) reportCut(s *scanned) {
	if cut := s.size - s.tailEnd; cut > 0 {
		r.opts.Logger.Warn("cut a torn write: its events were not seen by anyone and will be read again",
			"file", s.file.path, "offset", s.tailEnd, "bytes", cut)
		r.opts.Events.TornTail(CutInfo{File: s.file.path, Offset: s.tailEnd, Bytes: cut})
	}
}

func (r *recovery) removeNewborn(s *scanned) error {
	if err := r.opts.FS.Remove(s.file.path); err != nil {
		return fmt.Errorf("remove empty hot file: %w", err)
	}
	return syncDir(r.opts.FS, r.dir)
}

// copyTail copies the records above the durable end into a new, synced file: a
// read may have come from a page cache that the disk never got. The new file
// takes the old one's name when the old one holds nothing else.
func (r *recovery) copyTail(s *scanned) error {
	first, err := firstSeqAt(r.opts.FS, s)
	if err != nil {
		return err
	}
	h := s.file.header
	h.FirstSeq, h.FirstLeaf, h.Salt = first, r.leaves, newSalt()
	fs := r.opts.FS
	path := fs.PathJoin(r.dir, hotName(h.Epoch, first))
	w, err := createHot(fs, path+tmpSuffix, h)
	if err != nil {
		return fmt.Errorf("copy the tail of %s: %w", s.file.path, err)
	}
	if err := copyRecords(fs, s, w); err != nil {
		_ = w.f.Close() // the copy's error says more
		return fmt.Errorf("copy the tail of %s: %w", s.file.path, err)
	}
	if err := fs.Rename(path+tmpSuffix, path); err != nil {
		return fmt.Errorf("copy the tail of %s: %w", s.file.path, err)
	}
	if err := syncDir(fs, r.dir); err != nil {
		return fmt.Errorf("copy the tail of %s: %w", s.file.path, err)
	}
	w.path = path
	r.writer = w
	r.files = append(r.files, w.hotFile)
	r.leaves += s.tailCount
	r.lastSeq = s.tailLast
	r.witnessed = max(r.witnessed, s.witnessed)
	r.opts.Logger.Info("recovered records above the last mark", "file", path, "records", s.tailCount, "last_seq", s.tailLast)
	return nil
}

// firstSeqAt returns the seq of the first record of the tail.
func firstSeqAt(fs vfs.FS, s *scanned) (seq uint64, err error) {
	err = tailRecords(fs, s, func(_ []byte, rec *Record) error {
		seq = rec.Seq
		return io.EOF
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return seq, err
}

// copyRecords writes the tail of s into w as one batch and syncs it.
func copyRecords(fs vfs.FS, s *scanned, w *hotWriter) error {
	buf := make([]byte, markSize, readChunk+markSize)
	w.mark.put(buf, w.end.Load())
	var first, last uint64
	var count int
	err := tailRecords(fs, s, func(raw []byte, rec *Record) error {
		if first == 0 {
			first = rec.Seq
		}
		if last = rec.Seq; len(buf) >= readChunk {
			if err := w.write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		w.note(rec.Seq, w.size+int64(len(buf)))
		buf = append(buf, raw...)
		count++
		return nil
	})
	if err == nil {
		err = w.write(buf)
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		return err
	}
	w.advance(first, last, count)
	return nil
}

// tailRecords calls f with every record of the tail of s.
func tailRecords(fs vfs.FS, s *scanned, f func(raw []byte, rec *Record) error) error {
	file, err := fs.Open(s.file.path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // opened for reading
	mark := newMarker(s.file.header.append(nil))
	it := itemReader{f: file, off: s.file.end.Load(), end: s.tailEnd, mark: &mark}
	var rec Record
	for {
		at := it.off
		kind, err := it.next(&rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s at offset %d: %w", s.file.path, at, err)
		}
		if kind != itemRecord {
			continue
		}
		if err := f(it.raw(at), &rec); err != nil {
			return err
		}
	}
}

// adviseOnDamage adds to a CorruptError what a person can do about it.
func adviseOnDamage(err error) error {
	var c *CorruptError
	if !errors.As(err, &c) {
		return err
	}
	return fmt.Errorf("%w; these bytes were durable, so nothing is cut and Cistern does not start: check the disk, "+
		"then restore this file from a backup or a snapshot, or move the data directory away and start with an empty one", err)
}
