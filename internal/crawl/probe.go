package crawl

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ingest"
)

const (
	probeTimeout = 10 * time.Second
	// maxDescription bounds an answer to describeServer, and its headers, in bytes.
	maxDescription = 64 << 10
)

// prober asks whether a PDS answers at a name.
type prober struct {
	resolver        *net.Resolver
	public, trusted dialer
	tls             *tls.Config
	userAgent       string
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func newProber(o *Options) *prober {
	p := &prober{
		resolver: o.Dial.Resolver, public: o.Dial.DialPublic, trusted: o.Dial.DialTrusted,
		tls: o.Dial.TLS, userAgent: o.UserAgent,
	}
	if p.public == nil {
		d := identity.PublicDialer(probeTimeout)
		d.Resolver = o.Dial.Resolver
		p.public = d.DialContext
	}
	if p.trusted == nil {
		p.trusted = new(net.Dialer).DialContext
	}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	return p
}

// client makes requests whose dials and connections end with ctx: a Transport lets a
// dial go on when the request that wanted it is given up.
func (p *prober) client(ctx context.Context, dial dialer) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				c, err := dial(ctx, network, addr)
				if err == nil {
					context.AfterFunc(ctx, func() { _ = c.Close() })
				}
				return c, err
			},
			TLSClientConfig:        p.tls.Clone(),
			MaxResponseHeaderBytes: maxDescription,
			DisableKeepAlives:      true, // it is asked once
		},
	}
}

// check returns why a host is not one to crawl, nil when it may be dialled.
func (p *prober) check(ctx context.Context, h *asked) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if h.trusted {
		return p.describes(ctx, p.trusted, h.url)
	}
	if err := p.resolves(ctx, h.name); err != nil {
		return err
	}
	return p.describes(ctx, p.public, h.url)
}

// resolves checks that a name has addresses, all of them public. A name that changes
// its mind is refused again by the dialer.
func (p *prober) resolves(ctx context.Context, name string) error {
	// With a dot at the end no search domain is tried.
	addrs, err := p.resolver.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return &answerError{"its name has no address"}
	}
	for _, a := range addrs {
		if !identity.IsPublic(a) {
			return fmt.Errorf("the name resolves to %s: %w", a.Unmap(), identity.ErrNotPublic)
		}
	}
	return nil
}

// describes asks com.atproto.server.describeServer, which every PDS answers.
func (p *prober) describes(ctx context.Context, dial dialer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/xrpc/com.atproto.server.describeServer", nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", p.userAgent)
	resp, err := p.client(ctx, dial).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &answerError{fmt.Sprintf("it answers describeServer with HTTP %d", resp.StatusCode)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDescription+1))
	if err != nil {
		return fmt.Errorf("describeServer: %w", err)
	}
	if len(body) > maxDescription || !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return &answerError{"it does not answer describeServer with a JSON object of at most 64 KiB"}
	}
	return nil
}

// asked is a host as somebody named it.
type asked struct {
	name    string // as the log writes it
	url     string // base URL
	plain   bool   // http
	trusted bool   // an operator named it in a form that only he may
}

func parse(raw string, trusted bool) (*asked, error) {
	name, plain, err := ingest.HostName(raw, trusted)
	if err != nil {
		return nil, &InvalidError{err}
	}
	return newAsked(name, plain, trusted), nil
}

func newAsked(name string, plain, trusted bool) *asked {
	a := &asked{name: name, url: "https://" + name, plain: plain, trusted: trusted}
	if plain {
		a.url = "http://" + name
	}
	return a
}

// parseOperators takes what an operator names: in the form that anybody may use it is
// a host like any other, in another it may be anywhere.
func parseOperators(raw string) (*asked, error) {
	if a, err := parse(raw, false); err == nil {
		return a, nil
	}
	return parse(raw, true)
}
