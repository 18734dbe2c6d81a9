package xrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
)

// someHosts answers what a test wants.
type someHosts struct {
	err    error
	asked  string
	from   netip.Addr
	cursor string
	limit  int
	hosts  []crawl.Host
	next   string
}

func (s *someHosts) Request(_ context.Context, rawHost string, from netip.Addr) error {
	s.asked, s.from = rawHost, from
	return s.err
}

func (s *someHosts) List(cursor string, limit int) ([]crawl.Host, string, error) {
	s.cursor, s.limit = cursor, limit
	return s.hosts, s.next, s.err
}

func (s *someHosts) Host(rawHost string) (crawl.Host, error) {
	s.asked = rawHost
	if s.err != nil {
		return crawl.Host{}, s.err
	}
	return s.hosts[0], nil
}

func handler(s *someHosts, proxies ...netip.Prefix) http.Handler {
	return NewHandler(Parts{SubscribeRepos: http.NotFoundHandler(), Hosts: s, Proxies: proxies, Healthy: func() error { return nil }})
}

func call(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const requestPath = "/xrpc/com.atproto.sync.requestCrawl"

func TestWhyAHostIsNotCrawledIsAnsweredAsTheLexiconNamesIt(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		name       string
		retryAfter string
	}{
		{nil, 200, "", ""},
		{&crawl.InvalidError{Err: errors.New("x")}, 400, "InvalidRequest", ""},
		{&crawl.BannedError{Host: "a.example", By: "example"}, 400, "HostBanned", ""},
		{&crawl.UnreachableError{Host: "a.example", Err: errors.New("x")}, 400, "HostNotFound", ""},
		{&crawl.LimitError{What: "x", After: 1500 * time.Millisecond}, 429, "RateLimitExceeded", "2"},
		{crawl.ErrDisabled, 403, "Forbidden", ""},
		{crawl.ErrNotReading, 503, "NotReady", "10"},
		{errors.New("else"), 500, "InternalServerError", ""},
	} {
		s := &someHosts{err: c.err}
		w := call(handler(s), "POST", requestPath, `{"hostname":"a.example"}`)
		var body struct{ Error, Message string }
		_ = json.Unmarshal(w.Body.Bytes(), &body)
		if w.Code != c.status || body.Error != c.name || w.Header().Get("Retry-After") != c.retryAfter || s.asked != "a.example" {
			t.Errorf("%v: HTTP %d %+v, Retry-After %q", c.err, w.Code, body, w.Header().Get("Retry-After"))
		}
	}
	for _, body := range []string{"", "{}", "[]", `{"hostname":7}`, `{"hostname":""}`, strings.Repeat(" ", maxCrawlBody) + `{"hostname":"a.example"}`} {
		s := &someHosts{}
		if w := call(handler(s), "POST", requestPath, body); w.Code != 400 || s.asked != "" {
			t.Errorf("%.20q: HTTP %d, asked %q", body, w.Code, s.asked)
		}
	}
	if w := call(handler(&someHosts{}), "GET", requestPath, ""); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: HTTP %d", w.Code)
	}
}

func TestTheAddressOfAClientIsTheLastThatNoTrustedProxyVouchesFor(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"203.0.113.9:1234", nil, "203.0.113.9"},
		{"203.0.113.9:1234", []string{"198.51.100.1"}, "203.0.113.9"}, // anybody can say so
		{"127.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[::1]:1234", []string{"198.51.100.1, 198.51.100.2"}, "198.51.100.2"},
		{"127.0.0.1:1234", []string{"1.2.3.4, 198.51.100.2, 10.1.1.1"}, "198.51.100.2"},
		{"127.0.0.1:1234", []string{"1.2.3.4", "198.51.100.2:4711", "10.1.1.1"}, "198.51.100.2"},
		{"127.0.0.1:1234", []string{"2001:db8::7, 10.1.1.1"}, "2001:db8::7"},
		{"127.0.0.1:1234", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		{"127.0.0.1:1234", []string{"1.2.3.4, unknown"}, "127.0.0.1"},
		{"127.0.0.1:1234", []string{""}, "127.0.0.1"},
		{"127.0.0.1:1234", nil, "127.0.0.1"},
		{"[::ffff:127.0.0.1]:1234", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
	} {
		s := &someHosts{}
		r := httptest.NewRequest("POST", requestPath, strings.NewReader(`{"hostname":"a.example"}`))
		r.RemoteAddr = c.remote
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		handler(s, proxies...).ServeHTTP(httptest.NewRecorder(), r)
		if s.from != netip.MustParseAddr(c.want) {
			t.Errorf("%s %q: %s, want %s", c.remote, c.forwarded, s.from, c.want)
		}
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("127.0.0.1:1", "1.2.3.4, [::1]:80")
	f.Add("x", ",,,")
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		stranger := ClientAddr(r, nil)
		if ap, err := netip.ParseAddrPort(remote); err == nil && stranger != ap.Addr().Unmap() {
			t.Errorf("%q became %s", remote, stranger)
		}
		ClientAddr(r, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	})
}

func TestHostsAreListedAsTheLexiconSays(t *testing.T) {
	s := &someHosts{next: "1/a.example", hosts: []crawl.Host{
		{Crawl: index.Crawl{Name: "a.example"}, Seq: 42, Status: crawl.Active, HostInfo: ingest.HostInfo{Read: true, Accounts: 7}},
		{Crawl: index.Crawl{Name: "b.example"}, Status: crawl.Banned},
	}}
	w := call(handler(s), "GET", "/xrpc/com.atproto.sync.listHosts?limit=2&cursor=x", "")
	want := `{"cursor":"1/a.example","hosts":[{"hostname":"a.example","seq":42,"accountCount":7,"status":"active"},{"hostname":"b.example","status":"banned"}]}`
	if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want || s.cursor != "x" || s.limit != 2 {
		t.Errorf("HTTP %d %s, asked for %d after %q", w.Code, got, s.limit, s.cursor)
	}
	w = call(handler(s), "GET", "/xrpc/com.atproto.sync.getHostStatus?hostname=a.example", "")
	if got := strings.TrimSpace(w.Body.String()); got != `{"hostname":"a.example","seq":42,"accountCount":7,"status":"active"}` || s.asked != "a.example" {
		t.Errorf("%s", got)
	}
	empty := &someHosts{}
	if w := call(handler(empty), "GET", "/xrpc/com.atproto.sync.listHosts", ""); strings.TrimSpace(w.Body.String()) != `{"hosts":[]}` || empty.limit != 200 {
		t.Errorf("%s, limit %d", w.Body, empty.limit)
	}
	for _, limit := range []string{"0", "1001", "-1", "x", "1e3"} {
		if w := call(handler(s), "GET", "/xrpc/com.atproto.sync.listHosts?limit="+limit, ""); w.Code != 400 {
			t.Errorf("limit %s: HTTP %d", limit, w.Code)
		}
	}
	for limit, want := range map[string]int{"1": 1, "1000": 1000} {
		if w := call(handler(s), "GET", "/xrpc/com.atproto.sync.listHosts?limit="+limit, ""); w.Code != 200 || s.limit != want {
			t.Errorf("limit %s: HTTP %d", limit, w.Code)
		}
	}
	if w := call(handler(&someHosts{err: crawl.ErrUnknown}), "GET", "/xrpc/com.atproto.sync.getHostStatus?hostname=x.example", ""); w.Code != 404 || !strings.Contains(w.Body.String(), `"HostNotFound"`) {
		t.Errorf("HTTP %d %s", w.Code, w.Body)
	}
	if w := call(handler(s), "GET", "/xrpc/com.atproto.sync.getHostStatus", ""); w.Code != 400 {
		t.Errorf("without a hostname: HTTP %d", w.Code)
	}
}

func TestEveryAnswerSaysThatWeAreARelay(t *testing.T) {
	if s := config.ServerName(); !strings.HasPrefix(s, "cistern/") || !strings.HasSuffix(s, " (atproto-relay)") {
		t.Errorf("the server's name is %q", s)
	}
	h := handler(&someHosts{})
	for _, target := range []string{"/", "/_health", "/nothing", "/xrpc/com.example.none", requestPath, "/xrpc/com.atproto.sync.listHosts", "/xrpc/com.atproto.sync.subscribeRepos"} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD"} {
			if w := call(h, method, target, ""); w.Header().Get("Server") != config.ServerName() {
				t.Errorf("%s %s: Server %q", method, target, w.Header().Get("Server"))
			}
		}
	}
}

// A client that sends a byte a minute does not hold a connection for ever.
func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	s := &someHosts{}
	w := httptest.NewRecorder()
	deadline := &deadlines{ResponseRecorder: w}
	r := httptest.NewRequest("POST", requestPath, io.MultiReader(strings.NewReader(`{"hostname":`), brokenHosts{}))
	handler(s).ServeHTTP(deadline, r)
	if w.Code != 400 || s.asked != "" || len(deadline.set) != 1 || time.Until(deadline.set[0]) > crawlBodyTime {
		t.Errorf("HTTP %d, deadlines %v", w.Code, deadline.set)
	}
}

type brokenHosts struct{}

func (brokenHosts) Read([]byte) (int, error) { return 0, fmt.Errorf("i/o timeout") }

type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}
