package crawl

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/operator"
)

// Reader reads hosts; *ingest.Manager is one.
type Reader interface {
	AddHost(rawURL string, trusted bool) error
	TryHost(ctx context.Context, rawURL string, trusted bool) error
	DropHost(name string, cause error) bool
	WakeHost(name string) bool
	KickHost(name string, cause error) bool
	NewRates(name string)
	Hosts() []ingest.HostInfo
	Host(name string) (ingest.HostInfo, bool)
}

// Options of a Crawler. Decisions must be set.
type Options struct {
	Decisions *operator.Journal

	Hosts          []string // of the operator's own word, as URLs (--host)
	TrustedDomains []string // names, or *.suffix: no limits
	PullFrom       string   // base URL of a relay whose listHosts to take, "" for none
	Disabled       bool     // strangers may ask for nothing
	NewHostsPerDay int64    // by requestCrawl, unless an operator decided otherwise
	AccountLimit   int64    // of a host that is not trusted; 0 for none

	Dial       ingest.DialOptions // how hosts are reached
	UserAgent  string
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Now        func() time.Time
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.UserAgent == "" {
		o.UserAgent = "cistern"
	}
}

// Crawler knows which hosts are crawled. It is safe for concurrent use.
type Crawler struct {
	opts    Options
	log     *slog.Logger
	probe   *prober
	quota   *quota
	metrics *metrics
	puller  *http.Client
	trusted map[string]*asked // Options.Hosts, by name

	// obeying is held while hosts are had read or dropped by what was decided, so that of
	// two decisions the later one stands.
	obeying sync.Mutex

	slots   chan struct{} // held to validate a host
	waiting chan struct{} // held to wait for a slot

	mu     sync.Mutex
	known  known
	trying map[string]chan struct{} // hosts that are being validated; closed at the end
	run    *run                     // nil while no hosts are read
}

// New returns a Crawler that knows of no host but the configured ones.
func New(opts Options) (*Crawler, error) {
	opts.EnsureDefaults()
	opts.TrustedDomains = slices.Clone(opts.TrustedDomains)
	for i, d := range opts.TrustedDomains {
		opts.TrustedDomains[i] = strings.ToLower(d)
	}
	c := &Crawler{
		opts:    opts,
		log:     opts.Logger,
		probe:   newProber(&opts),
		puller:  &http.Client{Timeout: pullWithin},
		trusted: make(map[string]*asked),
		slots:   make(chan struct{}, validations),
		waiting: make(chan struct{}, validations+validationQueue),
		known:   known{m: make(map[string]*entry)},
		trying:  make(map[string]chan struct{}),
	}
	for _, raw := range opts.Hosts {
		a, err := parse(raw, true)
		if err != nil {
			return nil, fmt.Errorf("--host %s: %w", raw, err)
		}
		c.trusted[a.name] = a
	}
	var err error
	if c.quota, err = newQuota(); err != nil {
		return nil, err
	}
	c.metrics = newMetrics(opts.Registerer, c)
	return c, nil
}

// run is one stretch of reading.
type run struct {
	reader Reader
	store  Store
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	dirty  chan struct{} // holds one call to write
}

// Begin has the hosts read that are to be crawled: those of the configuration, those
// that the store remembers and those that the log has events of, which positions are.
// end takes the reader back; call it before the reader is stopped.
func (c *Crawler) Begin(reader Reader, store Store, positions []ingest.Position) (end func(), err error) {
	crawls, err := store.Crawls()
	if err != nil {
		return nil, fmt.Errorf("which hosts are crawled: %w", err)
	}
	r := &run{reader: reader, store: store, dirty: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	c.mu.Lock()
	c.recall(crawls, positions)
	c.run = r
	c.mu.Unlock()
	c.obeying.Lock()
	err = c.readAll(r)
	c.obeying.Unlock()
	if err != nil {
		c.end(r)
		return nil, err
	}
	c.log.Info("hosts are crawled", "hosts", len(reader.Hosts()))
	r.wg.Go(func() { c.write(r) })
	if c.opts.PullFrom != "" {
		r.wg.Go(func() { c.pull(r) })
	}
	r.call()
	return func() { c.end(r) }, nil
}

func (c *Crawler) end(r *run) {
	c.mu.Lock()
	c.run = nil
	c.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

// current is the present run, nil when no hosts are read.
func (c *Crawler) current() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// recall adds what a store, the configuration and the log know of. What this process
// knows already is newer. The Crawler is locked.
func (c *Crawler) recall(crawls []index.Crawl, positions []ingest.Position) {
	now := c.opts.Now()
	for _, stored := range crawls {
		if c.known.m[stored.Name] == nil {
			c.known.add(stored)
		}
	}
	for name, a := range c.trusted {
		e := c.known.m[name]
		if e == nil {
			e = c.known.add(index.Crawl{Name: name, Requested: now})
		}
		e.By, e.Plain = index.CrawlByOperator, a.plain
	}
	for _, p := range positions {
		e := c.known.m[p.Host]
		if e == nil {
			e = c.known.add(index.Crawl{Name: p.Host, By: index.CrawlByLog, Requested: now})
		}
		e.seq = p.Floor
	}
	var came []time.Time
	for _, e := range c.known.order {
		e.dirty = true // this store may be a new one
		if e.By == index.CrawlByRequest && now.Sub(e.Requested) < day {
			came = append(came, e.Requested)
		}
	}
	c.quota.remember(came)
}

// readAll has all known hosts read that are not banned: first the configured ones,
// then the others, those first that were connected last, so that the dead do not hold
// up the living.
func (c *Crawler) readAll(r *run) error {
	for name, a := range c.trusted {
		if by, banned := c.opts.Decisions.Banned(name); banned {
			c.log.Warn("a configured host is banned and not crawled", "host", name, "banned", by)
			continue
		}
		if err := r.reader.AddHost(a.url, true); err != nil {
			return fmt.Errorf("--host %s: %w", a.url, err)
		}
	}
	c.mu.Lock()
	hosts := make([]entry, 0, len(c.known.order))
	for _, e := range c.known.order {
		hosts = append(hosts, *e)
	}
	c.mu.Unlock()
	slices.SortStableFunc(hosts, func(a, b entry) int { return b.Connected.Compare(a.Connected) })
	for i := range hosts {
		e := &hosts[i]
		if _, banned := c.opts.Decisions.Banned(e.Name); banned || c.trusted[e.Name] != nil {
			continue
		}
		a := e.asked()
		if err := r.reader.AddHost(a.url, a.trusted); err != nil {
			c.log.Debug("a known host is not crawled", "host", e.Name, "err", err) // --host named it once
		}
	}
	return nil
}

// write writes what changed to the run's store until the run ends, and then what is
// left.
func (c *Crawler) write(r *run) {
	for {
		select {
		case <-r.dirty:
			c.writeDirty(r.ctx, r)
		case <-r.ctx.Done():
			c.writeLast(r)
			return
		}
	}
}

// writeLast writes what is left at the end of a run, whose store is still there.
func (c *Crawler) writeLast(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.writeDirty(ctx, r)
}

func (c *Crawler) writeDirty(ctx context.Context, r *run) {
	for _, e := range c.takeDirty() {
		if err := r.store.PutCrawl(ctx, &e); err != nil {
			if r.ctx.Err() == nil {
				c.log.Warn("which hosts are crawled could not be remembered", "err", err)
			}
			return // all is written again at the next beginning
		}
	}
}

func (c *Crawler) takeDirty() []index.Crawl {
	c.mu.Lock()
	defer c.mu.Unlock()
	var dirty []index.Crawl
	for _, e := range c.known.order {
		if e.dirty && e.kept() {
			e.dirty = false
			dirty = append(dirty, e.Crawl)
		}
	}
	return dirty
}

// call has the run's writer look for what changed.
func (r *run) call() {
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}
