package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Suffix is what the name of every sealed segment ends with.
const Suffix = ".cbor.zst"

// Source is a set of sealed segments.
type Source struct {
	// Files are the segments that make up the log, in order: where ranges overlap, the
	// highest generation.
	Files []*File
	// Superseded are those that a higher generation replaces.
	Superseded []*File
}

// Find makes a source of paths, directories (searched to the bottom for names that
// end in .cbor.zst), http(s) URLs of single segments, and archives: http(s)://relay[/archive/]
// and s3://bucket/prefix. A file whose name does not
// say what it is, is opened to learn it.
func Find(ctx context.Context, client *http.Client, places []string) (*Source, error) {
	if client == nil {
		client = http.DefaultClient
	}
	if len(places) == 0 {
		return nil, errors.New("name at least one segment, directory or URL")
	}
	var files []*File
	seen := map[string]bool{}
	for _, place := range places {
		whole, ok, err := wholeArchive(ctx, client, place)
		if err != nil {
			return nil, err
		}
		if ok {
			files = append(files, whole...)
			continue
		}
		found := []string{place}
		if !isURL(place) {
			var err error
			if found, err = walk(place); err != nil {
				return nil, err
			}
		}
		for _, p := range found {
			if seen[p] {
				continue
			}
			seen[p] = true
			f := &File{Place: p, client: client}
			if err := f.learn(ctx); err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return choose(files), nil
}

// walk returns the segments under a directory, or the file itself.
func walk(place string) (found []string, err error) {
	root := place
	if st, err := os.Stat(place); err == nil && st.IsDir() {
		root += string(filepath.Separator) // follows a link to a directory
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (p == place || strings.HasSuffix(p, Suffix)) {
			found = append(found, filepath.Clean(p))
		}
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s holds no sealed segment (*%s)", place, Suffix)
	}
	return found, err
}

// learn finds out the name of a segment.
func (f *File) learn(ctx context.Context) error {
	var ok bool
	if f.Name, ok = segmentlog.ParseSegmentName(base(f.Place)); ok {
		return nil
	}
	seg, err := open(ctx, f.client, f.Place)
	if err != nil {
		return err
	}
	f.Name = seg.Footer().Name
	return seg.Close()
}

// choose orders files by seq and sets aside those of which a part is in a file of a
// higher generation, or that are there twice.
func choose(files []*File) *Source {
	byRank := slices.Clone(files)
	slices.SortStableFunc(byRank, func(a, b *File) int {
		return cmp.Or(cmp.Compare(b.Name.Generation, a.Name.Generation), cmp.Compare(a.Name.FirstSeq, b.Name.FirstSeq))
	})
	s := &Source{}
	inOrder := func(a, b *File) int { return cmp.Compare(a.Name.FirstSeq, b.Name.FirstSeq) }
	for _, f := range byRank {
		// Those taken do not overlap each other, so their neighbours decide.
		i, _ := slices.BinarySearchFunc(s.Files, f, inOrder)
		for i < len(s.Files) && s.Files[i].Name.FirstSeq == f.Name.FirstSeq {
			i++
		}
		if (i > 0 && replaces(s.Files[i-1].Name, f.Name)) || (i < len(s.Files) && replaces(s.Files[i].Name, f.Name)) {
			s.Superseded = append(s.Superseded, f)
			continue
		}
		s.Files = slices.Insert(s.Files, i, f)
	}
	slices.SortStableFunc(s.Superseded, inOrder)
	return s
}

// replaces says whether a segment that was taken stands in the place of another:
// they overlap, and it is of a higher generation or the same segment. Two that
// overlap in one generation are both kept, for verification to find.
func replaces(taken, other segmentlog.SegmentName) bool {
	overlap := taken.FirstSeq <= other.LastSeq && other.FirstSeq <= taken.LastSeq
	return overlap && (taken.Generation > other.Generation || taken == other)
}
