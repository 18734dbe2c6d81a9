package segmentlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/transparency-dev/merkle/compact"
)

// sealedRecovery reads the folder of segments at the start: a segment that has its
// name is whole, since it was synced before it was named.
type sealedRecovery struct {
	opts   *Options
	dir    string
	stream *Stream

	files     []*sealedFile
	tree      *compact.Range // of all their leaves
	lastSeq   uint64
	witnessed int64
}

// list returns the names of the newest generations in order, and removes
// temporary files.
func (r *sealedRecovery) list() ([]SegmentName, error) {
	entries, err := r.opts.FS.List(r.dir)
	if err != nil {
		return nil, err
	}
	var names []SegmentName
	for _, e := range entries {
		if strings.HasSuffix(e, tmpSuffix) {
			if err := r.opts.FS.Remove(r.opts.FS.PathJoin(r.dir, e)); err != nil {
				return nil, fmt.Errorf("remove unfinished segment: %w", err)
			}
			continue
		}
		n, ok := ParseSegmentName(e)
		if !ok {
			r.opts.Logger.Warn("a file that is not of the log stands in its folder", "file", e)
			continue
		}
		names = append(names, n)
	}
	return newestGenerations(names)
}

// newestGenerations sorts names by first seq and leaves out those that a higher
// generation covers.
func newestGenerations(names []SegmentName) ([]SegmentName, error) {
	slices.SortFunc(names, func(a, b SegmentName) int {
		return cmp.Or(cmp.Compare(a.FirstSeq, b.FirstSeq), cmp.Compare(b.Generation, a.Generation))
	})
	var out []SegmentName
	for _, n := range names {
		if k := len(out); k > 0 && n.FirstSeq <= out[k-1].LastSeq {
			if n.Generation >= out[k-1].Generation || n.LastSeq > out[k-1].LastSeq {
				return nil, fmt.Errorf("segments %s and %s overlap", out[k-1], n)
			}
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// read opens every segment's footer and checks that each follows from the one
// before.
func (r *sealedRecovery) read(names []SegmentName) error {
	r.tree = ranges.NewEmptyRange(0)
	for i, n := range names {
		s := &sealedFile{name: n, path: r.opts.FS.PathJoin(r.dir, n.String())}
		f, seg, err := openSealed(r.opts.FS, s.path)
		if err != nil {
			return err
		}
		err = r.follow(i, n, seg)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		s.size = seg.Size()
		r.files = append(r.files, s)
		r.lastSeq, r.witnessed = n.LastSeq, seg.Footer().LastWitnessed
	}
	return nil
}

// follow checks a segment against its name and the tree so far, and extends that.
func (r *sealedRecovery) follow(i int, n SegmentName, seg *Segment) error {
	f := seg.Footer()
	switch {
	case f.Name != n:
		return fmt.Errorf("%s says that it is %s: it was renamed", seg.Name(), f.Name)
	case f.Stream != r.stream.ID:
		return fmt.Errorf("%s is of stream %s, the data directory of %s: move it away", seg.Name(), f.Stream, r.stream.ID)
	case !r.stream.lists(n.Epoch):
		return fmt.Errorf("%s is of epoch %d, which %s does not list", seg.Name(), n.Epoch, streamFile)
	case i == 0 && f.FirstLeaf > 0: // older segments are elsewhere
		tree, err := rangeOf(0, f.FirstLeaf, f.Frontier)
		if err != nil {
			return fmt.Errorf("%s: frontier: %w", seg.Name(), err)
		}
		r.tree = tree
	case f.FirstLeaf != r.tree.End():
		return fmt.Errorf("%s begins at leaf %d, but %d stand before it: a segment is missing", seg.Name(), f.FirstLeaf, r.tree.End())
	}
	if !slices.EqualFunc(f.Frontier, r.tree.Hashes(), slices.Equal) {
		return &CorruptError{File: seg.Name(), Offset: f.wireEnd(), Err: errors.New("its tree does not follow from the segments before it")}
	}
	own, err := rangeOf(f.FirstLeaf, f.FirstLeaf+f.Count, f.Leaves)
	if err != nil {
		return fmt.Errorf("%s: leaves: %w", seg.Name(), err)
	}
	if err := r.tree.AppendRange(own, nil); err != nil {
		return fmt.Errorf("%s: tree: %w", seg.Name(), err)
	}
	return nil
}

// split divides hot files into those that are still to be sealed and those whose
// segment is there already: a crash came before they were removed.
func (r *sealedRecovery) split(hot []namedFile) (open, sealed []namedFile, err error) {
	for _, n := range hot {
		if n.firstSeq > r.lastSeq {
			open = append(open, n)
			continue
		}
		i, found := slices.BinarySearchFunc(r.files, n.firstSeq, func(s *sealedFile, seq uint64) int { return cmp.Compare(s.name.FirstSeq, seq) })
		if !found || r.files[i].name.Epoch != n.epoch {
			return nil, nil, fmt.Errorf("hot file %s stands within sealed segments: the folders are not of one log", n.name)
		}
		sealed = append(sealed, n)
	}
	return open, sealed, nil
}

// adopt removes hot files whose segment is there, after reading the segment whole
// and making its name durable: the process may have been killed before it was.
func (r *sealedRecovery) adopt(hotDir string, sealed []namedFile) error {
	if len(sealed) > 0 {
		if err := syncDir(r.opts.FS, r.dir); err != nil {
			return fmt.Errorf("folder of segments: %w", err)
		}
	}
	for _, n := range sealed {
		i, _ := slices.BinarySearchFunc(r.files, n.firstSeq, func(s *sealedFile, seq uint64) int { return cmp.Compare(s.name.FirstSeq, seq) })
		if err := r.verify(r.files[i]); err != nil {
			return fmt.Errorf("%w (its hot file %s is still there: remove the segment to have it sealed again)", err, n.name)
		}
		if err := r.opts.FS.Remove(r.opts.FS.PathJoin(hotDir, n.name)); err != nil {
			return fmt.Errorf("remove sealed hot file: %w", err)
		}
	}
	return nil
}

func (r *sealedRecovery) verify(s *sealedFile) error {
	f, seg, err := openSealed(r.opts.FS, s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := seg.CheckHeader(); err != nil {
		return err
	}
	for _, err := range seg.Records(0) {
		if err != nil {
			return err
		}
	}
	return nil
}
