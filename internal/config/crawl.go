package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v3"
)

// Crawl says who may have hosts crawled, and how much hosts may.
type Crawl struct {
	TrustedDomains []string // names, or *.suffix, of hosts without limits
	NewHostsPerDay int64    // by requestCrawl
	AccountLimit   int64    // of a host, 0 for none

	DisableRequestCrawl bool
	TrustedProxies      []string // as given; Validate parses them
	Proxies             []netip.Prefix
}

// crawlFlags are the flags that concern hosts.
func (c *Config) crawlFlags() []cli.Flag {
	h := &c.Crawl
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name:    "host",
			Usage:   "URL of a host to crawl; repeatable; http, ports and loopback are allowed, and it has no limits",
			Sources: c.file.sourcesOf("host"), Destination: &c.Hosts,
		},
		&cli.StringFlag{
			Name: "pull-hosts-from", Usage: "URL of a running relay whose listHosts to crawl",
			Sources: c.file.sourcesOf("pull-hosts-from"), Destination: &c.PullHostsFrom,
		},
		&cli.StringSliceFlag{
			Name: "trusted-domains", Usage: "names of hosts without limits; *.suffix for all below it; repeatable", Value: []string{"*.host.bsky.network"},
			Sources: c.file.sourcesOf("trusted-domains", "RELAY_TRUSTED_DOMAINS"), Destination: &h.TrustedDomains,
		},
		&cli.Int64Flag{
			Name: "new-hosts-per-day-limit", Usage: "hosts that may come in a day by requestCrawl", Value: 50,
			Sources: c.file.sourcesOf("new-hosts-per-day-limit", "RELAY_NEW_HOSTS_PER_DAY_LIMIT"), Destination: &h.NewHostsPerDay,
		},
		&cli.Int64Flag{
			Name: "default-account-limit", Usage: "active accounts of a host that is not trusted, 0 for any number; its event rates follow from it", Value: 100,
			Sources: c.file.sourcesOf("default-account-limit", "RELAY_DEFAULT_ACCOUNT_LIMIT", "RELAY_DEFAULT_REPO_LIMIT"), Destination: &h.AccountLimit,
		},
		&cli.BoolFlag{
			Name: "disable-request-crawl", Usage: "take no requestCrawl from strangers",
			Sources: c.file.sourcesOf("disable-request-crawl", "RELAY_DISABLE_REQUEST_CRAWL"), Destination: &h.DisableRequestCrawl,
		},
		&cli.StringSliceFlag{
			Name: "trusted-proxies", Usage: "addresses, or networks such as 10.0.0.0/8, whose X-Forwarded-For is believed; repeatable",
			Value: []string{"127.0.0.0/8", "::1/128"}, Sources: c.file.sourcesOf("trusted-proxies"), Destination: &h.TrustedProxies,
		},
	}
}

// maxHostLimit bounds the limits: what is higher is a mistake.
const maxHostLimit = 1 << 40

func (h *Crawl) validate() error {
	for _, d := range h.TrustedDomains {
		if name := strings.TrimPrefix(d, "*."); name == "" || strings.ContainsAny(name, "*:/ ") {
			return fmt.Errorf("--trusted-domains %q is neither a name nor *.suffix", d)
		}
	}
	for flag, n := range map[string]int64{"new-hosts-per-day-limit": h.NewHostsPerDay, "default-account-limit": h.AccountLimit} {
		if n < 0 || n > maxHostLimit {
			return fmt.Errorf("--%s %d is not between 0 and %d", flag, n, int64(maxHostLimit))
		}
	}
	h.Proxies = nil
	for _, s := range h.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("--trusted-proxies %q is neither an address nor a network such as 10.0.0.0/8", s)
		}
		h.Proxies = append(h.Proxies, p.Masked())
	}
	return nil
}
