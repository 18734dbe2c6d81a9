package relay

import (
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"sync"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
	"github.com/cistern-archive/cistern/segmentlog"
)

// smallRing is the memory of a ring where the configuration names none, as in tests.
const smallRing = 64 << 20

// consumers is what the event stream is served from.
type consumers struct {
	source     replay.Source
	suppressed *replay.Suppressed
	known      chan struct{} // closed once suppressed is complete
	once       sync.Once
	server     *replay.Server
}

// commit takes a group commit: first what it says about accounts, then its events.
func (c *consumers) commit(b segmentlog.Batch) {
	c.suppressed.Follow(b)
	c.source.Ring.Publish(b)
}

// openSource begins the ring at the tip of the log, which is known once that is open;
// nothing commits before ingest starts.
func (c *consumers) openSource(log *segmentlog.Log, cfg *config.Replay) {
	ring := cfg.RingBytes
	if ring == 0 {
		ring = smallRing
	}
	c.source = replay.Source{Log: log, Ring: replay.NewRing(int(ring), log.Tip()), Blocks: replay.NewBlocks(log, int(cfg.BlocksBytes))}
	c.suppressed, c.known = replay.NewSuppressed(), make(chan struct{})
}

func (r *Relay) openConsumers() {
	cfg := &r.cfg.Replay
	r.consumers.server = replay.NewServer(replay.Options{
		Source: r.consumers.source, Suppressed: r.consumers.suppressed, Ready: r.consumers.known,
		Logger: r.log, Registerer: r.reg, ServerHeader: config.ServerName(),
		ClientAddr:   func(q *http.Request) netip.Addr { return xrpc.ClientAddr(q, r.cfg.Crawl.Proxies) },
		MaxConsumers: cfg.MaxConsumers, MaxPerAddress: cfg.MaxPerAddress, RateLimit: cfg.RateBytes, StallTimeout: cfg.StallTimeout,
	})
}

// survey walks all accounts of an index that has caught up with the log: it counts the
// accounts of each host, and the first time it finds those whose events are not served now.
// Nothing may be appended meanwhile. From then on the commits tell.
func (c *consumers) survey(ctx context.Context, x *index.Index) (map[string]int64, error) {
	counts := make(map[string]int64)
	err := c.suppressed.Fill(func(add func(did []byte)) error {
		var mu sync.Mutex
		return x.Accounts(ctx, runtime.GOMAXPROCS(0), func(did []byte, a *index.Account) error {
			inactive := accounts.Account{Upstream: a.Upstream, Local: a.Local}.Effective().Inactive
			mu.Lock()
			defer mu.Unlock()
			if a.Set.Has(index.HostField) {
				counts[a.Host]++
			}
			if inactive {
				add(did)
			}
			return nil
		})
	})
	if err == nil {
		c.once.Do(func() { close(c.known) })
	}
	return counts, err
}

// close gives the memory up, after the server was shut down and the log closed.
func (c *consumers) close() {
	if c.source.Log != nil {
		c.source.Blocks.Close()
		c.source.Ring.Close()
	}
}
