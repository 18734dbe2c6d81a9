package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// network is a relay of n hosts, as the pages see it.
func network(n int) Sources {
	hosts := make([]crawl.Host, n)
	for i := range hosts {
		hosts[i] = crawl.Host{
			Crawl:    index.Crawl{Name: fmt.Sprintf("pds%04d.example", i)},
			HostInfo: ingest.HostInfo{Connected: i%10 > 0, Frames: uint64(i), Accounts: int64(i % 7), LastEvent: noon.Add(-time.Duration(i) * time.Second)},
			Status:   crawl.Active, AccountLimit: 100,
		}
	}
	if n > 3 {
		hosts[1].Status, hosts[1].BannedBy = crawl.Banned, "pds0001.example"
		hosts[2].Status, hosts[2].Crawl.LastError = crawl.Offline, "<script>alert(1)</script>"
		hosts[3].Behind = 13 * time.Hour
	}
	return Sources{
		Version: "test", Now: func() time.Time { return noon },
		Stream: func() xrpc.StreamInfo {
			return xrpc.StreamInfo{
				Stream: segmentlog.NewStream(1), Oldest: xrpc.Position{Seq: 1, Time: noon.Add(-48 * time.Hour)}, Newest: xrpc.Position{Seq: 5_000_000, Time: noon},
				Tiers: []xrpc.TierInfo{
					{Name: "memory", First: 4_900_001, Last: 5_000_000, Bytes: 200 << 20}, {Name: "disk", First: 1_000_001, Last: 5_000_000, Bytes: 8 << 30},
					{Name: "archive", First: 1, Last: 4_800_000, Bytes: 10 << 30},
				},
			}
		},
		Counts: func() Counts { return Counts{} }, Hosts: func() []crawl.Host { return hosts },
		Consumers: func() []replay.ConsumerInfo {
			return []replay.ConsumerInfo{{RemoteAddr: "192.0.2.1", UserAgent: "<b>agent</b>", Since: noon, Lag: 12345, Tier: "disk"}}
		},
		Takedowns: func() []string { return []string{"did:plc:gone"} }, Bans: func() []string { return []string{"bad.example"} },
		PerDay: func() int64 { return 50 }, ShipLag: func() (int64, int64) { return 1 << 20, noon.Add(-time.Hour).UnixMicro() },
		Disk: func() (int64, int64) { return 95 << 30, 100 << 30 },
		Ledger: func(_ context.Context, q ledger.Query) (ledger.Page, error) {
			return ledgerPage(n, q)
		},
	}
}

// ledgerPage is an hour of each host, in pages.
func ledgerPage(n int, q ledger.Query) (p ledger.Page, err error) {
	first := 0
	if q.Cursor != "" {
		if _, err := fmt.Sscan(q.Cursor, &first); err != nil {
			return p, err
		}
	}
	for i := first; i < min(n, first+ledger.MaxLimit); i++ {
		row := &ledger.Row{Host: fmt.Sprintf("pds%04d.example", i), Hour: noon.Unix()/3600 - int64(i%heatHours)}
		row.Received = uint64(1000 * i)
		row.Outcomes = []ledger.Reason{{Outcome: ledger.Dropped, Reason: "bad_signature", Count: uint64(i % 5 * 20 * i)}}
		p.Rows = append(p.Rows, row)
	}
	if first+len(p.Rows) < n {
		p.Cursor = fmt.Sprint(first + len(p.Rows))
	}
	return p, nil
}

func open(t testing.TB, s Sources) (*Dashboard, func(path string, header ...string) (int, string, http.Header)) {
	d := New(s)
	t.Cleanup(d.Close)
	mux := http.NewServeMux()
	mux.Handle("/admin/", d.Admin())
	mux.Handle("/", d.Public())
	return d, func(path string, header ...string) (int, string, http.Header) {
		r, w := httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder()
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		mux.ServeHTTP(w, r)
		return w.Code, w.Body.String(), w.Header()
	}
}

func has(t *testing.T, body string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(body, s) {
			t.Errorf("the page has no %q", s)
		}
	}
}

func TestTheFrontPageIsForPeopleAndForCurl(t *testing.T) {
	_, get := open(t, network(0))
	code, body, h := get("/", "Accept", "text/html,*/*")
	if code != http.StatusOK || !strings.Contains(h.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Fatalf("%d, %v", code, h)
	}
	has(t, body, "ws://example.com/xrpc/com.atproto.sync.subscribeRepos?cursor=0", "5,000,000", "25 Nov 2026, 12:00")
	_, body, h = get("/", "X-Forwarded-Proto", "https")
	if !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
		t.Errorf("curl gets %s", h.Get("Content-Type"))
	}
	has(t, body, "wss://example.com/xrpc/com.atproto.sync.subscribeRepos", "seq 1, 2026-11-25T12:00:00Z")
	for path, want := range map[string]int{
		"/assets/style.css": 200, "/assets/drop.svg": 200, "/assets/front.html": 404, "/assets/": 404, "/nothing": 404,
	} {
		if code, _, _ := get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestTheOperatorSeesHostsConsumersAndWhatWasDropped(t *testing.T) {
	_, get := open(t, network(2800))
	code, body, _ := get("/admin/")
	if code != http.StatusOK {
		t.Fatal(body)
	}
	has(t, body, "pds2799.example", "2,520", "192.0.2.1", "12,345", "did:plc:gone", "bad.example", "1.0 MiB, the oldest 1.0 h", "page 1 of 56",
		"bad_signature", "the first 40 of 2,800 hosts", "waits for the archive", "95.0 GiB of 100.0 GiB")
	for _, raw := range []string{"<b>agent</b>", "<script>alert"} {
		if strings.Contains(body, raw) {
			t.Errorf("a stranger's %s stands there as it came", raw)
		}
	}
	_, body, _ = get("/admin/?q=offline&sort=name")
	has(t, body, "pds0002.example", "1 of 2,800")
	if strings.Contains(body, `data-host="pds2799.example"`) {
		t.Error("a search finds what it should not")
	}
	_, body, _ = get("/admin/part/hosts?sort=behind")
	if at := strings.Index(body, "pds0003.example"); at < 0 || at > strings.Index(body, "pds0000.example") {
		t.Error("the host that is behind does not come first")
	}
	_, body, _ = get("/admin/part/heat?by=dropped")
	has(t, body, "l5 bad")
	for path, want := range map[string]int{
		"/admin/part/tiers": 200, "/admin/part/consumers": 200, "/admin/part/drops": 200, "/admin/part/decisions": 200,
		"/admin/part/nothing": 404, "/admin/part/hosts?page=9999999&sort=x": 200, "/admin/part/hosts?page=-1": 200,
	} {
		if code, body, _ := get(path); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, body)
		}
	}
}

func TestWhoFollowsARelaySeesHowFarBehindItIs(t *testing.T) {
	s := network(2)
	hosts := s.Hosts()
	stream := s.Stream()
	stream.Numbers = "relay.example"
	s.Stream = func() xrpc.StreamInfo { return stream }
	_, get := open(t, s)
	if _, body, _ := get("/admin/"); strings.Contains(body, "Upstream relays") {
		t.Error("who crawls hosts sees relays")
	}
	hosts[0].HostInfo.Name = "relay.example"
	hosts[0].HostInfo.Relay = &ingest.RelayInfo{Events: 1234567, For: 90 * time.Second, Broken: "<another> relay answers"}
	_, body, _ := get("/admin/part/relays")
	has(t, body, "relay.example", "1,234,567", "1 min", "&lt;another&gt; relay answers")
	_, body, _ = get("/admin/")
	has(t, body, "Upstream relays", "1,234,567")
	_, body, _ = get("/", "Accept", "text/html")
	has(t, body, "It follows the relay <b>relay.example</b>")
}

func TestAnEmptyRelayHasPagesToo(t *testing.T) {
	s := network(0)
	s.Stream = func() xrpc.StreamInfo {
		return xrpc.StreamInfo{Stream: segmentlog.NewStream(1), Tiers: []xrpc.TierInfo{{Name: "memory"}, {Name: "disk"}, {Name: "archive"}}}
	}
	s.Consumers, s.ShipLag, s.Disk = func() []replay.ConsumerInfo { return nil }, func() (int64, int64) { return 0, 0 }, func() (int64, int64) { return 0, 0 }
	_, get := open(t, s)
	for _, path := range []string{"/", "/admin/"} {
		if code, body, _ := get(path, "Accept", "text/html"); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestALedgerThatCannotBeReadIsSaid(t *testing.T) {
	s := network(5)
	s.Ledger = func(context.Context, ledger.Query) (ledger.Page, error) {
		return ledger.Page{}, errors.New("no such disk")
	}
	_, get := open(t, s)
	_, body, _ := get("/admin/part/heat")
	has(t, body, "no such disk")
}

func TestCountsBecomeRates(t *testing.T) {
	var c Counts
	now := noon
	s := newSampler(func() Counts { return c }, func() time.Time { return now })
	for i := range samples + 10 {
		now = now.Add(2 * time.Second)
		c.Events += uint64(2 * i)
		c.Served += 1000
		s.sample()
	}
	h := s.history()
	if len(h) != samples || h[samples-1].Events != samples+9 || h[0].Events != 10 || s.current().Served != 500 {
		t.Errorf("%d samples from %+v to %+v", len(h), h[0], h[len(h)-1])
	}
	s.sample() // at the same instant
	c.Events = 0
	now = now.Add(time.Second)
	if s.sample(); s.current().Events != 0 {
		t.Errorf("%+v", s.current())
	}
}

func TestALivePageGetsNumbersUntilTheRelayEnds(t *testing.T) {
	s := network(100)
	d := New(s)
	srv := httptest.NewServer(d.Admin())
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + "/admin/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	var o overview
	if err == nil {
		err = json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &o)
	}
	if err != nil || o.Hosts != 100 || o.Connected != 90 || o.Tip != 5_000_000 || o.LagMax != 12345 || o.ShipAge != 3600 || o.Consumers != 1 {
		t.Errorf("%q: %+v, %v", line, o, err)
	}
	d.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream did not end: %v", err)
	}
}

func TestOnlySoManyPagesAreLive(t *testing.T) {
	d, get := open(t, network(1))
	for range maxLive {
		d.streams <- struct{}{}
	}
	if code, _, h := get("/admin/live"); code != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("%d %v", code, h)
	}
}

func TestTheLedgerIsReadOnceAMinuteHoweverManyLook(t *testing.T) {
	var read atomic.Int32
	var now atomic.Int64
	now.Store(noon.Unix())
	s := network(10)
	s.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	s.Ledger = func(_ context.Context, q ledger.Query) (ledger.Page, error) {
		read.Add(1)
		return ledgerPage(10, q)
	}
	d, get := open(t, s)
	for range 20 {
		get("/admin/part/drops")
	}
	if n := read.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
	now.Add(61)
	get("/admin/part/drops")
	d.Close()
	if n := read.Load(); n != 2 {
		t.Errorf("read %d times after a minute", n)
	}
	get("/admin/part/drops") // after the end
}

func BenchmarkOperatorPageOf2800Hosts(b *testing.B) {
	_, get := open(b, network(2800))
	get("/admin/")
	for b.Loop() {
		get("/admin/")
	}
}
