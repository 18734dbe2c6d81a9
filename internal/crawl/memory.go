package crawl

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/index"
)

// Store remembers which hosts are crawled; *index.Index is one.
type Store interface {
	Crawls() ([]index.Crawl, error)
	PutCrawl(ctx context.Context, c *index.Crawl) error
}

// Memory is a Store that forgets everything with the process.
type Memory struct {
	mu sync.Mutex
	m  map[string]index.Crawl
}

// NewMemory returns an empty one.
func NewMemory() *Memory { return &Memory{m: make(map[string]index.Crawl)} }

// Crawls returns all hosts that are remembered, by name.
func (m *Memory) Crawls() ([]index.Crawl, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.m), func(a, b index.Crawl) int { return strings.Compare(a.Name, b.Name) }), nil
}

// PutCrawl remembers a host.
func (m *Memory) PutCrawl(_ context.Context, c *index.Crawl) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m[c.Name] = *c
	return nil
}

// entry is a host that is crawled, or was until it was banned.
type entry struct {
	index.Crawl
	seq   uint64 // the host's own, that the log had when reading began
	dirty bool   // it waits to be written
}

// url is where the host is.
func (e *entry) asked() *asked {
	trusted := false
	if e.By == index.CrawlByOperator {
		a := newAsked(e.Name, e.Plain, true)
		_, err := parse(a.url, false)
		trusted = err != nil
	}
	return newAsked(e.Name, e.Plain, trusted)
}

// kept says whether the host may be remembered beyond this process: somebody vouched
// for it, or it has answered.
func (e *entry) kept() bool { return e.By != index.CrawlByPull || !e.Connected.IsZero() }

// known is the hosts that are crawled. It is guarded by the Crawler's lock.
type known struct {
	m     map[string]*entry
	order []*entry // oldest first
}

func byAge(a, b *entry) int {
	return cmp.Or(a.Requested.Compare(b.Requested), strings.Compare(a.Name, b.Name))
}

// add takes a host that is not known yet. Its time is cut to what the store keeps, so
// that the order is the same after a start.
func (k *known) add(c index.Crawl) *entry {
	c.Requested = c.Requested.Truncate(time.Second).UTC()
	e := &entry{Crawl: c}
	k.m[c.Name] = e
	at, _ := slices.BinarySearchFunc(k.order, e, byAge)
	k.order = slices.Insert(k.order, at, e)
	return e
}

// after returns the position of the first host behind one of that age and name.
func (k *known) after(requested time.Time, name string) int {
	at, found := slices.BinarySearchFunc(k.order, &entry{Crawl: index.Crawl{Requested: requested, Name: name}}, byAge)
	if found {
		at++
	}
	return at
}
