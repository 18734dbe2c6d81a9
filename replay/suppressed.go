package replay

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Suppressed is the accounts whose #commit and #sync are not sent now: those that are not
// active. It keeps a 64-bit key of each, about 9 bytes an account, and twice that for the
// moment when many changes are merged: 45 MB for 5 million. Its methods may be called from
// any goroutine. The chance that any of 40 million active accounts has the key of one of 5
// million others, and is wrongly left out until the next start, is 1 in 90,000.
type Suppressed struct {
	mu  sync.Mutex // who changes it
	now atomic.Pointer[keySet]
}

// keySet is a set of keys that does not change.
type keySet struct {
	version uint64
	sorted  []uint64
	starts  []uint32 // of the keys with each value of their upper bits, in sorted
	shift   uint     // 64 less the number of those bits
	added   []uint64 // sorted: what is not in sorted yet
	removed []uint64 // sorted: what is no longer in the set
}

// maxChanges is how many changes stand beside the sorted keys before they are merged.
const maxChanges = 2048

var keySeed = maphash.MakeSeed()

// accountKey is the key of an account, never 0.
func accountKey(did []byte) uint64 { return max(maphash.Bytes(keySeed, did), 1) }

// NewSuppressed returns an empty set.
func NewSuppressed() *Suppressed {
	s := &Suppressed{}
	s.now.Store(newKeySet(nil, 1))
	return s
}

// Len is the number of accounts.
func (s *Suppressed) Len() int {
	k := s.now.Load()
	return len(k.sorted) + len(k.added) - len(k.removed)
}

// Has says whether an account is in the set.
func (s *Suppressed) Has(did string) bool { return s.now.Load().has(accountKey([]byte(did))) }

// Set puts an account into the set or takes it out.
func (s *Suppressed) Set(did []byte, suppressed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, key := s.now.Load(), accountKey(did)
	if k.has(key) != suppressed {
		s.now.Store(k.with(key, suppressed))
	}
}

// Fill puts many accounts in at once; f calls its argument with each.
func (s *Suppressed) Fill(f func(add func(did []byte)) error) error {
	var keys []uint64
	if err := f(func(did []byte) { keys = append(keys, accountKey(did)) }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.now.Load()
	s.now.Store(newKeySet(append(keys, k.all()...), k.version+1))
	return nil
}

// Follow applies the #account events of a group commit. Call it before their ring's
// Publish, in segmentlog.Options.OnCommit: then nobody gets an event of an account
// before its status is known here.
func (s *Suppressed) Follow(b segmentlog.Batch) {
	for i := range b.Len() {
		if active, ok := accountStatus(b.Frame(i)); ok {
			s.Set(b.DID(i), !active)
		}
	}
}

// newKeySet takes keys over.
func newKeySet(keys []uint64, version uint64) *keySet {
	slices.Sort(keys)
	keys = slices.Clip(slices.Compact(keys))
	k := &keySet{version: version, sorted: keys}
	b := max(bits.Len(uint(len(keys)))-3, 0) // about eight keys a start
	k.shift = uint(64 - b)
	k.starts = make([]uint32, 1<<b+1)
	for _, key := range keys {
		k.starts[key>>k.shift+1]++
	}
	for i := 1; i < len(k.starts); i++ {
		k.starts[i] += k.starts[i-1]
	}
	return k
}

func (k *keySet) has(key uint64) bool {
	if len(k.added) > 0 {
		if _, found := slices.BinarySearch(k.added, key); found {
			return true
		}
	}
	if !k.inSorted(key) {
		return false
	}
	_, gone := slices.BinarySearch(k.removed, key)
	return !gone
}

func (k *keySet) inSorted(key uint64) bool {
	i := key >> k.shift
	for _, have := range k.sorted[k.starts[i]:k.starts[i+1]] {
		if have >= key {
			return have == key
		}
	}
	return false
}

// with returns the set with a key that it has not, or without one that it has.
func (k *keySet) with(key uint64, in bool) *keySet {
	n := *k
	n.version++
	sorted := k.inSorted(key)
	switch {
	case in && sorted:
		n.removed = without(k.removed, key)
	case in:
		n.added = with(k.added, key)
	case sorted:
		n.removed = with(k.removed, key)
	default:
		n.added = without(k.added, key)
	}
	if len(n.added)+len(n.removed) > maxChanges {
		return newKeySet(n.all(), n.version)
	}
	return &n
}

// all returns the keys.
func (k *keySet) all() []uint64 {
	out := make([]uint64, 0, len(k.sorted)+len(k.added))
	for _, key := range k.sorted {
		if _, gone := slices.BinarySearch(k.removed, key); !gone {
			out = append(out, key)
		}
	}
	return append(out, k.added...)
}

func with(sorted []uint64, key uint64) []uint64 {
	i, _ := slices.BinarySearch(sorted, key)
	out := make([]uint64, 0, len(sorted)+1)
	return append(append(append(out, sorted[:i]...), key), sorted[i:]...)
}

func without(sorted []uint64, key uint64) []uint64 {
	i, _ := slices.BinarySearch(sorted, key)
	return slices.Delete(slices.Clone(sorted), i, i+1)
}
