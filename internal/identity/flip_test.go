package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a DNS server that answers each question with the next addresses of a list.
type names struct {
	mu      sync.Mutex
	answers [][]netip.Addr // by question for an A record; the last one stays
	asked   int
}

func (n *names) next() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.answers[min(n.asked, len(n.answers)-1)]
	n.asked++
	return a
}

// dial is what a net.Resolver calls to reach a server. The connection is a pipe.
func (n *names) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go n.serve(server)
	return client, nil
}

// serve speaks DNS over a stream: each message behind its length (RFC 1035, 4.2.2).
func (n *names) serve(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		msg := make([]byte, int(size[0])<<8|int(size[1]))
		if _, err := io.ReadFull(c, msg); err != nil {
			return
		}
		reply, err := n.reply(msg)
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
			return
		}
	}
}

func (n *names) reply(msg []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(msg); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		for _, a := range n.next() {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	return m.Pack()
}

// A name that changes its mind gains nothing: each address is judged as it is dialled.
func TestANameThatFlipsToAPrivateAddressIsNotFollowed(t *testing.T) {
	public, loopback := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("127.0.0.1")
	for name, answers := range map[string][][]netip.Addr{
		"from one question to the next": {{public}, {loopback}},
		"within one answer":             {{public, loopback}},
		"and back":                      {{loopback}, {public}, {loopback}},
	} {
		t.Run(name, func(t *testing.T) {
			dns := &names{answers: answers}
			var mu sync.Mutex
			var dialled []string
			d := PublicDialer(5 * time.Second)
			d.Resolver = &net.Resolver{PreferGo: true, Dial: dns.dial}
			d.Control = func(network, address string, c syscall.RawConn) error {
				if err := ControlPublic(network, address, c); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				dialled = append(dialled, address)
				return errors.New("the test goes no further")
			}
			r, clock := newResolver(t, func(o *Options) { o.WebDial = d.DialContext }, "http://127.0.0.1:1")
			for range 4 {
				_, err := r.Lookup(t.Context(), "did:web:flip.example.com")
				if err == nil {
					t.Fatal("it was reached")
				}
				clock.move(time.Minute)
			}
			if dns.asked < 4 {
				t.Errorf("the name was asked for %d times only", dns.asked)
			}
			if len(dialled) == 0 {
				t.Error("the public address was not dialled")
			}
			if i := slices.IndexFunc(dialled, func(a string) bool { return !strings.HasPrefix(a, "8.8.8.8:") }); i >= 0 {
				t.Errorf("dialled %s", dialled[i])
			}
		})
	}
}

func TestDIDWebIsBoundedInTimeAndBytes(t *testing.T) {
	const did = "did:web:example.com"
	good := docOf(t, did, "pds.example")
	for name, c := range map[string]struct {
		answer func() answer
		want   error
	}{
		"at the limit":        {func() answer { return doc(good + strings.Repeat(" ", maxDocument-len(good))) }, nil},
		"a byte above":        {func() answer { return doc(good + strings.Repeat(" ", maxDocument-len(good)+1)) }, ErrUnusable},
		"endless":             {func() answer { return answer{status: 200, body: endless{}} }, ErrUnusable},
		"dripping":            {func() answer { return answer{status: 200, body: dripping{}} }, ErrUnavailable},
		"after 4 s":           {func() answer { a := doc(good); a.after = 4 * time.Second; return a }, nil},
		"after 6 s":           {func() answer { a := doc(good); a.after = 6 * time.Second; return a }, ErrUnavailable},
		"sent to a private":   {func() answer { return answer{status: 302, header: header("Location", "https://10.0.0.1/did.json")} }, ErrUnusable},
		"sent to loopback":    {func() answer { return answer{status: 307, header: header("Location", "http://localhost/did.json")} }, ErrUnusable},
		"sent to a port":      {func() answer { return answer{status: 301, header: header("Location", "https://example.com:8443/")} }, ErrUnusable},
		"sent to metadata":    {func() answer { return answer{status: 302, header: header("Location", "http://169.254.169.254/")} }, ErrUnusable},
		"sent round in rings": {func() answer { return answer{status: 302, header: header("Location", "/.well-known/did.json")} }, ErrUnusable},
		"429":                 {func() answer { return answer{status: 429, header: header("Retry-After", "9")} }, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(wire)
				w.always("example.com", c.answer)
				r := wired(t, w, nil, "https://plc.example")
				began := time.Now()
				id, err := r.Lookup(t.Context(), did)
				if !errors.Is(err, c.want) || err == nil && id.Host != "pds.example" {
					t.Errorf("%+v, %v; want %v", id, err, c.want)
				}
				if took := time.Since(began); took > 5*time.Second && (name != "dripping" || took > 5*time.Second+dripEvery) {
					t.Errorf("it took %v", took)
				}
				for _, a := range w.asked {
					if !strings.HasPrefix(a, "example.com/") {
						t.Errorf("asked %s", a)
					}
				}
			})
		})
	}
}

// The same on sockets: nobody who is sent elsewhere goes there.
func TestARedirectToAPrivateAddressIsNotDialled(t *testing.T) {
	var private sync.Once
	reached := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { private.Do(func() { reached = true }) }))
	defer inside.Close()
	outside := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer outside.Close()
	f := &fetcher{timeout: 5 * time.Second, now: time.Now}
	_, err := f.get(t.Context(), newHTTP(new(net.Dialer).DialContext, nil, 1), "did:web:example.com", outside.URL, maxDocument)
	if !errors.Is(err, ErrUnusable) || reached {
		t.Errorf("%v, reached %v", err, reached)
	}
}

func TestServersThatDoNotAnswerKeepNobodyFromADirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := honestWire(t)
		r := wired(t, w, func(o *Options) { o.Concurrent = 1 }, "https://plc.example")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 500 {
			host := fmt.Sprintf("a%d.tarpit%d.com", i, i)
			w.always(host, func() answer { return answer{after: time.Hour} })
			go func() { _, _ = r.Lookup(ctx, "did:web:"+host) }()
		}
		synctest.Wait()
		began := time.Now()
		if _, err := r.Lookup(t.Context(), someDID); err != nil || time.Since(began) > 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
	})
}

func TestOneDomainDoesNotTakeAllOfDIDWeb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("good.example.com", func() answer { return doc(docOf(t, "did:web:good.example.com", "pds.example")) })
		r := wired(t, w, nil, "https://plc.example")
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 500 {
			host := fmt.Sprintf("a%d.tarpit.co.uk", i)
			w.always(host, func() answer { return answer{after: time.Hour} })
			go func() { _, _ = r.Lookup(ctx, "did:web:"+host) }()
		}
		synctest.Wait()
		if n := w.count(""); n != webPerSite {
			t.Errorf("%d requests to one domain at once, want %d", n, webPerSite)
		}
		began := time.Now()
		if _, err := r.Lookup(t.Context(), "did:web:good.example.com"); err != nil || time.Since(began) > 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		cancel()
		time.Sleep(time.Hour)
		r.fetch.sites.mu.Lock()
		defer r.fetch.sites.mu.Unlock()
		if len(r.fetch.sites.m) != 0 || r.fetch.sites.waiting != 0 {
			t.Errorf("%d sites are still in use, %d wait", len(r.fetch.sites.m), r.fetch.sites.waiting)
		}
	})
}
