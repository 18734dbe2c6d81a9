package collections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noted is what a Refresher added.
type noted struct {
	mu   sync.Mutex
	cond *sync.Cond
	list []string
}

func newNoted() *noted {
	n := &noted{}
	n.cond = sync.NewCond(&n.mu)
	return n
}

func (n *noted) add(_ context.Context, did string, names []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprint(did, names))
	n.cond.Broadcast()
	return nil
}

func (n *noted) wait(count int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.list) < count {
		n.cond.Wait()
	}
	return slices.Clone(n.list)
}

func TestAnAccountsHostIsAskedOnce(t *testing.T) {
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		did := r.URL.Query().Get("repo")
		switch did {
		case "did:plc:lies":
			did = "did:plc:other"
		case "did:plc:broken":
			http.Error(w, "no", http.StatusInternalServerError)
			return
		case "did:plc:endless":
			for range 2 * maxDescription / 16 {
				fmt.Fprint(w, "                ")
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"did": did, "collections": []string{"a.b.c", "d.e.f"}})
	}))
	defer host.Close()
	n := newNoted()
	r := NewRefresher(Options{
		Add: n.add, PerSecond: 1000, Queue: 6,
		Host: func(did string) (Host, bool, error) {
			if did == "did:plc:private" {
				return Host{URL: host.URL}, true, nil // a loopback, of a host that nobody named
			}
			return Host{URL: host.URL, Trusted: true}, did != "did:plc:gone", nil
		},
	})
	for _, did := range []string{"one", "one", "lies", "broken", "endless", "private", "two"} {
		r.Synced("did:plc:" + did)
	}
	r.Synced("did:plc:late") // beyond the queue
	if n := r.waiting(); n != 6 {
		t.Fatalf("%d wait", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	n.wait(2)
	r.Synced("did:plc:gone")
	r.Synced("did:plc:three")
	got := n.wait(3)
	cancel()
	running.Wait()
	if want := []string{"did:plc:one[a.b.c d.e.f]", "did:plc:two[a.b.c d.e.f]", "did:plc:three[a.b.c d.e.f]"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// pair is a relay that is asked and one that is told.
type pair struct {
	repos map[string]int // of each collection
	told  map[string][]string
	fails int // after how many calls of either nothing is answered any more, below 0 for never
}

var errDown = errors.New("it is down")

func (p *pair) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.fails == 0 {
		return nil, errDown
	}
	p.fails--
	w := httptest.NewRecorder()
	switch r.URL.Host + r.URL.Path {
	case "from/xrpc/com.atproto.sync.listReposByCollection":
		p.list(w, r)
	case "to/admin/collections/list":
		_ = json.NewEncoder(w).Encode(map[string][]string{"collections": {"a.b.c", "d.e.f", "g.h.i"}})
	case "to/admin/collections/add":
		p.add(w, r)
	default:
		http.NotFound(w, r)
	}
	return w.Result(), nil
}

func (p *pair) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	first, _ := strconv.Atoi(q.Get("cursor"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	last := min(first+limit, p.repos[q.Get("collection")])
	page := map[string]any{}
	repos := []map[string]string{}
	for i := first; i < last; i++ {
		repos = append(repos, map[string]string{"did": fmt.Sprint("did:plc:", i)})
	}
	page["repos"] = repos
	if last < p.repos[q.Get("collection")] {
		page["cursor"] = strconv.Itoa(last)
	}
	_ = json.NewEncoder(w).Encode(page)
}

func (p *pair) add(w http.ResponseWriter, r *http.Request) {
	if _, password, _ := r.BasicAuth(); password != "secret" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	var body struct {
		Collection string
		DIDs       []string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.told[body.Collection] = append(p.told[body.Collection], body.DIDs...)
}

func TestABackfillGoesOnWhereItEnded(t *testing.T) {
	p := &pair{repos: map[string]int{"a.b.c": 2500, "d.e.f": 0, "g.h.i": 1000}, told: map[string][]string{}}
	b := Backfill{
		Retry: time.Millisecond, From: "http://from", To: "http://to", Password: "secret", State: filepath.Join(t.TempDir(), "state.json"),
		Client: &http.Client{Transport: p}, Progress: func(string, int) {},
	}
	for runs := 0; ; runs++ {
		if runs > 20 {
			t.Fatal("it does not come to an end")
		}
		p.fails = 3
		ctx, cancel := context.WithCancel(t.Context())
		b.Progress = func(string, int) {
			if p.fails == 0 {
				cancel() // it is interrupted
			}
		}
		repos, n, err := b.Run(ctx)
		cancel()
		if err != nil {
			continue
		}
		if repos != 2500+1000 || n != 3 {
			t.Errorf("%d entries of %d collections", repos, n)
		}
		break
	}
	for name, want := range p.repos {
		if got := len(p.told[name]); got != want {
			t.Errorf("%s: %d of %d, some perhaps twice", name, got, want)
		}
	}
	b.From = "http://other"
	if _, _, err := b.Run(t.Context()); err == nil {
		t.Error("the file of another backfill was taken")
	}
}

func TestABackfillWithoutThePasswordEndsAtOnce(t *testing.T) {
	p := &pair{repos: map[string]int{"a.b.c": 5}, told: map[string][]string{}, fails: -1}
	b := Backfill{
		Retry: time.Millisecond, From: "http://from", To: "http://to", Password: "wrong", State: filepath.Join(t.TempDir(), "state.json"), Collections: []string{"a.b.c"},
		Client: &http.Client{Transport: p}, Progress: func(string, int) {},
	}
	if _, _, err := b.Run(t.Context()); !errors.Is(err, errRefused) {
		t.Error(err)
	}
}
