package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// finish looks for holes and whether the segments are of one tree, writes the catalogs of
// what is there, and removes what a newer generation replaces.
func (p *puller) finish(ctx context.Context, there []ship.Entry) error {
	p.count(there)
	if err := p.chain(ctx, there); err != nil {
		return err
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	gone, err := p.replaced(ctx, there, files)
	if err != nil {
		return err
	}
	if err := p.writeCatalogs(there, gone); err != nil {
		return err
	}
	for name := range gone {
		if err := os.Remove(files[name]); err != nil {
			return err
		}
		p.report.Removed++
	}
	return nil
}

// superseded says whether an entry is a newer generation of all that a segment holds.
func superseded(n segmentlog.SegmentName, e *ship.Entry) bool {
	return e.Name.Generation > n.Generation && e.Name.FirstSeq <= n.FirstSeq && n.LastSeq <= e.Name.LastSeq
}

// replaced returns the files whose events are proven to be in a newer generation that is
// there. A server's word is not enough: what is removed here may be nowhere else.
func (p *puller) replaced(ctx context.Context, there []ship.Entry, files map[segmentlog.SegmentName]string) (map[segmentlog.SegmentName]bool, error) {
	gone := map[segmentlog.SegmentName]bool{}
	for i := range there {
		newer := &there[i]
		if newer.Name.Generation == 0 {
			continue
		}
		var old []ship.Entry
		for n, path := range files {
			if !superseded(n, newer) {
				continue
			}
			if e, err := p.describe(ctx, n, path, false); err == nil { // else it stays
				old = append(old, e)
			}
		}
		if !sameLeaves(newer, old) {
			continue
		}
		if _, err := p.describe(ctx, newer.Name, files[newer.Name], true); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		} else if err != nil {
			continue // its records are not those of its tree
		}
		for _, e := range old {
			gone[e.Name] = true
		}
	}
	return gone, nil
}

// sameLeaves says whether old segments, in any order, are together the leaves of a newer
// one: the root after the last of them stands for all.
func sameLeaves(newer *ship.Entry, old []ship.Entry) bool {
	slices.SortFunc(old, func(a, b ship.Entry) int { return cmp.Compare(a.FirstLeaf, b.FirstLeaf) })
	end := newer.FirstLeaf
	for _, e := range old {
		if e.FirstLeaf != end {
			return false
		}
		end += e.Records
	}
	return len(old) > 0 && end == newer.FirstLeaf+newer.Records && old[len(old)-1].Root == newer.Root
}

// describe reads what a local segment says of itself; verify reads every record too.
func (p *puller) describe(ctx context.Context, n segmentlog.SegmentName, path string, verify bool) (ship.Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return ship.Entry{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ship.Entry{}, err
	}
	seg, err := segmentlog.OpenSegment(path, f, st.Size())
	if err != nil {
		return ship.Entry{}, err
	}
	if ft := seg.Footer(); ft.Name != n || ft.Stream != p.stream.ID {
		return ship.Entry{}, fmt.Errorf("%s says that it is %s of stream %s", path, ft.Name, ft.Stream)
	}
	if verify {
		if err := seg.Verify(ctx, segmentlog.VerifyOptions{}); err != nil {
			return ship.Entry{}, err
		}
	}
	return ship.NewEntry(seg.Footer(), st.Size(), [32]byte{}) // the hash is not asked for
}

// files lists the segments of the folder.
func (p *puller) files() (map[segmentlog.SegmentName]string, error) {
	out := map[segmentlog.SegmentName]string{}
	err := filepath.WalkDir(filepath.Join(p.o.Out, "segments"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if n, ok := segmentlog.ParseSegmentName(filepath.Base(path)); err == nil && ok && !d.IsDir() {
			out[n] = path
		}
		return err
	})
	return out, err
}

// writeCatalogs writes a catalog of every day of which something came, with what earlier
// runs brought.
func (p *puller) writeCatalogs(there []ship.Entry, gone map[segmentlog.SegmentName]bool) error {
	days := map[ship.Day][]ship.Entry{}
	for _, e := range there {
		days[e.Day()] = append(days[e.Day()], e)
	}
	for d, entries := range days {
		path := filepath.Join(p.o.Out, filepath.FromSlash(ship.CatalogKey(d)))
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		had, err := ship.ParseCatalog(d, b)
		if err != nil {
			had = nil // it is written anew; the files are the truth
		}
		for _, e := range had {
			if !gone[e.Name] {
				entries = ship.Insert(entries, e)
			}
		}
		var out []byte
		for i := range entries {
			out = append(out, entries[i].Encode()...)
		}
		if err := replace(path, out); err != nil {
			return err
		}
	}
	return nil
}
