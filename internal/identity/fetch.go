package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxDocument bounds the body of a DID document, in bytes.
const maxDocument = 64 << 10

var (
	errTooLong  = errors.New("the answer is too long")
	errTooMany  = errors.New("too many requests")
	errNotThere = errors.New("not there")
)

// fetcher asks resolvers for documents. It keeps no documents.
type fetcher struct {
	plc       []*plcHost
	plcHTTP   *http.Client
	webHTTP   *http.Client
	sites     *sites
	timeout   time.Duration // of one request, its answer included
	userAgent string
	now       func() time.Time
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

// fetch returns the document of did, or ErrGone, ErrUnusable or ErrUnavailable. known
// says that there was a document before.
func (f *fetcher) fetch(ctx context.Context, t *ticket, did string, known bool) (id Identity, err error) {
	switch {
	case strings.HasPrefix(did, "did:plc:"):
		err = f.askPLC(ctx, t, &question{
			did: did, path: did, limit: maxDocument, registered: known,
			read: func(body []byte) (err error) {
				id, err = parseDocument(did, body)
				return err
			},
		})
		return id, err
	case strings.HasPrefix(did, "did:web:"):
		return f.fetchWeb(ctx, did)
	}
	return Identity{}, unusable("%s: unsupported DID method", did)
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
		return nil, unavailable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, f.refusal(did, resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, unavailable(fmt.Errorf("read %s: %w", from, err))
	}
	if int64(len(body)) > limit {
		return nil, unusable("%s: %w: more than %d bytes", did, errTooLong, limit)
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
	case code == http.StatusTooManyRequests:
		return &UnavailableError{RetryAfter: retryAfter(resp, f.now()), Err: fmt.Errorf("%w: %w", errTooMany, status)}
	case code == http.StatusRequestTimeout, code >= 500, !web:
		return &UnavailableError{RetryAfter: retryAfter(resp, f.now()), Err: status}
	}
	return unusable("%w", status)
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3) in either form; 0 when it
// says nothing.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	v := resp.Header.Get("Retry-After")
	d := time.Duration(0)
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(s) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
