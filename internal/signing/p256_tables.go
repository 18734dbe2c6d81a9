package signing

import (
	"hash/maphash"
	"sync/atomic"
	"unsafe"
)

// TableBudget bounds the memory of all tables of P-256 keys together, in bytes. They
// are the process's, not a Key's: a Key stays as small as its point, and a million of
// them may be cached beside tables of the 2,700 that sign most.
const TableBudget = 8 << 20

const (
	tableWays = 4
	// combTableBytes is a table as the allocator rounds it up; a test measures it.
	combTableBytes = 3072
	tableSets      = TableBudget / (tableWays*combTableBytes + int(unsafe.Sizeof(tableSet{})))
)

// tableCache holds the tables of keys that are used again and again, and makes them.
//
// A key's hash names a set of four slots. A key without a table leaves its hash in
// the set; if the next time finds it still there, a table is made. The marks are as
// many as the tables and each new key overwrites one, so that what is kept is a key
// that came back within a few thousand others: keys that come once, or in a round
// longer than the cache, build next to nothing. In a full set a table that was not
// used since the last time the set was full gives way.
//
// There is no lock. Two goroutines may make the same table at once, and both may even
// keep it until one is displaced: that wastes a slot, and no answer depends on it.
// The hash is seeded by the process, so that nobody can choose keys that share a set.
type tableCache struct {
	seed maphash.Seed
	sets [tableSets]tableSet
}

type tableSet struct {
	slots [tableWays]atomic.Pointer[combTable]
	marks [tableWays]atomic.Uint64 // hashes of keys seen once; 0 is none
}

// tables is used by every Key.
var tables = newTableCache()

func newTableCache() *tableCache { return &tableCache{seed: maphash.MakeSeed()} }

// table returns the key's table, made now if the key comes back; nil if it has none.
func (c *tableCache) table(point *[uncompressedSize]byte) *combTable {
	h := maphash.Bytes(c.seed, point[:]) | 1
	set := &c.sets[h>>32%uint64(len(c.sets))]
	for i := range set.slots {
		if t := set.slots[i].Load(); t != nil && t.point == *point {
			if !t.recent.Load() { // a store each time would pass the cache line around
				t.recent.Store(true)
			}
			return t
		}
	}
	// Swap, so that of several goroutines only one makes the table.
	mark := &set.marks[h>>1%tableWays]
	if !mark.CompareAndSwap(h, 0) {
		mark.Store(h)
		return nil
	}
	t, err := newCombTable(point)
	if err != nil {
		return nil // it was on the curve when the Key was made
	}
	set.keep(t)
	return t
}

// keep puts t into an empty slot, or into one whose table was not used of late.
func (s *tableSet) keep(t *combTable) {
	for i := range s.slots {
		if s.slots[i].CompareAndSwap(nil, t) {
			return
		}
	}
	for i := range s.slots {
		if old := s.slots[i].Load(); !old.recent.Swap(false) && s.slots[i].CompareAndSwap(old, t) {
			return
		}
	}
	s.slots[0].Store(t) // all were, and have lost their mark now
}
