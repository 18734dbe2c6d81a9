package xrpc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/segmentlog"
)

// people are accounts that somebody knows.
type people struct {
	all      map[string]accounts.Account
	with     map[string][]string // by collection, in order
	notReady bool
}

func (p *people) err() error {
	if p.notReady {
		return ErrNotReady
	}
	return nil
}

func (p *people) Account(did string) (accounts.Account, bool, error) {
	a, ok := p.all[did]
	return a, ok, p.err()
}

func (p *people) AccountsAfter(_ context.Context, after string, f func(string, accounts.Account) bool) error {
	var dids []string
	for did := range p.all {
		if did > after {
			dids = append(dids, did)
		}
	}
	slices.Sort(dids)
	for _, did := range dids {
		if !f(did, p.all[did]) {
			break
		}
	}
	return p.err()
}

func (p *people) ReposByCollection(collection, after string, limit int) (out []string, err error) {
	for _, did := range p.with[collection] {
		if did > after && len(out) < limit {
			out = append(out, did)
		}
	}
	return out, p.err()
}

func (p *people) RepoURL(_ context.Context, _ string, a accounts.Account) string {
	if a.Host == "" {
		return ""
	}
	return "https://" + a.Host
}

func (p *people) StreamID() string { return "abc" }

// Describe, CursorAt and CursorOf are of a log with one event.
func (p *people) Describe() StreamInfo {
	return StreamInfo{
		Stream: segmentlog.Stream{ID: "abc", Epochs: []segmentlog.Epoch{{Epoch: 1, FirstSeq: 1}}},
		Oldest: Position{1, time.Unix(1, 0)}, Newest: Position{5, time.Time{}}, Reserved: 65536, Tiers: []TierInfo{{"memory", 1, 5, 100}, {"disk", 0, 0, 0}},
	}
}

func (p *people) CursorAt(_ context.Context, t time.Time) (uint64, error) {
	return uint64(t.Unix()), p.err()
}

func (p *people) CursorOf(_ context.Context, did, rev string) (uint64, bool, bool, error) {
	switch did {
	case "did:plc:busy":
		return 0, false, false, ErrBusy
	case "did:plc:unknown":
		return 0, false, false, nil
	}
	return 7, rev == someRev, true, p.err()
}

const (
	someRev = "3laaaaaaaaa2a"
	someCID = "bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxgf5kpqcsgz7soitae"
)

func knownPeople(t *testing.T) *people {
	c, err := cid.Decode(someCID)
	if err != nil {
		t.Fatal(err)
	}
	repo := accounts.Repo{Rev: someRev, Data: c.Bytes(), Commit: c.Bytes()}
	is := func(reason string) accounts.Status { return accounts.Status{Inactive: true, Reason: reason} }
	return &people{
		all: map[string]accounts.Account{
			"did:plc:a": {Host: "pds.example", Repo: repo}, "did:plc:b": {Host: "pds.example"}, "did:plc:c": {Host: "pds.example", Repo: repo, Upstream: is("deactivated")},
			"did:plc:d": {Host: "pds.example", Repo: repo, Local: is("takendown")}, "did:plc:e": {Host: "pds.example", Repo: repo, Upstream: is("suspended")},
			"did:plc:f": {Host: "pds.example", Repo: repo, Upstream: is("deleted")}, "did:plc:g": {Repo: repo}, "did:plc:h": {Host: "pds.example", Repo: repo, Upstream: is("")},
		},
		with: map[string][]string{"app.bsky.feed.post": {"did:plc:a", "did:plc:c", "did:plc:d", "did:plc:g", "did:plc:z"}},
	}
}

func ask(t *testing.T, p *people, path string, into any) (int, http.Header) {
	t.Helper()
	h := NewHandler(Parts{SubscribeRepos: http.NotFoundHandler(), Repos: p, Stream: p, Healthy: func() error { return nil }, Ready: func() error { return nil }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/xrpc/"+path, nil))
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %s: %v", path, w.Body, err)
		}
	}
	return w.Code, w.Header()
}

// errorOf is the name of the error that a call gets, "" for none.
func errorOf(t *testing.T, p *people, path string) (int, string) {
	t.Helper()
	var body struct{ Error string }
	code, _ := ask(t, p, path, &body)
	return code, body.Error
}

func TestEveryPageSizeListsEveryRepoOnce(t *testing.T) {
	p := knownPeople(t)
	for limit := 1; limit < 10; limit++ {
		var got []string
		for cursor, pages := "", 0; ; pages++ {
			var page reposPageOf[repoRow]
			if code, _ := ask(t, p, fmt.Sprintf("com.atproto.sync.listRepos?limit=%d&cursor=%s", limit, cursor), &page); code != 200 || pages > 10 {
				t.Fatalf("HTTP %d, page %d", code, pages)
			}
			if len(page.Repos) > limit || len(page.Repos) < limit && page.Cursor != "" {
				t.Errorf("limit %d: %d rows and cursor %q", limit, len(page.Repos), page.Cursor)
			}
			for _, r := range page.Repos {
				got = append(got, fmt.Sprint(r.DID, " ", r.Active, r.Status))
				if r.Head != someCID || r.Rev != someRev {
					t.Errorf("%+v", r)
				}
			}
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		want := "did:plc:a true,did:plc:c falsedeactivated,did:plc:d falsetakendown,did:plc:e falsesuspended,did:plc:f falsedeleted,did:plc:g true,did:plc:h false"
		if strings.Join(got, ",") != want {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

func TestReposOfACollectionAreThoseThatAreActive(t *testing.T) {
	p := knownPeople(t)
	for limit := 1; limit < 6; limit++ {
		var got []string
		for cursor := ""; ; {
			var page reposPageOf[repoName]
			ask(t, p, fmt.Sprintf("com.atproto.sync.listReposByCollection?collection=app.bsky.feed.post&limit=%d&cursor=%s", limit, cursor), &page)
			for _, r := range page.Repos {
				got = append(got, r.DID)
			}
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		if strings.Join(got, ",") != "did:plc:a,did:plc:g,did:plc:z" {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

func TestAnAccountsStateIsToldInTheLexiconsWords(t *testing.T) {
	p := knownPeople(t)
	for did, want := range map[string]string{
		"a": "200 ", "b": "404 RepoNotFound", "c": "403 RepoDeactivated", "d": "403 RepoTakendown", "e": "403 RepoSuspended", "f": "404 RepoNotFound",
		"h": "403 RepoDeactivated", "nobody": "404 RepoNotFound",
	} {
		code, name := errorOf(t, p, "com.atproto.sync.getLatestCommit?did=did:plc:"+did)
		if got := fmt.Sprint(code, " ", name); got != want {
			t.Errorf("getLatestCommit of %s: %s, want %s", did, got, want)
		}
	}
	var status repoStatus
	ask(t, p, "com.atproto.sync.getRepoStatus?did=did:plc:a", &status)
	if status != (repoStatus{"did:plc:a", true, "", someRev}) {
		t.Errorf("%+v", status)
	}
	status = repoStatus{}
	ask(t, p, "com.atproto.sync.getRepoStatus?did=did:plc:d", &status)
	if status != (repoStatus{"did:plc:d", false, "takendown", ""}) {
		t.Errorf("%+v", status)
	}
	if code, name := errorOf(t, p, "com.atproto.sync.getRepoStatus?did=did:plc:nobody"); code != 404 || name != "RepoNotFound" {
		t.Errorf("%d %s", code, name)
	}
}

func TestReposAndRecordsAreAtTheirHost(t *testing.T) {
	p := knownPeople(t)
	for path, want := range map[string]string{
		"com.atproto.sync.getRepo?did=did:plc:a&since=" + someRev:                          "https://pds.example/xrpc/com.atproto.sync.getRepo?did=did:plc:a&since=" + someRev,
		"com.atproto.sync.getRecord?did=did:plc:a&collection=app.bsky.feed.post&rkey=self": "https://pds.example/xrpc/com.atproto.sync.getRecord?did=did:plc:a&collection=app.bsky.feed.post&rkey=self",
	} {
		if code, h := ask(t, p, path, nil); code != http.StatusFound || h.Get("Location") != want {
			t.Errorf("%s: %d %s", path, code, h.Get("Location"))
		}
	}
	for path, want := range map[string]string{
		"getRepo?did=did:plc:d": "403 RepoTakendown", "getRepo?did=did:plc:nobody": "404 RepoNotFound", "getRepo?did=did:plc:g": "404 RepoNotFound", "getRepo": "400 InvalidRequest",
		"getRecord?did=did:plc:a": "400 InvalidRequest", "getRecord?did=did:plc:a&collection=app.bsky.feed.post": "400 InvalidRequest",
	} {
		if code, name := errorOf(t, p, "com.atproto.sync."+path); fmt.Sprint(code, " ", name) != want {
			t.Errorf("%s: %d %s, want %s", path, code, name, want)
		}
	}
}

func TestParametersThatBreakTheirLexiconAreRefused(t *testing.T) {
	p := knownPeople(t)
	for _, path := range []string{
		"com.atproto.sync.listRepos?limit=0", "com.atproto.sync.listRepos?limit=1001", "com.atproto.sync.listRepos?limit=x", "com.atproto.sync.listRepos?limit=1&limit=2",
		"com.atproto.sync.listReposByCollection", "com.atproto.sync.listReposByCollection?collection=x", "com.atproto.sync.listReposByCollection?collection=a.b.c&limit=2001",
		"com.atproto.sync.getRepoStatus", "com.atproto.sync.getRepoStatus?did=alice", "com.atproto.sync.getLatestCommit?did=", "com.atproto.sync.getRepoStatus?did=%zz",
		"network.cistern.resolveCursor", "network.cistern.resolveCursor?time=today", "network.cistern.resolveCursor?time=", "network.cistern.resolveCursor?did=did:plc:a",
		"network.cistern.resolveCursor?did=did:plc:a&rev=x", "network.cistern.resolveCursor?time=2026-01-01T00:00:00Z&did=did:plc:a&rev=" + someRev,
	} {
		if code, name := errorOf(t, p, path); code != 400 || name != "InvalidRequest" {
			t.Errorf("%s: %d %s", path, code, name)
		}
	}
	if code, name := errorOf(t, p, "com.atproto.server.describeServer"); code != 501 || name != "MethodNotImplemented" {
		t.Errorf("describeServer: %d %s", code, name) // other relays would take us for a host
	}
}

func TestWhileTheIndexIsBehindTheAnswerIsToWait(t *testing.T) {
	p := knownPeople(t)
	p.notReady = true
	for _, path := range []string{
		"com.atproto.sync.listRepos", "com.atproto.sync.getRepoStatus?did=did:plc:a", "com.atproto.sync.listReposByCollection?collection=app.bsky.feed.post",
		"com.atproto.sync.getRepo?did=did:plc:a",
	} {
		var body struct{ Error string }
		if code, h := ask(t, p, path, &body); code != 503 || body.Error != "NotReady" || h.Get("Retry-After") == "" {
			t.Errorf("%s: %d %+v %v", path, code, body, h)
		}
	}
}

func TestTheStreamAndItsCursors(t *testing.T) {
	p := knownPeople(t)
	var got map[string]any
	ask(t, p, "network.cistern.getStream", &got)
	if fmt.Sprint(got) != "map[epochs:[map[epoch:1 firstSeq:1 prevLastSeq:0]] newest:map[seq:5] oldest:map[seq:1 time:1970-01-01T00:00:01Z] reserved:65536 stream:abc "+
		"tiers:[map[bytes:100 firstSeq:1 lastSeq:5 tier:memory] map[bytes:0 tier:disk]]]" {
		t.Errorf("%v", got)
	}
	for query, want := range map[string]string{
		"time=1970-01-01T00:00:09Z":             "map[cursor:9 stream:abc]",
		"did=did:plc:a&rev=" + someRev:          "map[cursor:7 exact:true stream:abc]",
		"did=did:plc:a&rev=3laaaaaaaaa2b":       "map[cursor:7 exact:false stream:abc]",
		"did=did:plc:unknown&rev=3laaaaaaaaa2b": "RevNotFound",
		"did=did:plc:busy&rev=3laaaaaaaaa2b":    "RateLimitExceeded",
	} {
		got = nil
		if ask(t, p, "network.cistern.resolveCursor?"+query, &got); fmt.Sprint(got) != want && got["error"] != want {
			t.Errorf("%s: %v", query, got)
		}
	}
}
