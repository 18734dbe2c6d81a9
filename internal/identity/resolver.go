package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/internal/signing"
)

// DefaultPLC is the directory that everyone uses.
const DefaultPLC = "https://plc.directory"

// How long documents and answers are believed.
const (
	freshFor    = 24 * time.Hour
	staleFor    = 7 * 24 * time.Hour // more, while the resolver fails
	negativeFor = 30 * time.Second   // ErrGone and ErrUnusable
	failedFor   = 30 * time.Second   // a failed refresh of a document that is usable
)

// Identity is what a relay needs of a DID document.
type Identity struct {
	DID     string
	Key     *signing.Key // #atproto, parsed once; shared, do not change
	Host    string       // of #atproto_pds, as the log writes it; see HostOf
	Hash    [32]byte     // changes when the document's content does
	Fetched time.Time
	// Stale: the resolver fails, and this is the last document it gave; from Cached
	// and Lookup only when that is past its fresh time.
	Stale bool
}

// Options of a Resolver. The zero value is usable.
type Options struct {
	PLCHosts   []string // base URLs, asked in order; default DefaultPLC
	UserAgent  string
	CacheBytes int64         // budget of the cache; default 256 MiB
	Concurrent int           // requests on their way at once; default 64
	Timeout    time.Duration // of one request; default 5 s
	Now        func() time.Time
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Logger     *slog.Logger

	// WebDial and WebTLS replace how did:web is reached, for tests. The default reaches
	// public addresses only.
	WebDial func(ctx context.Context, network, addr string) (net.Conn, error)
	WebTLS  *tls.Config
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if len(o.PLCHosts) == 0 {
		o.PLCHosts = []string{DefaultPLC}
	}
	if o.UserAgent == "" {
		o.UserAgent = "cistern"
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.Concurrent == 0 {
		o.Concurrent = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WebDial == nil {
		o.WebDial = PublicDialer(o.Timeout).DialContext
	}
}

// Resolver resolves DIDs through a cache in memory. It is safe for concurrent use.
type Resolver struct {
	opts    Options
	cache   *cache
	fetch   *fetcher
	flights flights
	audits  audits
	metrics *metrics
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
}

// New returns a Resolver; Close it.
func New(opts Options) (*Resolver, error) {
	opts.EnsureDefaults()
	r := &Resolver{opts: opts, cache: newCache(opts.CacheBytes)}
	r.fetch = &fetcher{
		plcHTTP:   newHTTP((&net.Dialer{Timeout: opts.Timeout, KeepAlive: 30 * time.Second}).DialContext, nil, opts.Concurrent),
		webHTTP:   newHTTP(opts.WebDial, opts.WebTLS, 1),
		timeout:   opts.Timeout,
		userAgent: opts.UserAgent,
		now:       opts.Now,
		slots:     make(chan struct{}, opts.Concurrent),
	}
	for _, h := range opts.PLCHosts {
		u, err := url.Parse(h)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("PLC host %q is not an http or https URL", h)
		}
		r.fetch.plc = append(r.fetch.plc, &plcHost{url: strings.TrimRight(h, "/")})
	}
	r.metrics = newMetrics(opts.Registerer, r.cache)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Close ends requests on their way and waits for them.
func (r *Resolver) Close() {
	r.cancel()
	r.flights.close()
	r.fetch.plcHTTP.CloseIdleConnections()
	r.fetch.webHTTP.CloseIdleConnections()
}

// Cached answers from memory alone. When ok is false the answer needs Lookup;
// otherwise id and err are what Lookup would return, an ErrGone or ErrUnusable
// included.
func (r *Resolver) Cached(did string) (id Identity, ok bool, err error) {
	now := r.opts.Now()
	e, found := r.cache.get(did, now)
	if !found {
		return Identity{}, false, nil
	}
	age := now.Sub(e.asked)
	switch {
	case e.err != nil && age < negativeFor, e.err == nil && age < freshFor && !e.dirty:
	case now.Before(e.retryAt) && e.err == nil && age < freshFor+staleFor:
		e.id.Stale = true
	default:
		return Identity{}, false, nil
	}
	r.metrics.hits.Inc()
	return e.id, true, e.err
}

// Lookup returns the identity of did, from memory while that is fresh. Its error is
// an ErrGone, ErrUnusable (with what the document did have) or ErrUnavailable.
func (r *Resolver) Lookup(ctx context.Context, did string) (Identity, error) {
	if id, ok, err := r.Cached(did); ok {
		return id, err
	}
	r.metrics.misses.Inc()
	return r.flights.join(ctx, did, false, func() (Identity, error) { return r.ask(did) })
}

// Refresh asks the resolver whatever is known, and answers as Lookup does. When the
// resolver fails and a usable document is known, that is returned with Stale set.
// Callers bound how often they refresh one DID.
func (r *Resolver) Refresh(ctx context.Context, did string) (Identity, error) {
	r.metrics.refreshes.Inc()
	return r.flights.join(ctx, did, true, func() (Identity, error) { return r.ask(did) })
}

// ask fetches and remembers. A failure leaves what was known, to be used as stale:
// we asked because it was too old, or because something said that it had changed.
func (r *Resolver) ask(did string) (Identity, error) {
	began := time.Now()
	id, err := r.fetch.fetch(r.ctx, did)
	r.metrics.fetched(did, err, time.Since(began))
	now := r.opts.Now()
	id.DID, id.Fetched = did, now
	if !errors.Is(err, ErrUnavailable) {
		r.cache.put(did, entry{id: id, err: err, asked: now, used: now})
		return id, err
	}
	r.opts.Logger.Debug("identity unavailable", "did", did, "err", err)
	e, known := r.cache.get(did, now)
	if !known || e.err != nil || now.Sub(e.asked) >= freshFor+staleFor {
		return id, err
	}
	wait := failedFor
	var ue *UnavailableError
	if errors.As(err, &ue) && ue.RetryAfter > 0 {
		wait = ue.RetryAfter
	}
	e.retryAt, e.dirty = now.Add(wait), true
	r.cache.put(did, e)
	e.id.Stale = true
	return e.id, nil
}
