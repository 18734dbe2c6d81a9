package identity

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	cacheShards = 64
	// entryBytes is what an entry costs besides its strings: the structs, a parsed
	// key, the map's cells. Measured at about 420 bytes and rounded up.
	entryBytes = 512
	// evictSample entries are looked at for each one that has to go.
	evictSample = 8
)

// entry is what is known of one DID. Exactly one of id and err speaks: err is an
// ErrGone or an ErrUnusable.
type entry struct {
	id      Identity
	err     error
	asked   time.Time // when a resolver last gave a definite answer
	retryAt time.Time // a resolver failed since: do not ask again before
	dirty   bool      // a refresh failed: what is known may be out of date
	used    time.Time
}

func (e *entry) size() int64 {
	return entryBytes + int64(len(e.id.DID)+len(e.id.Host))
}

// cache holds entries within a budget of bytes. What goes first is the least
// recently used of a small sample, which comes close to the true order and needs
// no list.
type cache struct {
	seed   maphash.Seed
	budget int64 // bytes a shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.Mutex
	m     map[string]*entry
	bytes int64
}

func newCache(budget int64) *cache {
	c := &cache{seed: maphash.MakeSeed(), budget: max(budget/cacheShards, entryBytes)}
	for i := range c.shards {
		c.shards[i].m = make(map[string]*entry)
	}
	return c
}

func (c *cache) shard(did string) *cacheShard {
	return &c.shards[maphash.String(c.seed, did)%cacheShards]
}

// get returns a copy of what is known of did.
func (c *cache) get(did string, now time.Time) (entry, bool) {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.m[did]
	if !ok {
		return entry{}, false
	}
	e.used = now
	return *e, true
}

func (c *cache) put(did string, e entry) {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.m[did]; ok {
		s.bytes -= old.size()
	}
	e.id.DID = did
	s.m[did] = &e
	s.bytes += e.size()
	for s.bytes > c.budget && len(s.m) > 1 {
		s.evict(did)
	}
}

// evict drops the least recently used of a sample, never keep.
func (s *cacheShard) evict(keep string) {
	var victim string
	var oldest time.Time
	n := 0
	for did, e := range s.m { // the map's random order is the sample
		if did == keep {
			continue
		}
		if n == 0 || e.used.Before(oldest) {
			victim, oldest = did, e.used
		}
		if n++; n == evictSample {
			break
		}
	}
	s.bytes -= s.m[victim].size()
	delete(s.m, victim)
}

func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}
