package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxDocument bounds the body of a DID document, in bytes.
const maxDocument = 64 << 10

// maxRetryAfter bounds how long a resolver may keep us away, whatever it says.
const maxRetryAfter = 10 * time.Minute

// fetcher asks resolvers for documents. It keeps no documents.
type fetcher struct {
	plc       []*plcHost
	plcHTTP   *http.Client
	webHTTP   *http.Client
	timeout   time.Duration
	userAgent string
	now       func() time.Time
	slots     chan struct{} // bounds the requests on their way
}

// plcHost is one PLC directory and when it may be asked again.
type plcHost struct {
	url string // without a trailing slash

	mu        sync.Mutex
	notBefore time.Time
}

func (p *plcHost) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notBefore.Sub(now)
}

func (p *plcHost) hold(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.notBefore) {
		p.notBefore = until
	}
}

// sameHost follows redirects within a host only: a resolver that sends us elsewhere
// has not answered.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= 3 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

func newHTTP(dial func(context.Context, string, string) (net.Conn, error), tls *tls.Config, perHost int) *http.Client {
	return &http.Client{
		CheckRedirect: sameHost,
		Transport: &http.Transport{
			DialContext:            dial,
			TLSClientConfig:        tls,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: maxDocument,
			MaxIdleConns:           2 * perHost,
			MaxIdleConnsPerHost:    perHost,
			IdleConnTimeout:        30 * time.Second,
			ForceAttemptHTTP2:      true,
		},
	}
}

// fetch returns the document of did, or ErrGone, ErrUnusable or ErrUnavailable.
func (f *fetcher) fetch(ctx context.Context, did string) (Identity, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return Identity{}, &UnavailableError{Err: context.Cause(ctx)}
	}
	switch {
	case strings.HasPrefix(did, "did:plc:"):
		return f.fetchPLC(ctx, did)
	case strings.HasPrefix(did, "did:web:"):
		return f.fetchWeb(ctx, did)
	}
	return Identity{}, unusable("%s: unsupported DID method", did)
}

// fetchPLC asks the directories in order; the first definite answer counts.
func (f *fetcher) fetchPLC(ctx context.Context, did string) (Identity, error) {
	var errs []error
	var soonest time.Duration
	for _, p := range f.plc {
		if d := p.wait(f.now()); d > 0 {
			errs = append(errs, fmt.Errorf("%s: asked to wait %v more", p.url, d.Round(time.Second)))
			soonest = earlier(soonest, d)
			continue
		}
		id, err := f.ask(ctx, f.plcHTTP, did, p.url+"/"+did)
		if err == nil || errors.Is(err, ErrGone) || errors.Is(err, ErrUnusable) {
			return id, err
		}
		var ue *UnavailableError
		if errors.As(err, &ue) && ue.RetryAfter > 0 {
			p.hold(f.now().Add(ue.RetryAfter))
			soonest = earlier(soonest, ue.RetryAfter)
		}
		errs = append(errs, err)
	}
	return Identity{}, &UnavailableError{RetryAfter: soonest, Err: errors.Join(errs...)}
}

func earlier(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// fetchWeb reads https://<name>/.well-known/did.json (the did page allows no path
// and no port). A name that is not there, or is not public, is a definite answer.
func (f *fetcher) fetchWeb(ctx context.Context, did string) (Identity, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(did, "did:web:"))
	if err != nil || strings.ContainsAny(name, "/:@?#") {
		return Identity{}, unusable("%s is not a plain hostname", did)
	}
	id, err := f.ask(ctx, f.webHTTP, did, "https://"+name+"/.well-known/did.json")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return Identity{}, fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, ErrNotPublic):
		return Identity{}, unusable("%s: %w", did, err)
	}
	return id, err
}

func (f *fetcher) ask(ctx context.Context, c *http.Client, did, from string) (Identity, error) {
	body, err := f.get(ctx, c, did, from, maxDocument)
	if err != nil {
		return Identity{}, err
	}
	id, err := parseDocument(did, body)
	if err != nil && !errors.Is(err, ErrUnusable) {
		if c == f.webHTTP {
			return id, unusable("%w", err)
		}
		// A directory that serves something else is out of order; the next may not be.
		return id, &UnavailableError{Err: fmt.Errorf("%s: %w", from, err)}
	}
	return id, err
}

// get fetches a body of at most limit bytes.
func (f *fetcher) get(ctx context.Context, c *http.Client, did, from string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, unusable("%s: %w", did, err)
	}
	req.Header.Set("User-Agent", f.userAgent)
	req.Header.Set("Accept", "application/did+ld+json, application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, &UnavailableError{Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, f.refusal(did, resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, &UnavailableError{Err: fmt.Errorf("read %s: %w", from, err)}
	}
	if int64(len(body)) > limit {
		return nil, unusable("%s: answer has more than %d bytes", did, limit)
	}
	return body, nil
}

// refusal says what a status other than 200 means.
func (f *fetcher) refusal(did string, resp *http.Response) error {
	web := strings.HasPrefix(did, "did:web:")
	status := fmt.Errorf("GET %s: HTTP %d", resp.Request.URL, resp.StatusCode)
	switch code := resp.StatusCode; {
	case code == http.StatusGone && !web:
		return fmt.Errorf("%w: %w", ErrTombstone, status)
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: %w", ErrGone, status)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500, !web:
		return &UnavailableError{RetryAfter: retryAfter(resp, f.now()), Err: status}
	}
	return unusable("%w", status)
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3) in either form.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	v := resp.Header.Get("Retry-After")
	d := time.Duration(0)
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(s) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	if d <= 0 && resp.StatusCode == http.StatusTooManyRequests {
		d = time.Second
	}
	return min(max(d, 0), maxRetryAfter)
}
