package ingest

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/cistern-archive/cistern/internal/identity"
)

// address is where a host is and what it may be.
type address struct {
	name    string // as the log writes it: hostname, with port when not the default
	secure  bool
	trusted bool
}

var (
	errNotHostname = errors.New("not a public hostname")
	errNotTrusted  = errors.New("only https on its default port is allowed here")
)

// parseHost reads a base URL or a bare hostname. What only an operator may name
// (http, a port, an address, a name without a dot) needs trusted.
func parseHost(raw string, trusted bool) (address, error) {
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return address{}, err
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return address{}, errors.New("a host is a scheme, a hostname and perhaps a port, and nothing else")
	}
	a := address{trusted: trusted, secure: u.Scheme == "https" || u.Scheme == "wss"}
	if a.name, err = identity.HostOf(raw); err != nil {
		return address{}, err
	}
	if trusted {
		return a, nil
	}
	if !a.secure || strings.ContainsAny(a.name, ":[") {
		return address{}, errNotTrusted
	}
	if _, err := netip.ParseAddr(a.name); err == nil {
		return address{}, fmt.Errorf("%w: an IP address", errNotHostname)
	}
	if _, err := syntax.ParseHandle(a.name); err != nil { // the syntax of a DNS name with a dot
		return address{}, fmt.Errorf("%w: %w", errNotHostname, err)
	}
	return a, nil
}

// CheckHost says what is wrong with a host as AddHost would take it.
func CheckHost(rawURL string, trusted bool) error {
	_, err := parseHost(rawURL, trusted)
	return err
}

func (a *address) subscribeURL(cursor uint64) string {
	scheme := "ws"
	if a.secure {
		scheme = "wss"
	}
	return fmt.Sprintf("%s://%s/xrpc/com.atproto.sync.subscribeRepos?cursor=%d", scheme, a.name, cursor)
}

func (a *address) repoStatusURL(did string) string {
	scheme := "http"
	if a.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/xrpc/com.atproto.sync.getRepoStatus?did=%s", scheme, a.name, url.QueryEscape(did))
}
