package crawl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/operator"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/testing/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen before it fails.
const patience = 10 * time.Second

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.Until(t, patience, what, cond)
}

// nobody is a log that takes nothing and a resolver that knows nobody.
type nobody struct{}

func (nobody) Append(context.Context, *segmentlog.Entry) (uint64, error) { return 0, io.ErrClosedPipe }
func (nobody) Cached(string) (id identity.Identity, ok bool, err error)  { return }
func (nobody) Lookup(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, identity.ErrGone
}
func (nobody) Refresh(context.Context, string) (identity.Identity, error) {
	return identity.Identity{}, identity.ErrGone
}
func (nobody) Announced(context.Context, string) (id identity.Identity, changed bool, err error) {
	return id, false, identity.ErrUnavailable
}
func (nobody) PastKeys(context.Context, string, time.Time) ([]*signing.Key, error) {
	return nil, identity.ErrUnusable
}

// pds is one host of a world.
type pds struct {
	describe   func(w http.ResponseWriter) // nil: well
	header     http.Header                 // of the upgrade
	refuse     bool                        // the upgrade
	described  int
	subscribed int
	open       int
	cursors    []string
}

// world is a server that is every host, told apart by name, and the way there.
type world struct {
	t      *testing.T
	server *httptest.Server

	mu    sync.Mutex
	hosts map[string]*pds
	dials int
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t, hosts: make(map[string]*pds)}
	for _, n := range names {
		w.hosts[n] = &pds{}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/xrpc/com.atproto.server.describeServer", w.describe)
	mux.HandleFunc("/xrpc/com.atproto.sync.subscribeRepos", w.subscribe)
	w.server = httptest.NewUnstartedServer(mux)
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	w.server.StartTLS()
	t.Cleanup(func() {
		w.server.Close()
		until(t, "all connections to be closed", func() bool { // the server does not know of them any more
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, h := range w.hosts {
				if h.open > 0 {
					return false
				}
			}
			return true
		})
	})
	return w
}

func (w *world) describe(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	h := w.hosts[r.Host]
	var answer func(http.ResponseWriter)
	if h != nil {
		h.described++
		answer = h.describe
	}
	w.mu.Unlock()
	switch {
	case h == nil:
		http.NotFound(rw, r)
	case answer != nil:
		answer(rw)
	default:
		_, _ = io.WriteString(rw, `{"did":"did:web:pds.example","availableUserDomains":[]}`)
	}
}

func (w *world) subscribe(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	h := w.hosts[r.Host]
	if h == nil || h.refuse {
		w.mu.Unlock()
		http.NotFound(rw, r)
		return
	}
	h.subscribed++
	h.open++
	h.cursors = append(h.cursors, r.URL.Query().Get("cursor"))
	header := h.header
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		h.open--
	}()
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(rw, r, header)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		if _, _, err := c.NextReader(); err != nil {
			return
		}
	}
}

// of reads a host's figures.
func (w *world) of(name string) pds {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h == nil {
		w.t.Fatalf("no host %s", name)
	}
	return *h
}

func (w *world) set(name string, f func(*pds)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.hosts[name])
}

// dial reaches the server, whatever address is named.
func (w *world) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	w.mu.Lock()
	w.dials++
	w.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, w.server.Listener.Addr().String())
}

func (w *world) dialOptions(dns *fakeDNS) ingest.DialOptions {
	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	return ingest.DialOptions{
		BackoffBase: 5 * time.Millisecond, PerSecond: 10_000, Resolver: dns.resolver(), DialPublic: w.dial,
		TLS: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	}
}

// fakeDNS answers every question for addresses with what answer says.
type fakeDNS struct {
	mu     sync.Mutex
	asked  map[string]int
	answer func(name string, n int) []string // n counts the questions for A of that name, from 0
}

func public(string, int) []string { return []string{"8.8.8.8", "2606:4700::1111"} }

func newDNS(answer func(name string, n int) []string) *fakeDNS {
	return &fakeDNS{asked: make(map[string]int), answer: answer}
}

func (d *fakeDNS) questions(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[name]
}

func (d *fakeDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // not a packet connection: messages have their length in front
		go d.serve(theirs)
		return ours, nil
	}}
}

func (d *fakeDNS) serve(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := d.reply(query)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// reply answers a message of RFC 1035 with one question.
func (d *fakeDNS) reply(query []byte) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		n := int(query[at])
		labels = append(labels, string(query[at+1:at+1+n]))
		at += 1 + n
	}
	name, kind := strings.Join(labels, "."), binary.BigEndian.Uint16(query[at+1:])
	question := query[12 : at+5]
	d.mu.Lock()
	n := d.asked[name]
	if kind == 1 {
		d.asked[name]++
	}
	d.mu.Unlock()
	var answers []byte
	count := uint16(0)
	for _, s := range d.answer(name, n) {
		a := netip.MustParseAddr(s)
		if a.Is4() != (kind == 1) {
			continue
		}
		count++
		answers = append(answers, 0xc0, 12) // the name of the question
		answers = binary.BigEndian.AppendUint16(answers, kind)
		answers = append(answers, 0, 1, 0, 0, 0, 0) // class IN, no time to live
		answers = binary.BigEndian.AppendUint16(answers, uint16(a.BitLen()/8))
		answers = append(answers, a.AsSlice()...)
	}
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1}, byte(count>>8), byte(count), 0, 0, 0, 0)
	return append(append(reply, question...), answers...)
}

// rig is a Crawler that has a Manager read its hosts.
type rig struct {
	t       *testing.T
	c       *Crawler
	m       *ingest.Manager
	store   Store
	journal *operator.Journal
	end     func()
	ended   bool
}

type rigOptions struct {
	dir       string // of the journal, "" for a new one
	store     Store  // nil for an empty Memory
	positions []ingest.Position
	dial      ingest.DialOptions
	reader    ingest.DialOptions // of the Manager; the zero value is dial
	change    func(*Options)
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.store == nil {
		o.store = NewMemory()
	}
	if o.reader.Resolver == nil {
		o.reader = o.dial
	}
	r := &rig{t: t, store: o.store}
	var err error
	if r.journal, err = operator.Open(operator.Options{Dir: o.dir}); err != nil {
		t.Fatal(err)
	}
	opts := Options{Decisions: r.journal, Dial: o.dial, NewHostsPerDay: 50, AccountLimit: 100}
	if o.change != nil {
		o.change(&opts)
	}
	if r.c, err = New(opts); err != nil {
		t.Fatal(err)
	}
	r.m, err = ingest.New(ingest.Options{
		Log: nobody{}, Resolver: nobody{}, Accounts: accounts.NewTable(accounts.Options{}), Positions: o.positions,
		Dial: o.reader, Rates: r.c.Rates, AccountLimit: r.c.AccountLimit, Observer: r.c,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.end, err = r.c.Begin(r.m, o.store, o.positions); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	if r.ended {
		return
	}
	r.ended = true
	r.end()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.m.Stop(ctx); err != nil {
		r.t.Error(err)
	}
	if err := r.journal.Close(); err != nil {
		r.t.Error(err)
	}
}

// remembered returns what the store has of a host.
func (r *rig) remembered(name string) (index.Crawl, bool) {
	r.t.Helper()
	crawls, err := r.store.Crawls()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range crawls {
		if c.Name == name {
			return c, true
		}
	}
	return index.Crawl{}, false
}

var someone = netip.MustParseAddr("192.0.2.1")

func (r *rig) request(name string) error { return r.c.Request(r.t.Context(), name, someone) }

func num(n int64) *int64 { return &n }

func blockOf(host string) operator.Decision {
	return operator.Decision{Action: operator.BlockHost, Subject: host}
}

func (r *rig) accounts() *accounts.Table { return accounts.NewTable(accounts.Options{}) }
