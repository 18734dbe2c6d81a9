package crawl

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/ingest"
)

const (
	// validations bounds the hosts that are being validated, and validationQueue the
	// requests that wait for it.
	validations     = 16
	validationQueue = 64
	// validateWithin bounds one validation, the wait to dial included.
	validateWithin = 45 * time.Second
	// busyFor is how long to stay away when the queue is full.
	busyFor = 30 * time.Second
)

// Request takes a stranger's wish that a host be crawled. It returns once the host is
// read, or with the reason why not: *InvalidError, *BannedError, *LimitError,
// *UnreachableError, ErrDisabled or ErrNotReading. For a host that is known it only
// ends the wait until the host is dialled again.
func (c *Crawler) Request(ctx context.Context, rawHost string, from netip.Addr) error {
	err := c.request(ctx, rawHost, from)
	c.metrics.requests.WithLabelValues(outcome(err)).Inc()
	return err
}

func (c *Crawler) request(ctx context.Context, rawHost string, from netip.Addr) error {
	if c.opts.Disabled {
		return ErrDisabled
	}
	a, err := parse(rawHost, false)
	if err != nil {
		return err
	}
	perDay := c.newHostsPerDay()
	return c.ask(ctx, a, index.CrawlByRequest, func() (func(bool), error) {
		return c.quota.take(from, perDay, c.opts.Now())
	})
}

// Ask takes an operator's wish that a host be crawled: like Request, without limits,
// and with http, ports and private addresses if he names them.
func (c *Crawler) Ask(ctx context.Context, rawHost string) error {
	a, err := parseOperators(rawHost)
	if err != nil {
		return err
	}
	return c.ask(ctx, a, index.CrawlByOperator, func() (func(bool), error) { return func(bool) {}, nil })
}

// ask validates a host and has it read. allow says whether a host that is not known
// may be validated, and gets to know whether it came.
func (c *Crawler) ask(ctx context.Context, a *asked, by index.CrawlSource, allow func() (func(bool), error)) error {
	ctx, cancel := context.WithTimeout(ctx, validateWithin)
	defer cancel()
	for {
		if subject, banned := c.opts.Decisions.Banned(a.name); banned {
			return &BannedError{a.name, subject}
		}
		r := c.current()
		if r == nil {
			return ErrNotReading
		}
		if r.reader.WakeHost(a.name) {
			return nil
		}
		select {
		case c.waiting <- struct{}{}:
		default:
			return &LimitError{"too many hosts are being validated", busyFor}
		}
		another, err := c.askOnce(ctx, r, a, by, allow)
		<-c.waiting
		if !another {
			return err
		}
	}
}

// askOnce validates the host unless somebody does already: then it waits for him, and
// another says to look again at what came of it. It holds a place in the queue.
func (c *Crawler) askOnce(ctx context.Context, r *run, a *asked, by index.CrawlSource, allow func() (func(bool), error)) (another bool, err error) {
	c.mu.Lock()
	other := c.trying[a.name]
	if other == nil {
		c.trying[a.name] = make(chan struct{})
	}
	c.mu.Unlock()
	if other != nil {
		select {
		case <-other:
			return true, nil
		case <-ctx.Done():
			return false, &UnreachableError{a.name, ctx.Err()}
		}
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.trying[a.name])
		delete(c.trying, a.name)
	}()
	done, err := allow()
	if err != nil {
		return false, err
	}
	err = c.validate(ctx, r, a, by)
	done(err == nil)
	return false, err
}

// validate looks whether a PDS answers, dials it, and remembers it.
func (c *Crawler) validate(ctx context.Context, r *run, a *asked, by index.CrawlSource) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return &UnreachableError{a.name, ctx.Err()}
	}
	err := c.probe.check(ctx, a)
	if err == nil {
		err = r.reader.TryHost(ctx, a.url, a.trusted)
	}
	switch {
	case errors.Is(err, ingest.ErrStopped) || r.ctx.Err() != nil:
		return ErrNotReading
	case err != nil:
		return &UnreachableError{a.name, err}
	}
	c.remember(a, by)
	// A ban that came meanwhile may have found nothing to end.
	if subject, banned := c.opts.Decisions.Banned(a.name); banned {
		r.reader.DropHost(a.name, errBanned)
		return &BannedError{a.name, subject}
	}
	c.log.Info("a new host is crawled", "host", a.name, "by", by)
	return nil
}

// remember makes a host known.
func (c *Crawler) remember(a *asked, by index.CrawlSource) {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known.m[a.name]
	if e == nil {
		e = c.known.add(index.Crawl{Name: a.name, By: by, Plain: a.plain, Requested: now})
	}
	e.Connected, e.LastError, e.dirty = now.UTC(), "", true
	if c.run != nil {
		c.run.call()
	}
}

// HostConnected notes that a known host is connected. It is ingest's to call.
func (c *Crawler) HostConnected(host string) {
	now := c.opts.Now()
	c.change(host, func(e *entry) { e.Connected, e.LastError = now.UTC(), "" })
}

// HostFailed notes why a known host is not connected.
func (c *Crawler) HostFailed(host string, err error) {
	c.change(host, func(e *entry) { e.LastError = clip(err.Error()) })
}

func (c *Crawler) change(host string, f func(*entry)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known.m[host]
	if e == nil {
		return
	}
	f(e)
	e.dirty = true
	if c.run != nil {
		c.run.call()
	}
}
