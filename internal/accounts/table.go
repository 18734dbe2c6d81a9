package accounts

import (
	"bytes"
	"hash/maphash"
	"iter"
	"strings"
	"sync"
)

// stripes is how many accounts can be held at once, at best. A collision costs a
// wait of one verification.
const stripes = 4096

// Table is the accounts of a log. It is safe for concurrent use.
type Table struct {
	seed  maphash.Seed
	order [stripes]sync.Mutex // held while an account's event is decided and appended
	data  [stripes]stripe     // short: guards the memory
}

type stripe struct {
	mu sync.RWMutex
	m  map[string]*entry
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{seed: maphash.MakeSeed()} }

// Held is an account that its holder alone may change, until Release.
type Held struct {
	t   *Table
	i   uint64
	did string
	e   *entry // nil while nothing is known
}

// Acquire waits for the account and holds it. The holder may wait for the log but
// never for the network, nor for another account.
func (t *Table) Acquire(did string) Held {
	i := maphash.String(t.seed, did) % stripes
	t.order[i].Lock()
	s := &t.data[i]
	s.mu.RLock()
	e := s.m[did]
	s.mu.RUnlock()
	return Held{t: t, i: i, did: did, e: e}
}

// Release lets the next holder in.
func (h *Held) Release() { h.t.order[h.i].Unlock() }

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
	return m != nil && !m.before(mark{epoch: epoch, seq: seq})
}

// Apply changes the account by a record that is in the log.
func (h *Held) Apply(c *Change) {
	s := &h.t.data[h.i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.e == nil {
		if s.m == nil {
			s.m = make(map[string]*entry)
		}
		h.e = new(entry)
		s.m[strings.Clone(h.did)] = h.e
	}
	h.e.apply(c)
}

// Apply changes an account by a record, when the table is rebuilt in log order.
func (t *Table) Apply(did string, c *Change) {
	h := t.Acquire(did)
	defer h.Release()
	h.Apply(c)
}

// Get returns a copy of what is known of an account, and whether anything is.
func (t *Table) Get(did string) (Account, bool) {
	s := &t.data[maphash.String(t.seed, did)%stripes]
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.m[did]
	if !ok {
		return Account{}, false
	}
	return e.copied(), true
}

func (e *entry) copied() Account {
	a := e.account()
	a.Repo.Data = bytes.Clone(a.Repo.Data)
	a.Repo.Commit = bytes.Clone(a.Repo.Commit)
	return a
}

// Len counts the accounts.
func (t *Table) Len() int {
	n := 0
	for i := range t.data {
		s := &t.data[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}

// All walks over copies of all accounts, in no order. Accounts that change meanwhile
// come as they were before or after.
func (t *Table) All() iter.Seq2[string, Account] {
	type pair struct {
		did string
		a   Account
	}
	return func(yield func(string, Account) bool) {
		var batch []pair
		for i := range t.data {
			s := &t.data[i]
			batch = batch[:0]
			s.mu.RLock()
			for did, e := range s.m {
				batch = append(batch, pair{did, e.copied()})
			}
			s.mu.RUnlock()
			for _, p := range batch {
				if !yield(p.did, p.a) {
					return
				}
			}
		}
	}
}
