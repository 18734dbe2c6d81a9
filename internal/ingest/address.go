package ingest

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
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
		return a, checkName(u.Hostname(), u.Port())
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

// checkName takes what an operator may name: an address, or labels of a hostname.
func checkName(hostname, port string) error {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
		return fmt.Errorf("%q is not a port", port)
	}
	if a, err := netip.ParseAddr(hostname); err == nil && a.Zone() == "" {
		return nil
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(hostname, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return fmt.Errorf("%q is not a hostname", hostname)
		}
	}
	return nil
}

// HostName returns how the log writes a host that AddHost would take, and whether it is
// reached by plain http.
func HostName(rawURL string, trusted bool) (name string, plain bool, err error) {
	a, err := parseHost(rawURL, trusted)
	return a.name, !a.secure, err
}

func (a *address) subscribeURL(cursor uint64) string {
	return fmt.Sprintf("%s?cursor=%d", a.liveURL(), cursor)
}

// liveURL is the stream from the tip on.
func (a *address) liveURL() string {
	scheme := "ws"
	if a.secure {
		scheme = "wss"
	}
	return fmt.Sprintf("%s://%s/xrpc/com.atproto.sync.subscribeRepos", scheme, a.name)
}

func (a *address) repoStatusURL(did string) string {
	scheme := "http"
	if a.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/xrpc/com.atproto.sync.getRepoStatus?did=%s", scheme, a.name, url.QueryEscape(did))
}
