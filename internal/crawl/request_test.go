package crawl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ingest"
)

func TestAHostThatAsksAndAnswersIsCrawledFromItsFirstEvent(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns)})
	if err := r.request("https://PDS.example/"); err != nil {
		t.Fatal(err)
	}
	if h := w.of("pds.example"); h.described != 1 || h.subscribed != 1 || h.cursors[0] != "0" {
		t.Errorf("the host saw %+v, want one question and one connection with cursor 0", h)
	}
	if info, ok := r.m.Host("pds.example"); !ok || !info.Read {
		t.Errorf("it stands as %+v", info)
	}
	until(t, "it to be remembered", func() bool { _, ok := r.remembered("pds.example"); return ok })
	if c, _ := r.remembered("pds.example"); c.By != index.CrawlByRequest || c.Requested.IsZero() || c.Connected.IsZero() || c.LastError != "" {
		t.Errorf("remembered %+v", c)
	}
}

func TestANameThatIsNoPublicHostsIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	w, dns := newWorld(t), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns)})
	for _, name := range []string{
		"", "localhost", "localhost:2583", "http://pds.example", "pds.example:8443", "https://pds.example/path", "https://u@pds.example",
		"127.0.0.1", "https://[::1]", "https://[2606:4700::1]", "8.8.8.8", "pds", "a b.example", "https://pds.example?x", "\x00.example",
		"ftp://pds.example", string(bytes.Repeat([]byte("a"), 100_000)) + ".example", "pds..example", "-.example", "xn--.example/../..",
	} {
		var ie *InvalidError
		if err := r.request(name); !errors.As(err, &ie) {
			t.Errorf("%.40q: %v, want *InvalidError", name, err)
		}
	}
	if len(dns.asked) != 0 || w.dials != 0 {
		t.Errorf("asked %v, %d dials", dns.asked, w.dials)
	}
}

func TestAHostThatDoesNotAnswerAsAPDSIsNotKept(t *testing.T) {
	names := []string{"error.example", "redirect.example", "text.example", "list.example", "endless.example", "refuses.example", "relay.example", "via.example"}
	w := newWorld(t, names...)
	w.hosts["error.example"].describe = func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusNotImplemented) }
	w.hosts["redirect.example"].describe = func(rw http.ResponseWriter) {
		rw.Header().Set("Location", "https://list.example/")
		rw.WriteHeader(http.StatusFound)
	}
	w.hosts["text.example"].describe = func(rw http.ResponseWriter) { _, _ = io.WriteString(rw, "<html>{}") }
	w.hosts["list.example"].describe = func(rw http.ResponseWriter) { _, _ = io.WriteString(rw, "[]") }
	w.hosts["endless.example"].describe = func(rw http.ResponseWriter) {
		for { // ends when the other side has had enough
			if _, err := rw.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
				return
			}
		}
	}
	w.hosts["refuses.example"].refuse = true
	w.hosts["relay.example"].header = http.Header{"Server": {"cistern/1.2.3 (atproto-relay)"}}
	w.hosts["via.example"].header = http.Header{"Via": {"1.1 indigo-relay/1 (ATPROTO-RELAY)"}}
	dns := newDNS(func(name string, _ int) []string {
		switch name {
		case "nowhere.example":
			return nil
		case "mixed.example":
			return []string{"8.8.8.8", "10.0.0.1"}
		case "mixed6.example":
			return []string{"8.8.8.8", "fd00::1"}
		case "inside.example":
			return []string{"169.254.169.254"}
		}
		return []string{"8.8.8.8"}
	})
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), change: func(o *Options) { o.NewHostsPerDay = 1 }})
	for i, name := range append(names, "unknown.example", "nowhere.example", "mixed.example", "mixed6.example", "inside.example") {
		var ue *UnreachableError
		err := r.c.Request(t.Context(), name, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		if !errors.As(err, &ue) {
			t.Errorf("%s: %v, want *UnreachableError", name, err)
		}
		for _, inside := range []string{"127.0.0.1", "10.0.0.1", "fd00::1", "169.254", ":53", "lookup"} {
			if strings.Contains(err.Error(), inside) {
				t.Errorf("%s: a stranger is told of the inside: %v", name, err)
			}
		}
		if private := name[:2] == "mi" || name[:2] == "in"; private && !errors.Is(err, identity.ErrNotPublic) {
			t.Errorf("%s: %v, want ErrNotPublic", name, err)
		}
	}
	if len(r.m.Hosts()) != 0 || len(r.c.Hosts()) != 0 {
		t.Errorf("kept %v, %v", r.m.Hosts(), r.c.Hosts())
	}
	if crawls, _ := r.store.Crawls(); len(crawls) != 0 {
		t.Errorf("remembered %v", crawls)
	}
	for _, n := range []string{"relay.example", "via.example"} {
		if w.of(n).subscribed != 1 {
			t.Errorf("%s was not asked", n)
		}
	}
	if w.of("list.example").described != 1 {
		t.Error("a redirect was followed")
	}
	// None of them used up the one host of the day.
	w.set("refuses.example", func(h *pds) { h.refuse = false })
	if err := r.request("refuses.example"); err != nil {
		t.Error(err)
	}
}

func TestANameThatFlipsToALoopbackAddressAfterItWasCheckedIsNotDialled(t *testing.T) {
	for stage, lookups := range map[string]int{"before describeServer": 1, "before the stream": 1} {
		t.Run(stage, func(t *testing.T) {
			w := newWorld(t, "pds.example")
			dns := newDNS(func(_ string, n int) []string {
				if n < lookups {
					return []string{"8.8.8.8"}
				}
				return []string{"127.0.0.1"}
			})
			o := rigOptions{dial: w.dialOptions(dns)}
			o.reader = o.dial
			o.reader.DialPublic = nil // the real one, which asks the resolver again
			if stage == "before describeServer" {
				o.dial.DialPublic = nil
			}
			r := newRig(t, o)
			err := r.request("pds.example")
			var ue *UnreachableError
			if !errors.As(err, &ue) || !errors.Is(err, identity.ErrNotPublic) {
				t.Errorf("%v, want an *UnreachableError that is ErrNotPublic", err)
			}
			if n := dns.questions("pds.example"); n != lookups+1 {
				t.Errorf("the name was looked up %d times: it did not flip", n)
			}
			want := 0
			if stage == "before the stream" {
				want = 1
			}
			if h := w.of("pds.example"); h.described != want || h.subscribed != 0 {
				t.Errorf("the host saw %+v", h)
			}
			if len(r.m.Hosts()) != 0 {
				t.Error("it is kept")
			}
		})
	}
}

func TestAKnownHostCostsNoQuotaAndIsAskedNothing(t *testing.T) {
	w, dns := newWorld(t, "pds.example", "other.example"), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), change: func(o *Options) { o.NewHostsPerDay = 1 }})
	if err := r.request("pds.example"); err != nil {
		t.Fatal(err)
	}
	before := dns.questions("pds.example")
	for range 10 * clientBurst {
		if err := r.request("pds.example"); err != nil {
			t.Fatal(err)
		}
	}
	if h := w.of("pds.example"); h.described != 1 || h.subscribed != 1 || dns.questions("pds.example") != before {
		t.Errorf("the host saw %+v and its name was asked for %d times more", h, dns.questions("pds.example")-before)
	}
	var le *LimitError
	if err := r.request("other.example"); !errors.As(err, &le) || le.After < 23*time.Hour || le.After > day {
		t.Errorf("the second host of a day that may have one: %v, want a *LimitError of a day", err)
	}
}

func TestAKnownHostThatAsksIsDialledSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Duration
		begin := time.Now()
		dial := ingest.DialOptions{
			Resolver: newDNS(public).resolver(), Jitter: func(d time.Duration) time.Duration { return d },
			DialPublic: func(context.Context, string, string) (net.Conn, error) {
				dials = append(dials, time.Since(begin).Round(time.Second))
				return nil, errors.New("nobody is there")
			},
		}
		store := NewMemory()
		if err := store.PutCrawl(t.Context(), &index.Crawl{Name: "pds.example", By: index.CrawlByRequest}); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, rigOptions{dial: dial, store: store})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		n := len(dials)
		if wait := dials[n-1] - dials[n-2]; wait != time.Hour {
			t.Errorf("after a day it is dialled every %v, want once an hour", wait)
		}
		if err := r.request("pds.example"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(dials) <= n {
			t.Error("it was not dialled within 5 s")
		}
		r.stop()
	})
}

func TestTenThousandNamesStayBounded(t *testing.T) {
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for name, dial := range map[string]ingest.DialOptions{
		"when DNS hangs":   {Resolver: &net.Resolver{PreferGo: true, Dial: hangs}},
		"when hosts hang":  {Resolver: newDNS(public).resolver(), DialPublic: hangs},
		"when none exists": {Resolver: newDNS(func(string, int) []string { return nil }).resolver()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, rigOptions{dial: dial})
				const names = 10_000
				var mu sync.Mutex
				outcomes := map[string]int{}
				var wg sync.WaitGroup
				for i := range names {
					wg.Go(func() {
						client := netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1})
						err := r.c.Request(t.Context(), fmt.Sprintf("h%d.example", i), client)
						mu.Lock()
						defer mu.Unlock()
						outcomes[outcome(err)]++
					})
					if i%1000 == 0 {
						synctest.Wait()
						r.c.mu.Lock()
						if n := len(r.c.trying); n > validations+validationQueue || len(r.c.slots) > validations || len(r.c.known.m) != 0 {
							t.Errorf("%d names are in memory, %d are validated, %d are known", n, len(r.c.slots), len(r.c.known.m))
						}
						r.c.mu.Unlock()
					}
				}
				wg.Wait()
				if outcomes["limited"]+outcomes["unreachable"] != names || outcomes["unreachable"] < validations {
					t.Errorf("outcomes %v", outcomes)
				}
				r.c.mu.Lock()
				left := len(r.c.trying) + len(r.c.known.m) + len(r.c.slots) + len(r.c.waiting) + r.c.quota.trying + len(r.c.quota.came)
				r.c.mu.Unlock()
				if crawls, _ := r.store.Crawls(); left != 0 || len(crawls) != 0 || len(r.m.Hosts()) != 0 {
					t.Errorf("%d things are left in memory, %d in the store, %d hosts are read", left, len(crawls), len(r.m.Hosts()))
				}
				r.stop()
			})
		})
	}
}

func TestTenThousandNamesOfOneClientAreTenAtOnce(t *testing.T) {
	q, err := newQuota()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_767_225_600, 0)
	take := func(a string, at time.Time) error {
		done, err := q.take(netip.MustParseAddr(a), 1_000_000, at)
		if err == nil {
			done(false)
		}
		return err
	}
	allowed := 0
	for i := range 10_000 { // within an hour, from all over a /64
		if take(fmt.Sprintf("2606:4700:0:1::%x", i), now.Add(time.Duration(i)*360*time.Millisecond)) == nil {
			allowed++
		}
	}
	if allowed != clientBurst+9 {
		t.Errorf("%d of 10,000 in an hour, want 10 and one more every 6 minutes", allowed)
	}
	var le *LimitError
	if err := take("2606:4700:0:1::1", now.Add(time.Hour-time.Second)); !errors.As(err, &le) || le.After <= 0 || le.After > clientEvery {
		t.Errorf("%v, want a *LimitError of at most 6 minutes", err)
	}
	if err := take("2606:4700:0:2::1", now); err != nil {
		t.Errorf("another client: %v", err)
	}
	for i := range 5 * maxClients {
		_ = take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), now)
	}
	if n := q.clients.Len(); n > maxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

func TestTheDaysQuotaIsKeptOverAStartAndEndsWithTheDay(t *testing.T) {
	w, dns := newWorld(t, "a.example", "b.example", "c.example", "d.example"), newDNS(public)
	var mu sync.Mutex
	now := time.Unix(1_767_225_600, 0)
	o := rigOptions{dir: t.TempDir(), store: NewMemory(), dial: w.dialOptions(dns), change: func(o *Options) {
		o.NewHostsPerDay = 2
		o.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	}}
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	r := newRig(t, o)
	if err := r.request("a.example"); err != nil {
		t.Fatal(err)
	}
	pass(time.Hour)
	if err := r.request("b.example"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = newRig(t, o)
	var le *LimitError
	if err := r.request("c.example"); !errors.As(err, &le) || le.After != 23*time.Hour {
		t.Errorf("the third: %v, want a *LimitError of 23 h", err)
	}
	if err := r.c.Ask(t.Context(), "d.example"); err != nil { // an operator has no quota
		t.Error(err)
	}
	pass(23 * time.Hour)
	if err := r.request("c.example"); err != nil {
		t.Errorf("the next day: %v", err)
	}
	if err := r.c.SetNewHostsPerDay(0); err != nil {
		t.Fatal(err)
	}
	pass(48 * time.Hour)
	if err := r.request("e.example"); !errors.As(err, &le) {
		t.Errorf("with a limit of none: %v", err)
	}
}

func TestRequestsForOneNameAreValidatedOnce(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	release := make(chan struct{})
	w.hosts["pds.example"].describe = func(rw http.ResponseWriter) {
		<-release
		_, _ = io.WriteString(rw, "{}")
	}
	r := newRig(t, rigOptions{dial: w.dialOptions(dns)})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := r.request("pds.example"); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "all to wait", func() bool { return len(r.c.waiting) == 20 })
	close(release)
	wg.Wait()
	if h := w.of("pds.example"); h.described != 1 || h.subscribed != 1 {
		t.Errorf("the host saw %+v", h)
	}
}

func TestAnOperatorMayNameWhatNobodyElseMayAndItIsFoundAgainAfterAStart(t *testing.T) {
	w, dns := newWorld(t), newDNS(public)
	plain := newWorld(t)
	plain.server.Close()
	server := http.Server{Handler: plain.server.Config.Handler}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	defer func() { server.Close(); <-served }()
	name := l.Addr().String()
	plain.hosts[name] = &pds{}
	o := rigOptions{dir: t.TempDir(), store: NewMemory(), dial: w.dialOptions(dns)}
	r := newRig(t, o)
	var ie *InvalidError
	if err := r.request("http://" + name); !errors.As(err, &ie) {
		t.Errorf("a stranger: %v", err)
	}
	if err := r.c.Ask(t.Context(), "http://"+name); err != nil {
		t.Fatal(err)
	}
	until(t, "it to be remembered", func() bool { _, ok := r.remembered(name); return ok })
	r.stop()
	r = newRig(t, o)
	until(t, "it to be connected again", func() bool { return plain.of(name).open == 1 && plain.of(name).subscribed == 2 })
}

func TestNobodyIsAskedWhileRequestsAreOffOrNothingIsRead(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), change: func(o *Options) { o.Disabled = true }})
	if err := r.request("pds.example"); !errors.Is(err, ErrDisabled) {
		t.Errorf("%v, want ErrDisabled", err)
	}
	if err := r.c.Ask(t.Context(), "pds.example"); err != nil {
		t.Errorf("an operator: %v", err)
	}
	r = newRig(t, rigOptions{dial: w.dialOptions(dns)})
	r.stop()
	if err := r.request("pds.example"); !errors.Is(err, ErrNotReading) {
		t.Errorf("%v, want ErrNotReading", err)
	}
}

func TestAStrangerIsToldWhyInWordsThatSayNothingOfTheInside(t *testing.T) {
	for want, err := range map[string]error{
		"its name must resolve to public addresses, and to nothing else": fmt.Errorf("dial tcp 10.1.2.3:443: %w", identity.ErrNotPublic),
		"its name does not resolve":                                      fmt.Errorf("connect: %w", &net.DNSError{Err: "no such host", Name: "a.example", Server: "10.0.0.2:53"}),
		"it is a relay":                                                  ingest.ErrRelay,
		"it did not answer in time":                                      fmt.Errorf("dial 10.1.2.3: %w", context.DeadlineExceeded),
		"its event stream does not open":                                 fmt.Errorf("connect: %w: HTTP 404", websocket.ErrBadHandshake),
		"it answers with nonsense":                                       &answerError{"it answers with nonsense"},
		"it cannot be reached":                                           errors.New("dial tcp 10.1.2.3:443: connection refused"),
	} {
		e := &UnreachableError{"a.example", err}
		if got := e.Error(); got != "a.example cannot be crawled: "+want {
			t.Errorf("%v: %q", err, got)
		}
		if !strings.Contains(e.Detail(), err.Error()) {
			t.Errorf("an operator is told %q of %v", e.Detail(), err)
		}
	}
}
