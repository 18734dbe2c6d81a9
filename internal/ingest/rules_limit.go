package ingest

import (
	"sync"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/segmentlog"
)

// hostCounts counts the accounts of hosts, by the host that last spoke for them with
// authority.
type hostCounts struct {
	mu sync.Mutex
	m  map[string]int64
}

func newHostCounts(at map[string]int64) *hostCounts {
	c := &hostCounts{m: make(map[string]int64, len(at))}
	for host, n := range at {
		c.m[host] = n
	}
	return c
}

func (c *hostCounts) of(host string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[host]
}

// move notes that an account went from one host, "" for none, to another.
func (c *hostCounts) move(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from != "" {
		c.m[from]--
	}
	c.m[to]++
}

// reserve counts one more account of a host unless it has limit already. Accounts of
// one host are decided side by side, so looking and counting must be one step.
func (c *hostCounts) reserve(host string, limit int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[host] >= limit {
		return false
	}
	c.m[host]++
	return true
}

// leave counts one account of a host less, "" for none.
func (c *hostCounts) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if host != "" {
		c.m[host]--
	}
}

// accountLimit keeps the accounts of a host, which the account's document names, within
// what the host may have. A new one beyond is throttled by us; one that is throttled is
// let go when there is room, at its next event. Accounts that are there already stay
// when the limit is lowered. Ours.
func (h *host) accountLimit(s *subject, held *accounts.Held) outcome {
	acct := held.Account()
	throttled := acct.Local.Reason == accounts.Throttled
	here := acct.Host == h.addr.name
	if here && !throttled || acct.Local.Inactive && !throttled {
		return outcome{}
	}
	over := false
	if limit := h.limit(); limit > 0 {
		if here {
			over = h.m.counts.of(h.addr.name) > limit
		} else {
			s.reserved = h.m.counts.reserve(h.addr.name, limit)
			over = !s.reserved
		}
	}
	switch {
	case throttled && !over:
		return h.m.release(held)
	case !throttled && over:
		h.m.metrics.throttled.Inc()
		return h.m.appendOwn(held, segmentlog.Local, accounts.Status{Inactive: true, Reason: accounts.Throttled})
	}
	return outcome{}
}

// count notes that the account is the host's from now on.
func (h *host) count(s *subject, from string) {
	if s.reserved {
		s.reserved = false
		h.m.counts.leave(from)
		return
	}
	h.m.counts.move(from, h.addr.name)
}

// unreserve gives back what an event that did not enter the log had reserved.
func (h *host) unreserve(s *subject) {
	if s.reserved {
		s.reserved = false
		h.m.counts.leave(h.addr.name)
	}
}

// limit is how many accounts the host may have, 0 for any number.
func (h *host) limit() int64 {
	if h.addr.trusted || h.m.opts.AccountLimit == nil {
		return 0
	}
	return h.m.opts.AccountLimit(h.addr.name)
}
