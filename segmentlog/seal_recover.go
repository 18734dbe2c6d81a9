package segmentlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/transparency-dev/merkle/compact"
)

// sealedRecovery reads the folder of segments at the start, and what the archive has
// beside it. A local segment that has its name is whole, since it was synced before it
// was named.
type sealedRecovery struct {
	opts   *Options
	dir    string
	stream *Stream

	files     []part         // *sealedFile or *archivedFile
	tree      *compact.Range // of all their leaves
	known     bool           // tree is; it is not after a segment that only the archive has
	root      []byte         // what the archive says that the tree's root is, where it is not known
	leaves    uint64
	lastSeq   uint64
	witnessed int64
}

// list returns the names of the segments and removes temporary files.
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
	return names, nil
}

// dropTrimmed removes the segments that a trim left, and returns the others.
func (r *sealedRecovery) dropTrimmed(names []SegmentName) ([]SegmentName, error) {
	var kept []SegmentName
	for _, n := range names {
		if n.LastSeq > r.stream.TrimmedThrough {
			kept = append(kept, n)
			continue
		}
		if err := r.opts.FS.Remove(r.opts.FS.PathJoin(r.dir, n.String())); err != nil {
			return nil, fmt.Errorf("remove what was trimmed: %w", err)
		}
	}
	return kept, nil
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

// read opens the footer of every local segment and checks that each segment follows
// from the one before.
func (r *sealedRecovery) read(local []SegmentName) error {
	r.tree, r.known = ranges.NewEmptyRange(0), true
	here := make(map[SegmentName]bool, len(local))
	for _, n := range local {
		here[n] = true
	}
	archived := make(map[SegmentName]*Archived, len(r.opts.Archived))
	names := slices.Clone(local)
	for i := range r.opts.Archived {
		a := &r.opts.Archived[i]
		archived[a.Name] = a
		if !here[a.Name] {
			names = append(names, a.Name)
		}
	}
	names, err := newestGenerations(names)
	if err != nil {
		return err
	}
	for _, n := range names {
		if here[n] {
			err = r.readLocal(n, archived[n])
		} else {
			err = r.readArchived(archived[n])
		}
		if err != nil {
			return err
		}
		r.lastSeq = n.LastSeq
	}
	return r.lookUpTree()
}

func (r *sealedRecovery) readLocal(n SegmentName, archived *Archived) error {
	s := &sealedFile{name: n, path: r.opts.FS.PathJoin(r.dir, n.String())}
	s.archived.Store(archived)
	f, seg, err := openSealed(r.opts.FS, s.path)
	if err != nil {
		return err
	}
	err = r.follow(n, seg)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	s.size, s.born = seg.Size(), seg.Footer().FirstWitnessed
	r.files = append(r.files, s)
	r.leaves, r.witnessed = r.tree.End(), seg.Footer().LastWitnessed
	return nil
}

// readArchived takes the catalog's word for a segment: its footer is read when it is
// opened, and when the tree is needed.
func (r *sealedRecovery) readArchived(a *Archived) error {
	if !r.stream.Keeps(a.Name) {
		return fmt.Errorf("segment %s of the archive is not of the log that %s describes", a.Name, streamFile)
	}
	if len(r.files) > 0 && a.FirstLeaf != r.leaves {
		return fmt.Errorf("segment %s of the archive begins at leaf %d, but %d stand before it: a segment is missing", a.Name, a.FirstLeaf, r.leaves)
	}
	r.files = append(r.files, &archivedFile{Archived: *a, get: r.opts.OpenArchived})
	r.leaves, r.witnessed = a.FirstLeaf+a.Count, a.LastWitnessed
	r.tree, r.known, r.root = nil, false, a.Root
	return nil
}

// lookUpTree reads the footer of the last segment where only the archive has it.
func (r *sealedRecovery) lookUpTree() error {
	if r.known {
		return nil
	}
	last, _ := r.files[len(r.files)-1].(*archivedFile) // known is false after no other
	f, seg, err := last.segment()
	if err != nil {
		return err
	}
	defer f.Close()
	ft := seg.Footer()
	if !slices.Equal(ft.Root, last.Root) {
		return &CorruptError{File: seg.Name(), Offset: ft.wireEnd(), Err: errors.New("its tree is not what the catalog says")}
	}
	if r.tree, err = rangeOf(0, ft.FirstLeaf, ft.Frontier); err != nil {
		return fmt.Errorf("%s: frontier: %w", seg.Name(), err)
	}
	r.known = true
	return r.extend(seg)
}

// extend adds the leaves of the next segment to the tree.
func (r *sealedRecovery) extend(seg *Segment) error {
	if err := extend(r.tree, seg.Footer()); err != nil {
		return fmt.Errorf("%s: %w", seg.Name(), err)
	}
	return nil
}

// follow checks a segment against its name and the tree so far, and extends that.
func (r *sealedRecovery) follow(n SegmentName, seg *Segment) error {
	f := seg.Footer()
	switch {
	case f.Name != n:
		return fmt.Errorf("%s says that it is %s: it was renamed", seg.Name(), f.Name)
	case f.Stream != r.stream.ID:
		return fmt.Errorf("%s is of stream %s, the data directory of %s: move it away", seg.Name(), f.Stream, r.stream.ID)
	case !r.stream.lists(n.Epoch):
		return fmt.Errorf("%s is of epoch %d, which %s does not list", seg.Name(), n.Epoch, streamFile)
	case len(r.files) > 0 && f.FirstLeaf != r.leaves:
		return fmt.Errorf("%s begins at leaf %d, but %d stand before it: a segment is missing", seg.Name(), f.FirstLeaf, r.leaves)
	}
	if len(r.files) == 0 && f.FirstLeaf > 0 || !r.known { // older segments are elsewhere
		if err := r.adoptTree(seg); err != nil {
			return err
		}
	}
	if !slices.EqualFunc(f.Frontier, r.tree.Hashes(), slices.Equal) {
		return unproven(seg)
	}
	return r.extend(seg)
}

// adoptTree takes the tree that a segment says stands before it, whose root must be
// what the archive says of the segment there.
func (r *sealedRecovery) adoptTree(seg *Segment) error {
	f := seg.Footer()
	tree, err := rangeOf(0, f.FirstLeaf, f.Frontier)
	if err != nil {
		return fmt.Errorf("%s: frontier: %w", seg.Name(), err)
	}
	root, err := rootOf(tree)
	if err != nil {
		return fmt.Errorf("%s: frontier: %w", seg.Name(), err)
	}
	if !r.known && !slices.Equal(root, r.root) {
		return unproven(seg)
	}
	r.tree, r.known = tree, true
	return nil
}

func unproven(seg *Segment) error {
	return &CorruptError{File: seg.Name(), Offset: seg.Footer().wireEnd(), Err: errors.New("its tree does not follow from the segments before it")}
}

// split divides hot files into those that are still to be sealed and those whose
// segment is there already: a crash came before they were removed.
func (r *sealedRecovery) split(hot []namedFile) (open, sealed []namedFile, err error) {
	for _, n := range hot {
		if n.firstSeq > r.lastSeq {
			open = append(open, n)
			continue
		}
		if s := r.sealedAt(n.firstSeq); s == nil || s.name.Epoch != n.epoch {
			return nil, nil, fmt.Errorf("hot file %s stands within sealed segments: the folders are not of one log", n.name)
		}
		sealed = append(sealed, n)
	}
	return open, sealed, nil
}

// sealedAt returns the local segment that begins at a seq, nil for none.
func (r *sealedRecovery) sealedAt(seq uint64) *sealedFile {
	i, found := slices.BinarySearchFunc(r.files, seq, func(p part, seq uint64) int { return cmp.Compare(p.firstSeq(), seq) })
	if !found {
		return nil
	}
	s, _ := r.files[i].(*sealedFile)
	return s
}

// adopt removes hot files whose segment is there, after reading the segment whole
// and making its name durable: the process may have been killed before it was.
func (r *sealedRecovery) adopt(hotDir string, sealed []namedFile) error {
	if len(sealed) > 0 {
		if err := SyncDir(r.opts.FS, r.dir); err != nil {
			return fmt.Errorf("folder of segments: %w", err)
		}
	}
	for _, n := range sealed {
		if err := r.verify(r.sealedAt(n.firstSeq)); err != nil {
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
