package accounts

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cistern-archive/cistern/index"
)

// stripes is how many accounts can be held at once, at best. A collision costs a
// wait of one verification.
const stripes = 4096

// Store is where accounts are that the table does not have: the index.
type Store interface {
	// Account returns what the records up to Applied say of an account.
	Account(did string) (a index.Account, found bool, err error)
	// Applied is the seq of the last record that Account knows of.
	Applied() uint64
}

// Options of a Table. The zero value is a table that has everything in memory.
type Options struct {
	Store      Store // nil: nothing is known but what is applied, and nothing is forgotten
	CacheBytes int64 // about what the table may keep; 256 MiB
}

// Table is the accounts of a log. It is safe for concurrent use.
type Table struct {
	store  Store
	cap    int // entries a stripe
	seed   maphash.Seed
	order  [stripes]sync.Mutex // held while an account's event is decided and appended
	data   [stripes]stripe     // short: guards the memory
	misses atomic.Uint64
	size   atomic.Int64
}

type stripe struct {
	mu      sync.RWMutex
	m       map[string]*entry
	scratch index.Account
}

// NewTable returns a table in front of a store.
func NewTable(o Options) *Table {
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	return &Table{store: o.Store, cap: max(1, int(o.CacheBytes/entryBytes/stripes)), seed: maphash.MakeSeed()}
}

// Held is an account that its holder alone may change, until Release.
type Held struct {
	t   *Table
	i   uint64
	did string
	e   *entry // nil while nothing is known
}

// Acquire waits for the account and holds it. The holder may wait for the log but
// never for the network, nor for another account. An error is the store's: nothing is
// held then, and nothing may be decided about the account.
func (t *Table) Acquire(did string) (Held, error) {
	i := maphash.String(t.seed, did) % stripes
	t.order[i].Lock()
	s := &t.data[i]
	s.mu.RLock()
	e := s.m[did]
	s.mu.RUnlock()
	h := Held{t: t, i: i, did: did, e: e}
	if e != nil {
		e.used = true
		return h, nil
	}
	if t.store != nil {
		if err := h.load(); err != nil {
			t.order[i].Unlock()
			return Held{}, err
		}
	}
	return h, nil
}

// load asks the store.
func (h *Held) load() error {
	h.t.misses.Add(1)
	a, found, err := h.t.store.Account(h.did)
	if err != nil || !found {
		return err
	}
	s := &h.t.data[h.i]
	s.mu.Lock()
	defer s.mu.Unlock()
	h.insert(s, newEntry(a))
	return nil
}

// insert puts a new entry into its stripe, and forgets another one where there are
// too many. Called with both locks of the stripe.
func (h *Held) insert(s *stripe, e *entry) {
	if s.m == nil {
		s.m = make(map[string]*entry)
	}
	h.t.forget(s)
	h.e = e
	s.m[strings.Clone(h.did)] = e
	h.t.size.Add(1)
}

// maxForget bounds the entries that are looked at for one that comes in.
const maxForget = 8

// forget drops entries that were not used lately and that the store has whole. A map
// is walked from a random place.
func (t *Table) forget(s *stripe) {
	if t.store == nil || len(s.m) < t.cap {
		return
	}
	applied, looked := t.store.Applied(), 0
	for did, e := range s.m {
		switch {
		case e.last > applied:
		case e.used:
			e.used = false
		default:
			delete(s.m, did)
			t.size.Add(-1)
		}
		if looked++; looked == maxForget || len(s.m) < t.cap {
			return
		}
	}
}

// Release lets the next holder in.
func (h *Held) Release() { h.t.order[h.i].Unlock() }

// DID is whose account is held.
func (h *Held) DID() string { return h.did }

// Account returns what is known; its repo's bytes are valid until Apply or Release.
func (h *Held) Account() Account {
	if h.e == nil {
		return Account{}
	}
	return h.e.account()
}

// Seen says whether the event is at or below the host's mark: it is in the log, or
// was decided before one that is.
func (h *Held) Seen(host string, epoch, seq uint64) bool {
	if h.e == nil {
		return false
	}
	m := h.e.mark(host)
	return m != nil && (epoch < m.Epoch || epoch == m.Epoch && seq <= m.Seq)
}

// Apply changes the account by a record that is in the log.
func (h *Held) Apply(c *Change) {
	s := &h.t.data[h.i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.e == nil {
		h.insert(s, new(entry))
	}
	h.e.used = true
	h.e.apply(c, &s.scratch)
}

// Get returns a copy of what is known of an account, and whether anything is.
func (t *Table) Get(did string) (Account, bool, error) {
	s := &t.data[maphash.String(t.seed, did)%stripes]
	s.mu.RLock()
	e, ok := s.m[did]
	if ok {
		defer s.mu.RUnlock()
		return Of(&e.acct), true, nil
	}
	s.mu.RUnlock()
	if t.store == nil {
		return Account{}, false, nil
	}
	a, found, err := t.store.Account(did)
	if err != nil || !found {
		return Account{}, false, err
	}
	return Of(&a), true, nil
}

// Stats are figures of a table.
type Stats struct {
	Accounts int64  // in memory
	Misses   uint64 // accounts that the store was asked for
}

// Stats returns them.
func (t *Table) Stats() Stats { return Stats{Accounts: t.size.Load(), Misses: t.misses.Load()} }
