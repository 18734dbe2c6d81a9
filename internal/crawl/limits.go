package crawl

import (
	"strings"

	"github.com/cistern-archive/cistern/internal/ingest"
)

// What a host may send, plus what its account limit adds. The figures are those of
// the reference relay.
const (
	basePerSecond = 50
	basePerHour   = 2_500
	basePerDay    = 20_000
	// manyAccounts stands in for an account limit where there is none.
	manyAccounts = 10_000_000
)

// AccountLimit is how many active accounts a host may have, 0 for any number. It is
// ingest's to ask.
func (c *Crawler) AccountLimit(host string) int64 {
	if l := c.opts.Decisions.Limits(host); l.Accounts != nil {
		return *l.Accounts
	}
	if c.isTrusted(host) {
		return 0
	}
	return c.opts.AccountLimit
}

// Rates are how many events a host may send: none for a trusted one. What an operator
// decided goes over both. It is ingest's to ask.
func (c *Crawler) Rates(host string) ingest.Rates {
	var r ingest.Rates
	if !c.isTrusted(host) {
		accounts := c.AccountLimit(host)
		if accounts == 0 {
			accounts = manyAccounts
		}
		r = ingest.Rates{PerSecond: basePerSecond + accounts/1000, PerHour: basePerHour + accounts, PerDay: basePerDay + 10*accounts}
	}
	l := c.opts.Decisions.Limits(host)
	for _, f := range []struct {
		rate *int64
		set  *int64
	}{{&r.PerSecond, l.PerSecond}, {&r.PerHour, l.PerHour}, {&r.PerDay, l.PerDay}} {
		if f.set != nil {
			*f.rate = *f.set
		}
	}
	return r
}

// isTrusted says whether a host is one of the operator's own word, or in a domain that
// is trusted.
func (c *Crawler) isTrusted(host string) bool {
	if c.trusted[host] != nil {
		return true
	}
	for _, d := range c.opts.TrustedDomains {
		if suffix, wild := strings.CutPrefix(d, "*"); wild && strings.HasSuffix(host, suffix) || host == d {
			return true
		}
	}
	return false
}
