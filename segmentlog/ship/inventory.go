package ship

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// readers is how many objects are read at once when an archive is looked through.
const readers = 16

// Inventory is what an archive holds of a log.
type Inventory struct {
	// Entries are the segments of the log in order: of every range the newest generation,
	// each following from the one before but where there is a hole.
	Entries []Entry
	// Found counts the segments that no catalog names, and that were read for what a line
	// says: a writer was killed before it wrote it, or a catalog was lost or damaged.
	Found int
	// Foreign are the keys of segments that are not of the log: a writer put them there
	// after it had been overtaken.
	Foreign []string
	// Beginning says what of the log's beginning the archive has lost, nil for nothing.
	Beginning *BeginningError

	days map[Day]*dayCatalog
}

// dayCatalog is a catalog as it stands in the bucket.
type dayCatalog struct {
	version bucket.Version // "" where there is none
	entries []Entry
	stale   bool // what stands in the bucket lacks some of the entries, or cannot be read
}

// LastSeq is the last seq that the archive holds, 0 for none.
func (v *Inventory) LastSeq() uint64 {
	if len(v.Entries) == 0 {
		return 0
	}
	return v.Entries[len(v.Entries)-1].Name.LastSeq
}

// GapError says that a segment is missing in the middle of an archive.
type GapError struct{ Before, After segmentlog.SegmentName }

func (e *GapError) Error() string {
	return fmt.Sprintf("the archive has a hole: no segment stands between %s and %s, which do not follow from each other", e.Before, e.After)
}

// ReadInventory looks through an archive. It trusts the catalogs where they fit, looks
// for segments since the last of them that they do not name, and where they do not fit
// it lists all segments and reads the footers of those that are not named, as it does
// where what they name does not begin with the log's first leaf. It asks for the first
// segment, whose loss no leaf shows. A hole in what it finds is a *GapError, which comes
// with everything that was found: no writer may go on from it, a reader may take what
// there is.
func ReadInventory(ctx context.Context, b bucket.Bucket, s *segmentlog.Stream) (*Inventory, error) {
	v := &Inventory{days: map[Day]*dayCatalog{}}
	damaged, err := v.readCatalogs(ctx, b)
	if err != nil {
		return nil, err
	}
	from := "" // all
	if !damaged && len(v.days) > 0 {
		from = slices.Max(slices.Collect(maps.Keys(v.days))).folder()
	}
	if err := v.findUnnamed(ctx, b, from); err != nil {
		return nil, err
	}
	err = v.arrange(s)
	var gap *GapError
	late := err == nil && !v.begins(s)
	if (late || errors.As(err, &gap)) && from != "" { // a catalog is gone
		if err := v.findUnnamed(ctx, b, ""); err != nil {
			return nil, err
		}
		err = v.arrange(s)
	}
	if lost := v.checkBeginning(ctx, b, s); lost != nil {
		return nil, lost
	}
	return v, err
}

// readCatalogs reads every catalog; damaged says that one could not be read.
func (v *Inventory) readCatalogs(ctx context.Context, b bucket.Bucket) (damaged bool, err error) {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for info, err := range b.List(gctx, catalogPrefix, "") {
		if err != nil {
			return false, errors.Join(err, g.Wait())
		}
		d, ok := parseCatalogKey(info.Key)
		if !ok {
			continue
		}
		g.Go(func() error {
			c, err := readCatalog(gctx, b, d)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrCatalog) {
				damaged, err, c.stale = true, nil, true
			}
			v.days[d] = c
			return err
		})
	}
	return damaged, g.Wait()
}

// readCatalog reads a day's catalog. Where that is damaged (ErrCatalog) what is returned
// has the version that can be written over.
func readCatalog(ctx context.Context, b bucket.Bucket, d Day) (*dayCatalog, error) {
	raw, info, err := bucket.ReadAll(ctx, b, CatalogKey(d), maxCatalog)
	if errors.Is(err, bucket.ErrNotFound) {
		return &dayCatalog{}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &dayCatalog{version: info.Version}
	c.entries, err = ParseCatalog(d, raw)
	return c, err
}

// findUnnamed lists the segments from a key on and adds those that no catalog names.
func (v *Inventory) findUnnamed(ctx context.Context, b bucket.Bucket, from string) error {
	named := map[segmentlog.SegmentName]bool{}
	for _, c := range v.days {
		for i := range c.entries {
			named[c.entries[i].Name] = true
		}
	}
	var mu sync.Mutex
	found := map[Day][]Entry{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for info, err := range b.List(gctx, segmentPrefix, from) {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		d, n, ok := parseSegmentKey(info.Key)
		if !ok || named[n] {
			continue
		}
		g.Go(func() error {
			e, err := describe(gctx, b, info)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found[d] = append(found[d], e)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for d, entries := range found {
		v.add(d, entries)
	}
	return nil
}

// add puts segments that no catalog names into a day, all at once: a day can have as many
// as its catalog is lost with.
func (v *Inventory) add(d Day, found []Entry) {
	c := v.days[d]
	if c == nil {
		c = &dayCatalog{}
		v.days[d] = c
	}
	c.entries = append(slices.Clip(c.entries), found...)
	slices.SortFunc(c.entries, func(a, b Entry) int { return compareNames(a.Name, b.Name) })
	c.stale = true
	v.Found += len(found)
}

// describe reads what a catalog's line says from the segment itself.
func describe(ctx context.Context, b bucket.Bucket, info bucket.Info) (Entry, error) {
	seg, err := segmentlog.OpenSegment(info.Key, bucket.ReaderAt(ctx, b, info.Key), info.Size)
	if err != nil {
		return Entry{}, err
	}
	stat, err := b.Stat(ctx, info.Key)
	if err != nil {
		return Entry{}, err
	}
	sum := stat.SHA256
	if len(sum) != sha256.Size {
		if sum, err = bucket.ReadBack(ctx, b, info.Key); err != nil {
			return Entry{}, err
		}
	}
	e, err := NewEntry(seg.Footer(), info.Size, [32]byte(sum))
	if err == nil && e.Key() != info.Key {
		err = fmt.Errorf("%s says that it is %s", info.Key, e.Key())
	}
	return e, err
}

// arrange picks the log out of all that was found. The error is of the first hole; what
// stands behind it is picked too, without what contradicts what stands before.
func (v *Inventory) arrange(s *segmentlog.Stream) error {
	v.Entries, v.Foreign = nil, nil
	var all []Entry
	for _, c := range v.days {
		for i := range c.entries {
			switch e := &c.entries[i]; {
			case s.Keeps(e.Name):
				all = append(all, *e)
			case e.Name.LastSeq > s.TrimmedThrough: // else it is about to be removed
				v.Foreign = append(v.Foreign, e.Key())
			}
		}
	}
	slices.Sort(v.Foreign)
	slices.SortFunc(all, func(a, b Entry) int { // a newer generation first where both begin together
		if a.Name.FirstSeq == b.Name.FirstSeq {
			return compareNames(b.Name, a.Name)
		}
		return compareNames(a.Name, b.Name)
	})
	var hole *GapError
	for _, e := range all {
		if k := len(v.Entries); k > 0 {
			last := &v.Entries[k-1]
			if e.Name.FirstSeq <= last.Name.LastSeq && e.Name.LastSeq <= last.Name.LastSeq && e.Name.Generation < last.Name.Generation {
				continue // rewritten
			}
			if e.FirstLeaf != last.FirstLeaf+last.Records || e.Name.FirstSeq <= last.Name.LastSeq {
				if hole == nil {
					hole = &GapError{last.Name, e.Name}
				}
				if e.FirstLeaf < last.FirstLeaf+last.Records || e.Name.FirstSeq <= last.Name.LastSeq {
					continue
				}
			}
		}
		v.Entries = append(v.Entries, e)
	}
	if hole != nil {
		return hole
	}
	return nil
}
