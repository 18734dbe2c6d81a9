package ship

import (
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Catalog returns the entries of the log whose first record is of a day from one to
// another, both included and "" for no bound, in order: of every range the newest
// generation.
func (s *Shipper) Catalog(from, to Day) []Entry {
	s.mu.Lock()
	v := Inventory{days: map[Day]*dayCatalog{}}
	for d, c := range s.days {
		if d >= from && (to == "" || d <= to) {
			v.days[d] = c // never changed, only replaced
		}
	}
	s.mu.Unlock()
	_ = v.arrange(s.o.Archive.Stream()) // a hole is reported where it matters; who reads the list sees it in first_leaf
	return v.Entries
}

// Totals returns how many segments the archive holds and how many bytes they are.
func (s *Shipper) Totals() (segments int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dayOf), s.bytes
}

// Find returns the entry of a segment of the log, by its name.
func (s *Shipper) Find(n segmentlog.SegmentName) (Entry, bool) {
	if !s.o.Archive.Stream().Keeps(n) {
		return Entry{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, found := s.dayOf[n]
	if !found {
		return Entry{}, false
	}
	c := s.days[d]
	i, found := slices.BinarySearchFunc(c.entries, n, func(e Entry, n segmentlog.SegmentName) int { return compareNames(e.Name, n) })
	if !found {
		return Entry{}, false
	}
	return c.entries[i], true
}

// Encode returns the entry as a line of a catalog.
func (e *Entry) Encode() []byte { return e.append(nil) }
