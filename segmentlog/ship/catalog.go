package ship

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
)

// maxCatalog bounds a day's catalog in bytes: a segment a second.
const maxCatalog = 64 << 20

// ErrCatalog means that a catalog cannot be read; the segments are the truth, so it can
// be made again from them.
var ErrCatalog = errors.New("the catalog is damaged")

// ParseCatalog reads a day's catalog: one line a segment, by first seq, each once.
func ParseCatalog(d Day, b []byte) ([]Entry, error) {
	out, err := parseLines(b, func(e *Entry) error {
		if e.Day() != d {
			return fmt.Errorf("%s is of another day", e.Name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CatalogKey(d), err)
	}
	return out, nil
}

func parseLines(b []byte, check func(*Entry) error) ([]Entry, error) {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("%w: it is cut within a line", ErrCatalog)
	}
	var out []Entry
	for line := range bytes.Lines(b) {
		e, err := parseEntry(line)
		if err == nil {
			err = check(&e)
		}
		if err == nil && len(out) > 0 && compareNames(out[len(out)-1].Name, e.Name) >= 0 {
			err = fmt.Errorf("%s is out of order", e.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrCatalog, len(out)+1, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// encodeCatalog is the opposite of ParseCatalog; entries are in order.
func encodeCatalog(entries []Entry) []byte {
	var b []byte
	for i := range entries {
		b = entries[i].append(b)
	}
	return b
}

// compareNames orders a catalog: by first seq, then epoch, then generation.
func compareNames(a, b segmentlog.SegmentName) int {
	return cmp.Or(cmp.Compare(a.FirstSeq, b.FirstSeq), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Generation, b.Generation))
}

// insert returns entries with e in its place; changed is false when it stands there.
func insert(entries []Entry, e Entry) (out []Entry, changed bool) {
	i, found := slices.BinarySearchFunc(entries, e.Name, func(x Entry, n segmentlog.SegmentName) int { return compareNames(x.Name, n) })
	if found {
		if entries[i].same(&e) {
			return entries, false
		}
		out = slices.Clone(entries)
		out[i] = e
		return out, true
	}
	return slices.Insert(slices.Clone(entries), i, e), true
}

// ParseEntries reads lines of catalogs of several days: by first seq, each once.
func ParseEntries(b []byte) ([]Entry, error) {
	return parseLines(b, func(*Entry) error { return nil })
}

// Insert returns entries, which are in order, with e among them.
func Insert(entries []Entry, e Entry) []Entry {
	out, _ := insert(entries, e)
	return out
}
