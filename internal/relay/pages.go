package relay

import (
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/dashboard"
	"github.com/cistern-archive/cistern/segmentlog"
)

// counted is what became durable since the start.
type counted struct{ events, bytes atomic.Uint64 }

// commits has every group commit counted too.
func (c *counted) commits(e *segmentlog.Events) {
	next := e.Commit
	e.Commit = func(i segmentlog.CommitInfo) {
		c.events.Add(uint64(i.Events))
		c.bytes.Add(uint64(i.Bytes))
		next(i)
	}
}

// openPages makes the pages for people.
func (r *Relay) openPages() {
	r.pages = dashboard.New(dashboard.Sources{
		Version: config.Version, Stream: r.position.Describe, Counts: r.counts,
		Hosts: r.crawler.Hosts, Bans: r.crawler.DomainBans, PerDay: r.crawler.NewHostsPerDay,
		Consumers: r.Consumers, Takedowns: r.Takedowns, Ledger: r.ledger.Query,
		ShipLag: r.archive.shipper.Lag, Disk: r.archive.diskUse, Now: time.Now,
	})
}

func (r *Relay) counts() dashboard.Counts {
	c := dashboard.Counts{Events: r.counted.events.Load(), Bytes: r.counted.bytes.Load()}
	c.Served, c.ServedBytes = r.consumers.server.Served()
	_, c.Dropped = r.ledger.Totals()
	return c
}
