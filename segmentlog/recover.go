package segmentlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// recovery turns the folder of hot files into a list of files that readers may
// use. read looks at every file and decides; repair is what changes the folder.
type recovery struct {
	opts   *Options
	dir    string
	stream *Stream
	note   reservation

	// What read found. The files are by first seq, newest last.
	scans     []*scanned
	newborn   *scanned // the newest file, when it holds no record: repair removes it
	leaves    uint64
	lastSeq   uint64
	witnessed int64
	clean     bool // the last shutdown was clean, and the log is as it left it

	// What repair made of it.
	files  []*hotFile
	writer *hotWriter // holds the copied tail of a crash
}

type namedFile struct {
	name            string
	epoch, firstSeq uint64
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

// read scans every file and checks that together they are one log.
func (r *recovery) read(names []namedFile) error {
	if err := r.scan(names); err != nil {
		return err
	}
	for i, s := range r.scans {
		if err := r.check(names[i], s); err != nil {
			return err
		}
		if newest := i == len(r.scans)-1; !newest && s.tailCount > 0 {
			return &CorruptError{File: s.file.path, Offset: s.tailEnd,
				Err: fmt.Errorf("the mark that ends the file is missing: record %d is in no later file", s.tailLast)}
		}
		r.leaves += s.count()
		r.lastSeq = s.last()
		r.witnessed = max(r.witnessed, s.witnessed)
	}
	if n := r.newborn; n != nil && n.header && n.file.header.FirstLeaf > r.leaves {
		return r.short(n.file.header.FirstLeaf, n.file.path)
	}
	return r.checkNote()
}

// scan reads the files, the newest first: when it is newborn, the one before it
// may have been cut off as well.
func (r *recovery) scan(names []namedFile) error {
	limit := uint64(0)
	for _, n := range slices.Backward(names) {
		s, err := scanHot(r.opts.FS, r.opts.FS.PathJoin(r.dir, n.name), limit, r.note.clean())
		if err != nil {
			return err
		}
		if s.count() == 0 {
			if r.newborn != nil || limit > 0 {
				return &CorruptError{File: s.file.path, Offset: s.tailEnd, Err: errors.New("it holds no record, but a later file exists")}
			}
			r.newborn = s
			continue
		}
		r.scans = append(r.scans, s)
		limit = n.firstSeq
	}
	slices.Reverse(r.scans)
	return nil
}

// check compares what a file says of itself with its name and with what stands
// before it.
func (r *recovery) check(n namedFile, s *scanned) error {
	path, h := s.file.path, &s.file.header
	switch {
	case h.Stream != r.stream.ID:
		return fmt.Errorf("%s is of stream %s, the data directory of %s: move it away", path, h.Stream, r.stream.ID)
	case h.FirstSeq != n.firstSeq || h.Epoch != n.epoch:
		return fmt.Errorf("%s says that it is %s: it was renamed", path, hotName(h.Epoch, h.FirstSeq))
	case !r.stream.lists(h.Epoch):
		return fmt.Errorf("%s is of epoch %d, which %s does not list", path, h.Epoch, streamFile)
	case h.FirstLeaf > r.leaves:
		return r.short(h.FirstLeaf, path)
	case h.FirstLeaf < r.leaves:
		return fmt.Errorf("%s begins at leaf %d, but %d records stand before it", path, h.FirstLeaf, r.leaves)
	case h.FirstSeq <= r.lastSeq:
		return fmt.Errorf("%s begins at seq %d, but the file before it ends at %d", path, h.FirstSeq, r.lastSeq)
	}
	return nil
}

// short is the error for a log that has fewer records than the file at next, or
// the note of the last shutdown, says.
func (r *recovery) short(want uint64, next string) error {
	err := fmt.Errorf("%s says that %d records stand before it, there are %d: a file was cut short or is missing", next, want, r.leaves)
	i := slices.IndexFunc(r.scans, func(s *scanned) bool { return s.file.path == next })
	if i < 0 {
		i = len(r.scans)
	}
	if i == 0 {
		return err
	}
	before := r.scans[i-1]
	return &CorruptError{File: before.file.path, Offset: before.tailEnd, Err: err}
}

// checkNote compares the log with the note of a clean shutdown: nothing can be
// torn then, so what is missing was lost.
func (r *recovery) checkNote() error {
	if !r.note.clean() {
		return nil
	}
	if r.lastSeq >= r.note.Last {
		newest := r.newest()
		r.clean = r.lastSeq == r.note.Last && r.newborn == nil && (newest == nil || newest.tailCount == 0 && !newest.torn)
		return nil
	}
	err := fmt.Errorf("%s says that the log ends at seq %d, it ends at %d: something was cut off or is missing", reservedFile, r.note.Last, r.lastSeq)
	s := r.newborn
	if s == nil {
		s = r.newest()
	}
	if s == nil {
		return err
	}
	return &CorruptError{File: s.file.path, Offset: s.tailEnd, Err: err}
}

// newest is the last file that holds a record, nil for none.
func (r *recovery) newest() *scanned {
	if len(r.scans) == 0 {
		return nil
	}
	return r.scans[len(r.scans)-1]
}

// repair makes the folder what read decided that the log is.
func (r *recovery) repair() error {
	if r.newborn != nil {
		r.reportCut(r.newborn)
		if err := r.opts.FS.Remove(r.newborn.file.path); err != nil {
			return fmt.Errorf("remove empty hot file: %w", err)
		}
		if err := SyncDir(r.opts.FS, r.dir); err != nil {
			return fmt.Errorf("remove empty hot file: %w", err)
		}
	}
	for _, s := range r.scans {
		if s.file.count.Load() > 0 {
			s.file.closed.Store(true)
			r.files = append(r.files, s.file)
		}
	}
	s := r.newest()
	if s == nil {
		return nil
	}
	if s.torn {
		r.reportCut(s)
	}
	if s.tailCount == 0 {
		return nil
	}
	return r.copyTail(s)
}

func (r *recovery) reportCut(s *scanned) {
	if cut := s.size - s.tailEnd; cut > 0 {
		r.opts.Logger.Warn("cut what a crash left of a write; its events will be read again from the hosts",
			"file", s.file.path, "offset", s.tailEnd, "bytes", cut)
		r.opts.Events.TornTail(CutInfo{File: s.file.path, Offset: s.tailEnd, Bytes: cut})
	}
}

// adviseOnDamage adds to a CorruptError what a person can do about it.
func adviseOnDamage(err error) error {
	var c *CorruptError
	var a *ArchivedError
	if !errors.As(err, &c) || errors.As(err, &a) {
		return err
	}
	return fmt.Errorf("%w; these bytes were durable, so nothing is cut and Cistern does not start: check the disk, "+
		"then restore this file from a backup or a snapshot, or move the data directory away and start with an empty one", err)
}
