package relay

import (
	"context"
	"slices"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
)

// openCrawler makes the part that knows which hosts are crawled, which outlives what
// reads them.
func (r *Relay) openCrawler() error {
	h, hosts := &r.cfg.Crawl, r.cfg.Hosts
	mirror := r.cfg.Upstream.Mirror()
	if mirror {
		hosts = r.cfg.Upstream.Relays
	}
	var err error
	r.crawler, err = crawl.New(crawl.Options{
		Decisions: r.journal, Hosts: hosts, PullFrom: r.cfg.PullHostsFrom, TrustedDomains: h.TrustedDomains,
		Disabled: h.DisableRequestCrawl || mirror, NewHostsPerDay: h.NewHostsPerDay, AccountLimit: h.AccountLimit,
		UserAgent: config.ServerName(), Registerer: r.reg, Logger: r.log,
	})
	return err
}

// beginCrawl has hosts read by an intake that begins, once what was decided about
// accounts is in the log. end is called before the reading ends.
func (r *Relay) beginCrawl(ctx context.Context, with *running, positions []ingest.Position) (end func(), err error) {
	if err := r.takeDownAll(ctx, with.manager); err != nil {
		return nil, err
	}
	if !r.cfg.Upstream.Mirror() {
		return r.crawler.Begin(with.manager, with.index, positions)
	}
	y, err := r.openRelays(ctx, with.manager)
	if err != nil {
		return nil, err
	}
	positions = slices.DeleteFunc(positions, func(p ingest.Position) bool { return !slices.Contains(y.names, p.Host) })
	return r.crawler.Begin(y, with.index, positions)
}
