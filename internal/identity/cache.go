package identity

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/cistern-archive/cistern/internal/signing"
)

const (
	cacheShards = 16
	// evictSample entries are looked at for each one that has to go.
	evictSample = 8
	// otherShare is the part of the budget that all but documents of did:plc may take:
	// strangers can ask for any number of DIDs that do not exist.
	otherShare = 8
)

// known is what is known of one DID. Exactly one of id and err speaks: err is an
// ErrGone or an ErrUnusable, and id then has what the document did have.
type known struct {
	id      Identity
	err     error
	asked   time.Duration // when a resolver last gave a definite answer; see Resolver.now
	retryAt time.Duration // a resolver failed since: do not ask again before
	doubted bool          // it may be out of date, whatever its age
}

// fresh says whether nobody need be asked.
func (k *known) fresh(now time.Duration) bool {
	if k.err != nil {
		return now-k.asked < negativeFor
	}
	return now-k.asked < freshFor && !k.doubted
}

// usable says whether it may stand in for an answer while resolvers fail.
func (k *known) usable(now time.Duration) bool {
	return k.err == nil && now-k.asked < freshFor+staleFor
}

// plcID is what follows "did:plc:".
type plcID [24]byte

// parsePLC splits a did:plc, which has no other form than this.
func parsePLC(did string) (id plcID, ok bool) {
	const prefix = "did:plc:"
	if len(did) != len(prefix)+len(id) || did[:len(prefix)] != prefix {
		return id, false
	}
	copy(id[:], did[len(prefix):])
	return id, true
}

// document is a did:plc document as the cache holds it: one piece of memory with the
// key in place and, with cgo, without pointers, since the garbage collector would
// follow those of millions. Its key never changes: callers hold pointers to it.
type document struct {
	used    time.Duration
	asked   time.Duration
	retryAt time.Duration
	hash    [32]byte
	host    hostID
	doubted bool
	key     signing.Key
}

// documentBytes is what a document takes, with its part of a map.
const documentBytes = int64(unsafe.Sizeof(document{})) + 72

func (d *document) size() int64 { return documentBytes + int64(d.key.Size()-int(unsafe.Sizeof(d.key))) }

// other is anything else that is known: a did:web document, or that there is none.
type other struct {
	known
	used time.Duration
}

// size is what it takes with its DID and its part of a map, in bytes.
func (o *other) size(did string) int64 {
	n := int(unsafe.Sizeof(*o)) + 84 + len(did) + len(o.id.Host)
	if o.id.Key != nil {
		n += o.id.Key.Size()
	}
	if o.err != nil {
		n += finalBytes(o.err)
	}
	return int64(n)
}

// cache holds what is known within a budget of bytes. What goes first is the least
// recently used of a small sample, which comes close to the true order and needs no
// list.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard
}

// cacheShard has a DID in one of its maps at most.
type cacheShard struct {
	mu        sync.Mutex
	documents map[plcID]*document
	hosts     hostNames // of documents
	bytes     int64     // of documents and hosts
	budget    int64

	others      map[string]*other
	otherBytes  int64
	otherBudget int64

	_ [64]byte // the next shard begins on a cache line of its own
}

func newCache(budget int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		s := &c.shards[i]
		s.documents, s.others = make(map[plcID]*document), make(map[string]*other)
		s.hosts.init()
		s.otherBudget = budget / cacheShards / otherShare
		s.budget = budget/cacheShards - s.otherBudget
	}
	return c
}

func (c *cache) shard(did string) *cacheShard {
	return &c.shards[maphash.String(c.seed, did)%cacheShards]
}

// get returns what is known of did.
func (c *cache) get(did string, now time.Duration) (known, bool) {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(did, now)
}

func (s *cacheShard) get(did string, now time.Duration) (known, bool) {
	if id, ok := parsePLC(did); ok {
		if d := s.documents[id]; d != nil {
			d.used = now
			return known{
				id:    Identity{DID: did, Key: &d.key, Host: s.hosts.name(d.host), Hash: d.hash},
				asked: d.asked, retryAt: d.retryAt, doubted: d.doubted,
			}, true
		}
	}
	o := s.others[did]
	if o == nil {
		return known{}, false
	}
	o.used = now
	return o.known, true
}

// put takes in what became known, in the place of what was.
func (c *cache) put(did string, k *known, now time.Duration) {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(did, k, now)
}

// add takes in what a slower memory knows, unless something is known already, and
// returns what is known then.
func (c *cache) add(did string, k *known, now time.Duration) known {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.get(did, now); ok {
		return old
	}
	s.put(did, k, now)
	return *k
}

func (s *cacheShard) put(did string, k *known, now time.Duration) {
	id, plc := parsePLC(did)
	if plc {
		s.dropDocument(id)
	}
	s.dropOther(did)
	if plc && k.err == nil && k.id.Key != nil {
		s.putDocument(id, k, now)
	} else {
		s.putOther(strings.Clone(did), k, now) // it may be a piece of something large
	}
}

func (s *cacheShard) putDocument(id plcID, k *known, now time.Duration) {
	d := &document{
		used: now, asked: k.asked, retryAt: k.retryAt, hash: k.id.Hash, doubted: k.doubted, key: *k.id.Key,
	}
	d.host = s.hosts.take(k.id.Host, &s.bytes)
	s.documents[id] = d
	s.bytes += d.size()
	for s.bytes > s.budget && len(s.documents) > 1 {
		s.evictDocument(id)
	}
}

func (s *cacheShard) dropDocument(id plcID) {
	if d := s.documents[id]; d != nil {
		s.bytes -= d.size()
		s.hosts.give(d.host, &s.bytes)
		delete(s.documents, id)
	}
}

func (s *cacheShard) putOther(did string, k *known, now time.Duration) {
	o := &other{known: *k, used: now}
	o.id.DID, o.id.Host = did, strings.Clone(k.id.Host)
	s.others[did] = o
	s.otherBytes += o.size(did)
	for s.otherBytes > s.otherBudget && len(s.others) > 1 {
		s.evictOther(did)
	}
}

func (s *cacheShard) dropOther(did string) {
	if o := s.others[did]; o != nil {
		s.otherBytes -= o.size(did)
		delete(s.others, did)
	}
}

// evictDocument drops the least recently used of a sample, never keep.
func (s *cacheShard) evictDocument(keep plcID) {
	var victim plcID
	var oldest time.Duration
	n := 0
	for id, d := range s.documents { // the map's random order is the sample
		if id == keep {
			continue
		}
		if n == 0 || d.used < oldest {
			victim, oldest = id, d.used
		}
		if n++; n == evictSample {
			break
		}
	}
	s.dropDocument(victim)
}

// evictOther does the same. That a DID has no document, once that has had its time,
// goes before all else.
func (s *cacheShard) evictOther(keep string) {
	var victim string
	var oldest time.Duration
	n := 0
	for did, o := range s.others {
		if did == keep {
			continue
		}
		used := o.used
		if o.err != nil {
			used -= freshFor
		}
		if n == 0 || used < oldest {
			victim, oldest = did, used
		}
		if n++; n == evictSample {
			break
		}
	}
	s.dropOther(victim)
}

// doubt notes that a resolver failed, so that a document that is known counts as
// stale, and nobody is asked again before retryAt.
func (c *cache) doubt(did string, retryAt time.Duration) {
	s := c.shard(did)
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := parsePLC(did); ok {
		if d := s.documents[id]; d != nil {
			d.doubted, d.retryAt = true, retryAt
		}
	}
	if o := s.others[did]; o != nil && o.err == nil {
		o.doubted, o.retryAt = true, retryAt
	}
}

// size returns how many entries there are and what they take, in bytes.
func (c *cache) size() (entries int, bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries += len(s.documents) + len(s.others)
		bytes += s.bytes + s.otherBytes
		s.mu.Unlock()
	}
	return entries, bytes
}
