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

// accountLimit keeps the accounts of a host, which the account's document names, within
// what the host may have. A new one beyond is throttled by us; one that is throttled is
// let go when there is room, at its next event. Accounts that are there already stay
// when the limit is lowered. Ours.
func (h *host) accountLimit(held *accounts.Held) outcome {
	acct := held.Account()
	throttled := acct.Local.Reason == accounts.Throttled
	here := acct.Host == h.addr.name
	if here && !throttled || acct.Local.Inactive && !throttled {
		return outcome{}
	}
	over := false
	if limit := h.limit(); limit > 0 {
		n := h.m.counts.of(h.addr.name)
		if !here {
			n++
		}
		over = n > limit
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

// limit is how many accounts the host may have, 0 for any number.
func (h *host) limit() int64 {
	if h.addr.trusted || h.m.opts.AccountLimit == nil {
		return 0
	}
	return h.m.opts.AccountLimit(h.addr.name)
}
