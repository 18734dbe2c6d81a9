package crawl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/ingest"
)

func TestPagesOfHostsAreWholeWhateverTheirSize(t *testing.T) {
	const total = 23
	store := NewMemory()
	at := time.Unix(1_767_225_600, 0)
	var want []string
	for i := range total {
		// Several in one second, and between them some that never answered.
		c := index.Crawl{Name: fmt.Sprintf("h%02d.example", total-i), By: index.CrawlByRequest, Requested: at.Add(time.Duration(i/4) * time.Second), Connected: at}
		if i%5 == 3 {
			c.Connected = time.Time{}
		} else {
			want = append(want, c.Name)
		}
		if err := store.PutCrawl(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	w, dns := newWorld(t), newDNS(public)
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: store})
	age := func(name string) int {
		return slices.IndexFunc(r.c.Hosts(), func(h Host) bool { return h.Crawl.Name == name })
	}
	slices.SortFunc(want, func(a, b string) int { return age(a) - age(b) })
	for limit := 1; limit <= total+1; limit++ {
		var got []string
		pages := 0
		for cursor := ""; ; {
			hosts, next, err := r.c.List(cursor, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				got = append(got, h.Crawl.Name)
			}
			pages++
			if next == "" {
				break
			}
			if len(hosts) != limit {
				t.Fatalf("limit %d: a page of %d that is not the last", limit, len(hosts))
			}
			cursor = next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("limit %d: %v\nwant %v", limit, got, want)
		}
		if wantPages := (len(want) + limit - 1) / limit; pages != wantPages {
			t.Errorf("limit %d: %d pages, want %d: none of them empty", limit, pages, wantPages)
		}
	}
	for _, c := range []string{"x", "1", "a/b", "/"} {
		var ie *InvalidError
		if _, _, err := r.c.List(c, 10); !errors.As(err, &ie) {
			t.Errorf("cursor %q: %v, want an *InvalidError", c, err)
		}
	}
	if hosts, next, err := r.c.List("99999999999/z", 10); len(hosts) != 0 || next != "" || err != nil {
		t.Errorf("behind the end: %v, %q, %v", hosts, next, err)
	}
}

func TestHostsStandAsTheLexiconNamesIt(t *testing.T) {
	now := time.Unix(1_767_225_600, 0)
	for want, h := range map[Status]Host{
		Active:    {HostInfo: ingest.HostInfo{Tried: true, Connected: true, LastEvent: now.Add(-time.Hour)}},
		Idle:      {HostInfo: ingest.HostInfo{Tried: true, Connected: true, LastEvent: now.Add(-idleAfter)}},
		Offline:   {HostInfo: ingest.HostInfo{Tried: true, Failing: true, LastEvent: now}},
		Throttled: {HostInfo: ingest.HostInfo{Tried: true, Connected: true, Throttled: true, LastEvent: now}},
		Banned:    {HostInfo: ingest.HostInfo{Tried: true, Connected: true, Throttled: true}, BannedBy: "example"},
	} {
		if got := h.status(now); got != want {
			t.Errorf("%+v is %s, want %s", h.HostInfo, got, want)
		}
	}
	if got := (&Host{}).status(now); got != Idle {
		t.Errorf("a host that was not dialled yet is %s", got)
	}

	w, dns := newWorld(t, "up.example", "down.example", "bad.example"), newDNS(public)
	w.hosts["down.example"].refuse = true
	reg := prometheus.NewRegistry()
	r := newRig(t, rigOptions{
		dial: w.dialOptions(dns), store: crawled(t, "up.example", "down.example", "bad.example"),
		change: func(o *Options) { o.Registerer = reg },
	})
	if err := r.c.Block("bad.example"); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Block("never.example"); err != nil {
		t.Fatal(err)
	}
	status := func(name string) Status {
		h, err := r.c.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h.Status
	}
	until(t, "their statuses", func() bool { return status("up.example") == Active && status("down.example") == Offline })
	if status("bad.example") != Banned || status("never.example") != Banned {
		t.Error("banned hosts do not say so")
	}
	if _, err := r.c.Host("else.example"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	until(t, "the failure to be remembered", func() bool {
		c, _ := r.remembered("down.example")
		return c.LastError != "" && c.Connected.IsZero()
	})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "cistern_crawl_hosts" {
			for _, m := range f.GetMetric() {
				counts[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if counts["active"] != 1 || counts["offline"] != 1 || counts["banned"] != 1 || len(counts) != 5 {
		t.Errorf("counted %v", counts)
	}
}

// A relay lists a banned host, two names that are none, a host that we ban, and pages
// that repeat; the others are crawled, and those that answer are remembered.
func TestHostsOfAnotherRelayAreCrawledAndRememberedOnceTheyAnswer(t *testing.T) {
	w, dns := newWorld(t, "a.example", "b.example", "dead.example", "known.example", "ours.example"), newDNS(public)
	w.hosts["dead.example"].refuse = true
	pages := map[string]string{
		"":  `{"cursor":"1","hosts":[{"hostname":"a.example","status":"active"},{"hostname":"theirs.example","status":"banned"},{"hostname":"localhost:99"}]}`,
		"1": `{"cursor":"2","hosts":[{"hostname":"dead.example","status":"offline"},{"hostname":"B.example"},{"hostname":""},{"hostname":"127.0.0.1"}]}`,
		"2": `{"cursor":"2","hosts":[{"hostname":"known.example"},{"hostname":"ours.example"}]}`,
	}
	asked := make(chan string, 100)
	relay := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		asked <- req.URL.Query().Get("cursor")
		if req.Header.Get("User-Agent") != "test-agent" || req.URL.Query().Get("limit") != "500" {
			t.Errorf("asked with %v and %s", req.Header, req.URL)
		}
		_, _ = rw.Write([]byte(pages[req.URL.Query().Get("cursor")]))
	}))
	defer relay.Close()
	r := newRig(t, rigOptions{dial: w.dialOptions(dns), store: crawled(t, "known.example"), change: func(o *Options) {
		o.UserAgent = "test-agent"
		o.PullFrom = relay.URL + "/"
		if err := o.Decisions.Decide(blockOf("ours.example")); err != nil {
			t.Fatal(err)
		}
	}})
	until(t, "the living to be connected", func() bool {
		return w.of("a.example").open == 1 && w.of("b.example").open == 1 && w.of("known.example").open == 1
	})
	until(t, "the dead to be dialled", func() bool { h, ok := r.m.Host("dead.example"); return ok && h.Failing })
	until(t, "those that answered to be remembered", func() bool {
		a, _ := r.remembered("a.example")
		b, _ := r.remembered("b.example")
		return a.By == index.CrawlByPull && b.By == index.CrawlByPull && !b.Connected.IsZero()
	})
	if c, ok := r.remembered("dead.example"); ok {
		t.Errorf("remembered %+v, which never answered", c)
	}
	if len(r.m.Hosts()) != 4 || len(asked) != 3 {
		t.Errorf("%d hosts are read and %d pages were asked for", len(r.m.Hosts()), len(asked))
	}
	if c, _ := r.remembered("known.example"); c.By != index.CrawlByRequest {
		t.Errorf("a known host is now remembered as %+v", c)
	}
	hosts, _, err := r.c.List("", 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(hosts) != 3 || slices.ContainsFunc(hosts, func(h Host) bool { return h.Crawl.Name == "dead.example" }) {
		b, _ := json.Marshal(hosts)
		t.Errorf("listed %s", b)
	}
}

// What the log has events of is crawled again when everything else is lost.
func TestHostsOfTheLogAreCrawledWhenNothingElseIsRemembered(t *testing.T) {
	w, dns := newWorld(t, "pds.example", "banned.example"), newDNS(public)
	o := rigOptions{dir: t.TempDir(), dial: w.dialOptions(dns), positions: []ingest.Position{
		{Host: "pds.example", Epoch: 1, Floor: 42}, {Host: "banned.example", Floor: 7}, {Host: "localhost:2583", Floor: 9},
	}, change: func(o *Options) {
		if err := o.Decisions.Decide(blockOf("banned.example")); err != nil {
			t.Fatal(err)
		}
	}}
	r := newRig(t, o)
	until(t, "it to be connected", func() bool { return w.of("pds.example").open == 1 })
	if h := w.of("pds.example"); h.cursors[0] != "42" {
		t.Errorf("cursors %v", h.cursors)
	}
	if len(r.m.Hosts()) != 1 {
		t.Errorf("read: %+v", r.m.Hosts())
	}
	hosts, _, err := r.c.List("", 10)
	if err != nil || len(hosts) != 3 {
		t.Fatalf("listed %v, %v", hosts, err)
	}
	for _, h := range hosts {
		if want := map[string]uint64{"pds.example": 42, "banned.example": 7, "localhost:2583": 9}[h.Crawl.Name]; h.Seq != want {
			t.Errorf("%s: seq %d, want %d", h.Crawl.Name, h.Seq, want)
		}
	}
	until(t, "it to be remembered", func() bool { c, _ := r.remembered("pds.example"); return c.By == index.CrawlByLog })
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "1767225600/a.example", "/", "-1/", "9223372036854775807/x", "1/\x00"} {
		f.Add(s)
	}
	k := known{m: make(map[string]*entry)}
	for i := range 10 {
		k.add(index.Crawl{Name: fmt.Sprintf("h%d.example", i), Requested: time.Unix(int64(i/3), 0)})
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		requested, name, err := parseCursor(cursor)
		if err != nil {
			return
		}
		if at := k.after(requested, name); at < 0 || at > len(k.order) {
			t.Errorf("%q is at %d", cursor, at)
		}
	})
}
