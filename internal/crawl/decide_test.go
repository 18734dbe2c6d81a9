package crawl

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/ingest"
)

func crawled(t *testing.T, names ...string) *Memory {
	t.Helper()
	m := NewMemory()
	for _, n := range names {
		if err := m.PutCrawl(t.Context(), &index.Crawl{Name: n, By: index.CrawlByRequest}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (r *rig) reads(name string) bool {
	info, _ := r.m.Host(name)
	return info.Read
}

func TestABlockEndsTheConnectionAndSurvivesAStart(t *testing.T) {
	w, dns := newWorld(t, "pds.example", "other.example"), newDNS(public)
	o := rigOptions{
		dir: t.TempDir(), dial: w.dialOptions(dns), store: crawled(t, "pds.example", "other.example"),
		positions: []ingest.Position{{Host: "pds.example", Floor: 77}},
	}
	r := newRig(t, o)
	until(t, "both to be connected", func() bool { return w.of("pds.example").open == 1 && w.of("other.example").open == 1 })
	if err := r.c.Block("pds.example"); err != nil {
		t.Fatal(err)
	}
	if r.reads("pds.example") {
		t.Error("it is still read when the call returns")
	}
	until(t, "the connection to end", func() bool { return w.of("pds.example").open == 0 })
	var be *BannedError
	if err := r.request("pds.example"); !errors.As(err, &be) || be.By != "pds.example" {
		t.Errorf("it asks: %v, want a *BannedError", err)
	}
	if err := r.c.Ask(t.Context(), "pds.example"); !errors.As(err, &be) {
		t.Errorf("an operator asks: %v, want a *BannedError", err)
	}
	r.stop()

	r = newRig(t, o)
	until(t, "the other to be connected", func() bool { return w.of("other.example").open == 1 })
	if h := w.of("pds.example"); h.subscribed != 1 || r.reads("pds.example") {
		t.Errorf("after a start the host saw %+v", h)
	}
	if h, err := r.c.Host("pds.example"); err != nil || h.Status != Banned || h.Seq != 77 {
		t.Errorf("it stands as %+v, %v", h, err)
	}
	if err := r.c.Unblock("pds.example"); err != nil {
		t.Fatal(err)
	}
	until(t, "it to be connected again", func() bool { return w.of("pds.example").open == 1 })
	if c := w.of("pds.example").cursors; !slices.Equal(c, []string{"77", "77"}) {
		t.Errorf("cursors %v", c)
	}
}

func TestADomainBanEndsAllConnectionsBelowIt(t *testing.T) {
	names := []string{"example.com", "a.example.com", "a.b.example.com", "notexample.com", "example.org"}
	w, dns := newWorld(t, names...), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: crawled(t, names...)})
	connected := func(want ...string) func() bool {
		return func() bool {
			for _, n := range names {
				if (w.of(n).open == 1) != slices.Contains(want, n) {
					return false
				}
			}
			return true
		}
	}
	until(t, "all to be connected", connected(names...))
	if err := r.c.BanDomain("Example.COM."); err != nil {
		t.Fatal(err)
	}
	until(t, "those of the domain to be gone", connected("notexample.com", "example.org"))
	var be *BannedError
	if err := r.request("new.a.example.com"); !errors.As(err, &be) || be.By != "example.com" {
		t.Errorf("a new host of the domain: %v, want a *BannedError", err)
	}
	if len(dns.asked) > len(names) {
		t.Errorf("the name of a banned host was asked for: %v", dns.asked)
	}
	if got := r.c.DomainBans(); !slices.Equal(got, []string{"example.com"}) {
		t.Errorf("bans %v", got)
	}
	if err := r.c.Block("a.example.com"); err != nil { // by its own name too
		t.Fatal(err)
	}
	if err := r.c.UnbanDomain("example.com"); err != nil {
		t.Fatal(err)
	}
	until(t, "those that are not banned to be back", connected("example.com", "a.b.example.com", "notexample.com", "example.org"))
	for _, d := range []string{"com", "", "*.example.com", "a b", "1.2.3.4"} {
		var ie *InvalidError
		if err := r.c.BanDomain(d); !errors.As(err, &ie) {
			t.Errorf("ban of %q: %v, want an *InvalidError", d, err)
		}
	}
}

func TestABanThatComesWhileAHostIsValidatedIsObeyed(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	asked, banned := make(chan struct{}), make(chan struct{})
	w.hosts["pds.example"].describe = func(rw http.ResponseWriter) {
		close(asked)
		<-banned
		_, _ = io.WriteString(rw, "{}")
	}
	r := newRig(t, rigOptions{dial: w.dialOptions(dns)})
	result := make(chan error)
	go func() { result <- r.request("pds.example") }()
	<-asked
	if err := r.c.Block("pds.example"); err != nil {
		t.Fatal(err)
	}
	close(banned)
	var be *BannedError
	if err := <-result; !errors.As(err, &be) {
		t.Errorf("%v, want a *BannedError", err)
	}
	if r.reads("pds.example") {
		t.Error("it is read")
	}
	until(t, "no connection", func() bool { return w.of("pds.example").open == 0 })
}

// Whatever order decisions of several operators come in, what is read in the end is
// what is decided in the end.
func TestOfTwoDecisionsTheLaterOneStands(t *testing.T) {
	names := []string{"a.example.com", "b.example.com", "c.example.com"}
	w, dns := newWorld(t, names...), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: crawled(t, names...)})
	for round := range 20 {
		var wg sync.WaitGroup
		for i, f := range []func() error{
			func() error { return r.c.Block(names[0]) }, func() error { return r.c.Unblock(names[0]) },
			func() error { return r.c.BanDomain("example.com") }, func() error { return r.c.UnbanDomain("example.com") },
			func() error { return r.c.Block(names[1]) }, func() error { return r.c.Unblock(names[1]) },
			func() error { return r.c.Ask(t.Context(), names[2]) },
		} {
			wg.Go(func() {
				var be *BannedError
				if err := f(); err != nil && !errors.As(err, &be) {
					t.Errorf("decision %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for _, n := range names {
			if _, banned := r.journal.Banned(n); banned == r.reads(n) {
				t.Fatalf("round %d: %s is banned: %v, and read: %v", round, n, banned, r.reads(n))
			}
		}
	}
}

func TestADecisionThatIsNotDurableIsNotObeyed(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: crawled(t, "pds.example")})
	until(t, "it to be connected", func() bool { return w.of("pds.example").open == 1 })
	if err := r.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Block("pds.example"); err == nil || !r.reads("pds.example") {
		t.Errorf("%v, and it is read: %v", err, r.reads("pds.example"))
	}
}

func TestAKilledConnectionComesBack(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: crawled(t, "pds.example")})
	until(t, "it to be connected", func() bool { h, _ := r.m.Host("pds.example"); return h.Connected })
	if err := r.c.Kill("pds.example"); err != nil {
		t.Fatal(err)
	}
	until(t, "it to be connected again", func() bool { h := w.of("pds.example"); return h.subscribed == 2 && h.open == 1 })
	if err := r.c.Kill("else.example"); !errors.Is(err, ErrNoConnection) {
		t.Errorf("%v, want ErrNoConnection", err)
	}
}

func TestRatesFollowTrustTheAccountLimitAndWhatOperatorsDecide(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	o := rigOptions{dir: t.TempDir(), dial: w.dialOptions(dns), store: crawled(t, "pds.example"), change: func(o *Options) {
		o.TrustedDomains, o.Hosts = []string{"*.Host.example", "one.example"}, []string{"https://mine.example"}
	}}
	r := newRig(t, o)
	plain := ingest.Rates{PerSecond: 50, PerHour: 2600, PerDay: 21_000}
	for host, want := range map[string]ingest.Rates{
		"pds.example": plain, "host.example": plain, "evilhost.example": plain, "two.one.example": plain,
		"a.host.example": {}, "a.b.host.example": {}, "one.example": {}, "mine.example": {},
	} {
		if got := r.c.Rates(host); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
		limit := int64(100)
		if want == (ingest.Rates{}) {
			limit = 0
		}
		if got := r.c.AccountLimit(host); got != limit {
			t.Errorf("%s: account limit %d, want %d", host, got, limit)
		}
	}
	if err := r.c.ChangeLimits("pds.example", Limits{Accounts: num(50_000)}); err != nil {
		t.Fatal(err)
	}
	if got := r.c.Rates("pds.example"); got != (ingest.Rates{PerSecond: 100, PerHour: 52_500, PerDay: 520_000}) {
		t.Errorf("with 50,000 accounts: %+v", got)
	}
	if err := r.c.ChangeLimits("pds.example", Limits{PerSecond: num(999)}); err != nil {
		t.Fatal(err)
	}
	if err := r.c.ChangeLimits("pds.example", Limits{PerDay: num(7)}); err != nil {
		t.Fatal(err)
	}
	want := ingest.Rates{PerSecond: 999, PerHour: 52_500, PerDay: 7}
	if info, _ := r.m.Host("pds.example"); r.c.Rates("pds.example") != want || info.Rates != want {
		t.Errorf("%+v decided, %+v obeyed, want %+v", r.c.Rates("pds.example"), info.Rates, want)
	}
	if err := r.c.ChangeLimits("else.example", Limits{PerDay: num(7)}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown host: %v", err)
	}
	var ie *InvalidError
	if err := r.c.ChangeLimits("pds.example", Limits{PerDay: num(0), Accounts: num(5)}); !errors.As(err, &ie) || r.c.AccountLimit("pds.example") != 50_000 {
		t.Errorf("a limit of nothing: %v, accounts %d", err, r.c.AccountLimit("pds.example"))
	}
	r.stop()
	r = newRig(t, o)
	if info, _ := r.m.Host("pds.example"); info.Rates != want {
		t.Errorf("after a start: %+v", info.Rates)
	}
	o.change = func(o *Options) { o.AccountLimit = 0 }
	o.dir = t.TempDir()
	if got := newRig(t, o).c.Rates("pds.example"); got.PerSecond < 10_000 {
		t.Errorf("without an account limit: %+v", got)
	}
}

func TestAHostOfTheConfigurationThatIsBannedIsNotCrawled(t *testing.T) {
	w, dns := newWorld(t, "pds.example"), newDNS(public)
	dial := w.dialOptions(dns)
	dial.DialTrusted = w.dial
	o := rigOptions{dir: t.TempDir(), dial: dial, change: func(o *Options) { o.Hosts = []string{"https://pds.example"} }}
	r := newRig(t, o)
	until(t, "it to be connected", func() bool { return w.of("pds.example").open == 1 })
	if h, err := r.c.Host("pds.example"); err != nil || h.By != index.CrawlByOperator || !h.Trusted {
		t.Errorf("%+v, %v", h, err)
	}
	if err := r.c.BanDomain("pds.example"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = newRig(t, o)
	if r.reads("pds.example") {
		t.Error("it is read")
	}
	if _, err := New(Options{Decisions: r.journal, Hosts: []string{"ftp://x"}}); err == nil {
		t.Error("a host that is none is taken")
	}
}

func TestDecisionsHoldWhileNothingIsRead(t *testing.T) {
	w, dns := newWorld(t, "a.example", "b.example"), newDNS(public)
	o := rigOptions{dir: t.TempDir(), dial: w.dialOptions(dns), store: crawled(t, "a.example", "b.example")}
	r := newRig(t, o)
	until(t, "both to be connected", func() bool { return w.of("a.example").open == 1 && w.of("b.example").open == 1 })
	r.end()
	if err := r.c.Block("a.example"); err != nil {
		t.Fatal(err)
	}
	m, err := ingest.New(ingest.Options{Log: nobody{}, Resolver: nobody{}, Accounts: r.accounts(), Dial: o.dial, Observer: r.c})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	// A store that lost everything is filled again from what is known.
	empty := NewMemory()
	end, err := r.c.Begin(m, empty, nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the store to be filled", func() bool { c, _ := empty.Crawls(); return len(c) == 2 })
	end()
	r.end = func() {}
	names := fmt.Sprint(len(m.Hosts()))
	if _, ok := m.Host("a.example"); ok || names != "1" {
		t.Errorf("%s hosts are read, the blocked one: %v", names, ok)
	}
}
