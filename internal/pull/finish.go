package pull

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// finish looks for holes, writes the catalogs of what is there, and removes what a newer
// generation replaces.
func (p *puller) finish(there []ship.Entry) error {
	r := &p.report
	for i, e := range there {
		r.Bytes += e.Bytes
		r.Records += e.Records
		if i == 0 {
			r.FirstSeq = e.Name.FirstSeq
			continue
		}
		before := there[i-1]
		if end := before.FirstLeaf + before.Records; e.FirstLeaf != end {
			r.Holes = append(r.Holes, Hole{After: before.Name, Before: e.Name, Records: e.FirstLeaf - end})
		}
	}
	if n := len(there); n > 0 {
		r.LastSeq = there[n-1].Name.LastSeq
	}
	files, err := p.files()
	if err != nil {
		return err
	}
	if err := p.writeCatalogs(there); err != nil {
		return err
	}
	for name, path := range files {
		if superseded(name, there) {
			if err := os.Remove(path); err != nil {
				return err
			}
			r.Removed++
		}
	}
	return nil
}

// superseded says whether a newer generation of what a segment holds is there.
func superseded(n segmentlog.SegmentName, there []ship.Entry) bool {
	return slices.ContainsFunc(there, func(e ship.Entry) bool {
		return e.Name.Generation > n.Generation && e.Name.FirstSeq <= n.FirstSeq && n.LastSeq <= e.Name.LastSeq
	})
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
func (p *puller) writeCatalogs(there []ship.Entry) error {
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
			if !superseded(e.Name, there) {
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
