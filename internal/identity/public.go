package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrNotPublic says that a name resolved to an address that is not on the public Internet.
var ErrNotPublic = errors.New("address is not public")

// special lists what IsPublic refuses beyond the classes that netip knows (the IANA
// special-purpose address registries). Mapped IPv4 is unwrapped first; 64:ff9b::/96,
// 2002::/16 and 2001::/32 embed IPv4 addresses that a gateway would reach for us.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// IsPublic says whether an address may be dialled on the word of a stranger.
func IsPublic(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// ControlPublic is a net.Dialer's Control that refuses addresses that are not
// public. It runs after the name was resolved, for the very address that is about
// to be dialled, so a name that changes its mind between check and dial gains
// nothing.
func ControlPublic(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s %s: %w: %w", network, address, ErrNotPublic, err)
	}
	if !IsPublic(ap.Addr()) {
		return fmt.Errorf("dial %s %s: %w", network, address, ErrNotPublic)
	}
	return nil
}

// PublicDialer returns a dialer that reaches public addresses only.
func PublicDialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: ControlPublic}
}

// maxHostHeaders bounds the headers of a host's answer, in bytes.
const maxHostHeaders = 64 << 10

// HostClient returns a client for short questions to many hosts: each is answered within
// timeout, a redirect is an answer, and at most idle connections are kept for the next one.
func HostClient(dial func(ctx context.Context, network, addr string) (net.Conn, error), timeout time.Duration, idle int) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dial, TLSHandshakeTimeout: timeout, MaxResponseHeaderBytes: maxHostHeaders,
			MaxIdleConnsPerHost: 1, MaxIdleConns: idle, IdleConnTimeout: 10 * time.Second,
		},
	}
}
