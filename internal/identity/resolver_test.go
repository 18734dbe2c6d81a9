package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const someDID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

// directory is a PLC directory of one's own.
type directory struct {
	*httptest.Server
	requests atomic.Int32
	mu       sync.Mutex
	serve    func(w http.ResponseWriter, r *http.Request)
}

func newDirectory(t *testing.T, serve http.HandlerFunc) *directory {
	d := &directory{serve: serve}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.requests.Add(1)
		d.mu.Lock()
		serve := d.serve
		d.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *directory) change(serve http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serve = serve
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func body(b string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, b) }
}

func publicKeyOf(t testing.TB, curve string) atcrypto.PublicKey {
	t.Helper()
	var priv atcrypto.PrivateKey
	var err error
	if curve == "k256" {
		priv, err = atcrypto.GeneratePrivateKeyK256()
	} else {
		priv, err = atcrypto.GeneratePrivateKeyP256()
	}
	if err != nil {
		t.Fatal(err)
	}
	pub, err := priv.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func documentOf(t *testing.T, did, pds string, method map[string]string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"@context": []string{"https://www.w3.org/ns/did/v1"}, "id": did,
		"verificationMethod": []any{method},
		"service": []any{map[string]string{
			"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func multikeyDoc(t *testing.T, pds string) string {
	return documentOf(t, someDID, pds, map[string]string{
		"id": someDID + "#atproto", "type": "Multikey", "controller": someDID,
		"publicKeyMultibase": publicKeyOf(t, "k256").Multibase(),
	})
}

// hand is a clock moved by hand.
type hand struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hand) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.t }
func (h *hand) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

func newResolver(t *testing.T, change func(*Options), plc ...string) (*Resolver, *hand) {
	t.Helper()
	clock := &hand{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	opts := Options{PLCHosts: plc, Now: clock.now, Timeout: 5 * time.Second}
	if change != nil {
		change(&opts)
	}
	r, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, clock
}

func TestADocumentIsFreshForADayAndUsableForAWeekMore(t *testing.T) {
	plc := newDirectory(t, body(multikeyDoc(t, "https://pds.example")))
	r, clock := newResolver(t, nil, plc.URL)
	ctx := context.Background()
	look := func(wantRequests int32, wantStale bool) {
		t.Helper()
		id, err := r.Lookup(ctx, someDID)
		if err != nil || id.Host != "pds.example" || id.Key == nil || id.Stale != wantStale {
			t.Fatalf("Lookup: %+v, %v; want stale %v", id, err, wantStale)
		}
		if n := plc.requests.Load(); n != wantRequests {
			t.Fatalf("%d requests, want %d", n, wantRequests)
		}
	}
	look(1, false)
	clock.move(freshFor - time.Second)
	look(1, false)
	clock.move(2 * time.Second)
	look(2, false)
	plc.change(status(503))
	clock.move(freshFor + time.Second)
	look(3, true)
	look(3, true) // the failure is remembered for a moment
	clock.move(failedFor + time.Second)
	look(4, true)
	clock.move(staleFor)
	if _, err := r.Lookup(ctx, someDID); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("after a week: %v, want ErrUnavailable", err)
	}
	plc.change(body(multikeyDoc(t, "https://pds.example")))
	look(6, false)
}

func TestAFailedRefreshLeavesTheDocumentAndDoubtsIt(t *testing.T) {
	plc := newDirectory(t, body(multikeyDoc(t, "https://a.example")))
	r, clock := newResolver(t, nil, plc.URL)
	ctx := context.Background()
	if _, err := r.Lookup(ctx, someDID); err != nil {
		t.Fatal(err)
	}
	plc.change(status(500))
	if id, err := r.Refresh(ctx, someDID); err != nil || !id.Stale || id.Host != "a.example" {
		t.Fatalf("Refresh: %+v, %v", id, err)
	}
	if id, ok, _ := r.Cached(someDID); !ok || !id.Stale {
		t.Fatalf("Cached: %+v, %v; want the document, stale", id, ok)
	}
	plc.change(body(multikeyDoc(t, "https://b.example")))
	clock.move(failedFor + time.Second)
	if id, err := r.Lookup(ctx, someDID); err != nil || id.Stale || id.Host != "b.example" {
		t.Fatalf("Lookup after the outage: %+v, %v", id, err)
	}
}

func TestAnswersThatAreFinalAndAnswersThatAreNot(t *testing.T) {
	noKey := strings.Replace(multikeyDoc(t, "https://pds.example"), "#atproto\"", "#other\"", 1)
	noPDS := strings.Replace(multikeyDoc(t, "https://pds.example"), "atproto_pds", "other", 1)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error
	}{
		"404":            {status(404), ErrGone},
		"410":            {status(410), ErrTombstone},
		"no key":         {body(noKey), ErrUnusable},
		"no PDS":         {body(noPDS), ErrUnusable},
		"bad PDS":        {body(multikeyDoc(t, "ftp://pds.example")), ErrUnusable},
		"bad key":        {body(documentOf(t, someDID, "https://a.example", map[string]string{"id": "#atproto", "type": "Multikey", "controller": someDID, "publicKeyMultibase": "zQ3sh"})), ErrUnusable},
		"too large":      {body(`{"id":"` + strings.Repeat("x", maxDocument) + `"}`), ErrUnavailable},
		"429":            {status(429), ErrUnavailable},
		"500":            {status(500), ErrUnavailable},
		"403":            {status(403), ErrUnavailable},
		"not JSON":       {body("<html>"), ErrUnavailable},
		"another's":      {body(strings.ReplaceAll(multikeyDoc(t, "https://a.example"), someDID, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")), ErrUnavailable},
		"sent elsewhere": {http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			plc := newDirectory(t, c.serve)
			r, clock := newResolver(t, nil, plc.URL)
			if _, err := r.Lookup(context.Background(), someDID); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			final := !errors.Is(c.want, ErrUnavailable)
			if _, ok, err := r.Cached(someDID); ok != final || (final && !errors.Is(err, c.want)) {
				t.Errorf("Cached: %v, %v", err, ok)
			}
			clock.move(negativeFor)
			if _, ok, _ := r.Cached(someDID); ok {
				t.Error("a negative answer outlived its time")
			}
		})
	}
}

func TestTheNextDirectoryAnswersForOneThatFails(t *testing.T) {
	bad := newDirectory(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(429)
	})
	good := newDirectory(t, body(multikeyDoc(t, "https://pds.example")))
	r, clock := newResolver(t, nil, bad.URL, good.URL+"/")
	for range 3 {
		if _, err := r.Refresh(context.Background(), someDID); err != nil {
			t.Fatal(err)
		}
	}
	if n := bad.requests.Load(); n != 1 {
		t.Errorf("the one that said Retry-After was asked %d times, want once", n)
	}
	clock.move(121 * time.Second)
	if _, err := r.Refresh(context.Background(), someDID); err != nil {
		t.Fatal(err)
	}
	if n := bad.requests.Load(); n != 2 {
		t.Errorf("it was asked %d times after its time, want twice", n)
	}
	good.change(status(503))
	var ue *UnavailableError
	r2, _ := newResolver(t, nil, bad.URL, good.URL)
	if _, err := r2.Lookup(context.Background(), someDID); !errors.As(err, &ue) || ue.RetryAfter != 2*time.Minute {
		t.Errorf("with both away: %v, want an UnavailableError with 2 min", err)
	}
}

func TestLookupsShareARequestAndARefreshNeverJoinsAnOlderOne(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 8)
	var current atomic.Pointer[string]
	older, newer := multikeyDoc(t, "https://old.example"), multikeyDoc(t, "https://new.example")
	current.Store(&older)
	plc := newDirectory(t, func(w http.ResponseWriter, _ *http.Request) {
		doc := *current.Load()
		entered <- struct{}{}
		<-gate
		fmt.Fprint(w, doc)
	})
	r, _ := newResolver(t, nil, plc.URL)
	ctx := context.Background()
	var wg sync.WaitGroup
	hosts := make([]string, 8)
	look := func(i int, f func(context.Context, string) (Identity, error)) {
		wg.Go(func() {
			id, err := f(ctx, someDID)
			if err != nil {
				t.Error(err)
			}
			hosts[i] = id.Host
		})
	}
	look(0, r.Lookup)
	<-entered // it has read the old document
	current.Store(&newer)
	for i := 1; i < 4; i++ {
		look(i, r.Lookup)
	}
	for i := 4; i < 8; i++ {
		look(i, r.Refresh)
	}
	waitJoined(t, r)
	close(gate)
	wg.Wait()
	if hosts[0] != "old.example" {
		t.Errorf("the first lookup got %s", hosts[0])
	}
	for i := 4; i < 8; i++ {
		if hosts[i] != "new.example" {
			t.Errorf("a refresh got %s, the answer to an older request", hosts[i])
		}
	}
	if n := plc.requests.Load(); n != 2 {
		t.Errorf("%d requests for eight callers, want 2", n)
	}
}

// waitJoined waits until a refresh has lined up behind the request on its way.
func waitJoined(t *testing.T, r *Resolver) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); ; {
		r.flights.mu.Lock()
		fl := r.flights.m[someDID]
		joined := fl != nil && fl.next != nil
		r.flights.mu.Unlock()
		if joined {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no refresh lined up")
		}
	}
}

func TestACallerWhoGoesAwayTakesNothingFromTheOthers(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	doc := multikeyDoc(t, "https://pds.example")
	plc := newDirectory(t, func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-gate
		fmt.Fprint(w, doc)
	})
	r, _ := newResolver(t, nil, plc.URL)
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() {
		_, err := r.Lookup(ctx, someDID)
		gaveUp <- err
	}()
	<-entered
	cancel()
	if err := <-gaveUp; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(gate)
	if id, err := r.Lookup(context.Background(), someDID); err != nil || id.Host != "pds.example" {
		t.Errorf("the other got %+v, %v", id, err)
	}
	if n := plc.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
