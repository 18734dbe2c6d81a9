package relay

import (
	"context"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
)

// openCrawler makes the part that knows which hosts are crawled, which outlives what
// reads them.
func (r *Relay) openCrawler() error {
	h := &r.cfg.Crawl
	var err error
	r.crawler, err = crawl.New(crawl.Options{
		Decisions: r.journal, Hosts: r.cfg.Hosts, PullFrom: r.cfg.PullHostsFrom, TrustedDomains: h.TrustedDomains,
		Disabled: h.DisableRequestCrawl, NewHostsPerDay: h.NewHostsPerDay, AccountLimit: h.AccountLimit,
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
	return r.crawler.Begin(with.manager, with.index, positions)
}
