package identity

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/internal/signing"
)

// How long documents and answers are believed.
const (
	freshFor    = 24 * time.Hour
	staleFor    = 7 * 24 * time.Hour // more, while the resolver fails
	negativeFor = 30 * time.Second   // ErrGone and ErrUnusable
	failedFor   = 30 * time.Second   // a failed refresh of a document that is usable
)

// How long one waits for a resolver who knows a document that will do.
const (
	lookupPatience  = 2 * time.Second
	refreshPatience = 10 * time.Second
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

// Resolver resolves DIDs through a cache in memory, and one on disk beneath it. It is
// safe for concurrent use.
type Resolver struct {
	opts    Options
	start   time.Time // what the cache counts its times from
	cache   *cache
	store   *store // nil without one
	fetch   *fetcher
	flights flights[Identity]
	again   *again
	audits  audits
	metrics *metrics
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// New returns a Resolver; Close it. An error is of the options: a store that cannot
// be opened is done without.
func New(opts Options) (*Resolver, error) {
	opts.EnsureDefaults()
	r := &Resolver{opts: opts, start: opts.Now(), cache: newCache(opts.CacheBytes)}
	gates := new(sync.Mutex)
	r.flights.gates, r.flights.run = gates, r.ask
	r.audits.flights.gates, r.audits.flights.run = gates, r.askAudit
	r.fetch = &fetcher{
		plcHTTP:   newHTTP((&net.Dialer{Timeout: opts.Timeout, KeepAlive: 30 * time.Second}).DialContext, nil, opts.Concurrent),
		webHTTP:   newHTTP(opts.WebDial, opts.WebTLS, 1),
		sites:     newSites(),
		timeout:   opts.Timeout,
		userAgent: opts.UserAgent,
		now:       opts.Now,
	}
	var err error
	if r.fetch.plc, err = newDirectories(&opts, gates); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.store = openStore(&opts)
	r.again = newAgain(r.askAgain)
	r.metrics = newMetrics(opts.Registerer, r)
	for _, p := range r.fetch.plc {
		r.wg.Go(func() { p.gate.run(r.ctx) })
	}
	r.wg.Go(func() { r.again.run(r.ctx) })
	return r, nil
}

// Close ends requests on their way, waits for them, and writes to the store what it
// does not have yet.
func (r *Resolver) Close() {
	r.cancel()
	r.flights.close()
	r.audits.flights.close()
	r.wg.Wait()
	r.store.close()
	r.fetch.plcHTTP.CloseIdleConnections()
	r.fetch.webHTTP.CloseIdleConnections()
}

// now is the time since the resolver started: in production by the monotonic clock,
// which nobody sets.
func (r *Resolver) now() time.Duration { return r.opts.Now().Sub(r.start) }

// Cached answers from memory alone. When ok is false the answer needs Lookup;
// otherwise id and err are what Lookup would return, an ErrGone or ErrUnusable
// included.
func (r *Resolver) Cached(did string) (id Identity, ok bool, err error) {
	now := r.now()
	k, found := r.cache.get(did, now)
	if !found {
		return Identity{}, false, nil
	}
	id, ok = r.believe(&k, now)
	if !ok {
		return Identity{}, false, nil
	}
	r.metrics.hits.Inc()
	return id, true, k.err
}

// believe says what is known when nobody need, or should, be asked.
func (r *Resolver) believe(k *known, now time.Duration) (Identity, bool) {
	if k.fresh(now) {
		return r.identity(k, false), true
	}
	if k.usable(now) && now < k.retryAt {
		return r.identity(k, true), true
	}
	return Identity{}, false
}

func (r *Resolver) identity(k *known, stale bool) Identity {
	id := k.id
	id.Fetched, id.Stale = r.start.Add(k.asked), stale
	return id
}

// recall is what memory or the store knows of did; what the store knows is in memory
// afterwards.
func (r *Resolver) recall(did string) (known, bool) {
	now := r.now()
	if k, ok := r.cache.get(did, now); ok {
		return k, true
	}
	d, ok := r.store.get(did)
	if !ok {
		return known{}, false
	}
	k := known{
		id:    Identity{DID: did, Key: d.key, Host: d.host, Hash: d.hash},
		asked: now - d.age, doubted: d.doubted,
	}
	if !k.usable(now) {
		return known{}, false
	}
	r.metrics.stored.Inc()
	return r.cache.add(did, &k, now), true
}

// Lookup returns the identity of did, from memory or the store while that is fresh.
// Its error is an ErrGone, ErrUnusable (with what the document did have) or
// ErrUnavailable. When the resolver fails, or takes more than two seconds, and a
// usable document is known, that is returned with Stale set.
func (r *Resolver) Lookup(ctx context.Context, did string) (Identity, error) {
	if id, ok, err := r.Cached(did); ok {
		return id, err
	}
	k, ok := r.recall(did)
	if ok {
		if id, ok := r.believe(&k, r.now()); ok {
			return id, k.err
		}
	}
	r.metrics.misses.Inc()
	fl, err := r.flights.join(did, forLookup, false)
	return r.settle(ctx, did, fl, err, lookupPatience)
}

// Refresh asks the resolver whatever is known, and answers as Lookup does. When the
// resolver fails, or takes more than ten seconds, and a usable document is known, that
// is returned with Stale set. Callers bound how often they refresh one DID.
func (r *Resolver) Refresh(ctx context.Context, did string) (Identity, error) {
	r.recall(did)
	r.metrics.refreshes.Inc()
	fl, err := r.flights.join(did, forRefresh, true)
	return r.settle(ctx, did, fl, err, refreshPatience)
}

// Announced is Refresh after an #identity, and says whether the document changed from
// one that was known. A resolver may be behind the host that announced the change: an
// unchanged document is asked for again in the background, after 5 s and after 60 s.
func (r *Resolver) Announced(ctx context.Context, did string) (id Identity, changed bool, err error) {
	before, had := r.recall(did)
	id, err = r.Refresh(ctx, did)
	switch {
	case errors.Is(err, ErrUnavailable) || id.Stale:
	case had && before.err == nil && before.id.Hash != id.Hash:
		return id, true, err
	default:
		r.again.add(did, id.Hash)
	}
	return id, false, err
}

// settle waits for a request, for as long as patience when there is a document that
// will do.
func (r *Resolver) settle(ctx context.Context, did string, fl *flight[Identity], err error, patience time.Duration) (Identity, error) {
	if err != nil { // it was not even asked
		return r.insteadOf(did, Identity{}, err)
	}
	now := r.now()
	if k, ok := r.cache.get(did, now); !ok || !k.usable(now) {
		return fl.wait(ctx)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-fl.done:
		return fl.answer, fl.err
	case <-ctx.Done():
		return Identity{}, unavailable(context.Cause(ctx))
	case <-timer.C:
		return r.insteadOf(did, Identity{}, unavailable(errSlow))
	}
}

var errSlow = errors.New("no answer yet")

// insteadOf is what there is in the place of an answer: a document that is known,
// which then counts as stale for a while, or else the failure.
func (r *Resolver) insteadOf(did string, id Identity, err error) (Identity, error) {
	now := r.now()
	k, ok := r.cache.get(did, now)
	if !ok || !k.usable(now) {
		return id, err
	}
	wait := failedFor
	var ue *UnavailableError
	if errors.As(err, &ue) {
		wait = max(wait, ue.RetryAfter)
	}
	r.cache.doubt(did, now+wait)
	return r.identity(&k, true), nil
}

// ask fetches and remembers; it is what a flight runs. A failure leaves what was
// known, to be used as stale: we asked because it was too old, or because something
// said that it had changed.
func (r *Resolver) ask(did string, t *ticket) (Identity, error) {
	before, had := r.cache.get(did, r.now())
	began := time.Now()
	id, err := r.fetch.fetch(r.ctx, t, did, had && before.err == nil)
	r.metrics.fetched(did, err, time.Since(began))
	if errors.Is(err, ErrUnavailable) {
		r.opts.Logger.Debug("identity unavailable", "did", did, "err", err)
		return r.insteadOf(did, id, err)
	}
	err = final(err)
	now := r.now()
	k := known{id: id, err: err, asked: now}
	k.id.DID = did
	r.cache.put(did, &k, now)
	if err == nil {
		r.store.put(did, &k.id)
	} else {
		r.store.forget(did)
	}
	return r.identity(&k, false), err
}

// askAgain asks for a document that an #identity said had changed, in the background.
func (r *Resolver) askAgain(did string, was [32]byte) {
	if k, ok := r.cache.get(did, r.now()); ok && k.id.Hash != was {
		r.again.drop(did) // it has changed meanwhile
		return
	}
	r.metrics.again.Inc()
	_, _ = r.flights.join(did, forNobody, true) // the answer is remembered; without one nothing changes
}
