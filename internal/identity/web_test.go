package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyPublicAddressesArePublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.255.0.1": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"100.64.0.1": false, "100.127.255.255": false, "169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false,
		"fc00::1": false, "fd12::1": false, "fec0::1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "203.0.113.9": false,
		"::ffff:127.0.0.1": false, "::ffff:10.1.2.3": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "100::1": false,
	} {
		if got := IsPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("IsPublic(%s) = %v, want %v", addr, got, want)
		}
	}
	if IsPublic(netip.Addr{}) {
		t.Error("no address at all is public")
	}
}

func TestDIDWebNeverReachesAPrivateAddress(t *testing.T) {
	touched := false
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched = true }))
	defer srv.Close()
	// A resolver that sends every name to the server on loopback.
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d := PublicDialer(0)
	if _, err := d.DialContext(context.Background(), "tcp", "localhost:"+port); !errors.Is(err, ErrNotPublic) {
		t.Errorf("dial: %v, want ErrNotPublic", err)
	}
	r, _ := newResolver(t, nil, "http://127.0.0.1:1")
	if _, err := r.Lookup(context.Background(), "did:web:localhost"); !errors.Is(err, ErrUnusable) {
		t.Errorf("did:web:localhost: %v, want ErrUnusable", err)
	}
	if touched {
		t.Error("the server on loopback was reached")
	}
}

func TestDIDWebIsReadFromItsWellKnownPlace(t *testing.T) {
	const did = "did:web:example.com"
	doc := strings.ReplaceAll(multikeyDoc(t, "https://pds.example"), someDID, did)
	var serve http.HandlerFunc
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r) }))
	defer srv.Close()
	// Every dial goes to the test server, whose certificate is for example.com.
	to := srv.Listener.Addr().String()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error
	}{
		"there":      {func(w http.ResponseWriter, r *http.Request) { webDoc(w, r, doc) }, nil},
		"not there":  {status(404), ErrGone},
		"forbidden":  {status(403), ErrUnusable},
		"broken":     {status(500), ErrUnavailable},
		"not JSON":   {body("hello"), ErrUnusable},
		"redirected": {http.RedirectHandler("https://elsewhere.example/did.json", http.StatusFound).ServeHTTP, ErrUnusable},
	} {
		t.Run(name, func(t *testing.T) {
			serve = c.serve
			r, _ := newResolver(t, func(o *Options) {
				o.WebTLS = &tls.Config{RootCAs: roots}
				o.WebDial = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, to)
				}
			}, "http://127.0.0.1:1")
			id, err := r.Lookup(context.Background(), did)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want == nil && id.Host != "pds.example" {
				t.Errorf("host %q", id.Host)
			}
		})
	}
}

func webDoc(w http.ResponseWriter, r *http.Request, doc string) {
	if r.URL.Path != "/.well-known/did.json" || r.Host != "example.com" {
		w.WriteHeader(404)
		return
	}
	body(doc)(w, r)
}
