package relay

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// seen is what the log says of an account, record by record.
type seen struct {
	rev         string
	collections map[string]bool
}

// read goes through the whole log.
func (s *stage) read(each func(rec *segmentlog.Record, ev *frame.Event)) {
	s.t.Helper()
	reader := s.Log().NewReader(0)
	defer reader.Close()
	var rec segmentlog.Record
	for reader.Next(&rec) == nil {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			s.t.Fatal(err)
		}
		each(&rec, ev)
	}
}

// Lists of accounts are of the log: every page size gives every account that it has a commit
// of, with the state that its last record leaves.
func TestWhatTheLogSaysOfAccountsCanBeAskedOverHTTP(t *testing.T) {
	s := newStage(t)
	s.start()
	defer s.stop()
	s.steps(150)
	s.caughtUp()
	until(t, "the index to be up to the log", func() bool {
		x, err := s.intake.derived()
		return err == nil && s.Log().Tip() == uint64(s.net.Len()) && x.Applied() == s.Log().Tip()
	})
	truth := map[string]*seen{}
	s.read(func(rec *segmentlog.Record, ev *frame.Event) {
		a := truth[string(rec.DID)]
		if a == nil {
			a = &seen{collections: map[string]bool{}}
			truth[string(rec.DID)] = a
		}
		if ev.Kind == frame.Commit || ev.Kind == frame.Sync {
			a.rev = ev.Rev
		}
		for _, op := range ev.Ops {
			if op.Action != "delete" {
				a.collections[collectionOf(op.Path)] = true
			}
		}
	})
	for _, limit := range []int{1, 3, 1000} {
		got := map[string]string{}
		for cursor := ""; ; {
			var page struct {
				Cursor string
				Repos  []struct{ DID, Rev string }
			}
			s.get(fmt.Sprintf("/xrpc/com.atproto.sync.listRepos?limit=%d&cursor=%s", limit, cursor), &page)
			for _, r := range page.Repos {
				if got[r.DID] != "" {
					t.Errorf("%s is listed twice", r.DID)
				}
				got[r.DID] = r.Rev
			}
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		for did, a := range truth {
			if got[did] != a.rev {
				t.Errorf("limit %d: %s has rev %q, want %q", limit, did, got[did], a.rev)
			}
		}
	}
	s.checkCollections(truth)
	for did, a := range truth {
		if s.effective(did).Inactive || a.rev == "" {
			continue
		}
		var latest struct{ Rev string }
		if s.get("/xrpc/com.atproto.sync.getLatestCommit?did="+did, &latest); latest.Rev != a.rev {
			t.Errorf("%s: the latest commit is %s, want %s", did, latest.Rev, a.rev)
		}
		s.checkRedirect(did)
		break
	}
}

func collectionOf(path string) string {
	for i := range path {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return path
}

func (s *stage) checkCollections(truth map[string]*seen) {
	s.t.Helper()
	const post = "app.bsky.feed.post"
	var page struct{ Repos []struct{ DID string } }
	s.get("/xrpc/com.atproto.sync.listReposByCollection?collection="+post, &page)
	var got, want []string
	for _, r := range page.Repos {
		got = append(got, r.DID)
	}
	for did, a := range truth {
		if a.collections[post] && !s.effective(did).Inactive {
			want = append(want, did)
		}
	}
	if slices.Sort(want); len(want) == 0 || !slices.Equal(got, want) {
		s.t.Errorf("%s: %v, want %v", post, got, want)
	}
	if names, err := s.Collections(); err != nil || !slices.Contains(names, post) || !slices.IsSorted(names) {
		s.t.Errorf("collections %v, %v", names, err)
	}
	if err := s.AddRepos(s.t.Context(), "a.b.c", []string{"did:plc:elsewhere"}); err != nil {
		s.t.Error(err)
	}
	if s.get("/xrpc/com.atproto.sync.listReposByCollection?collection=a.b.c", &page); len(page.Repos) != 1 || page.Repos[0].DID != "did:plc:elsewhere" {
		s.t.Errorf("what was imported: %v", page)
	}
}

func (s *stage) checkRedirect(did string) {
	s.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + s.Addr() + "/xrpc/com.atproto.sync.getRepo?did=" + did)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusFound || !slices.Contains(s.net.HostURLs(), to.Scheme+"://"+to.Host) || to.RawQuery != "did="+did {
		s.t.Errorf("getRepo: %s to %s, %v", resp.Status, to, err)
	}
}

// A consumer that comes from another relay knows an event by its account and rev, or when it
// was.
func TestATimeOrARevBecomesACursor(t *testing.T) {
	s := newStage(t, func(o *netsim.Options) { o.WallClock = true })
	s.start()
	defer s.stop()
	var stream struct {
		Stream         string
		Oldest, Newest *struct {
			Seq  uint64
			Time time.Time
		}
		Tiers []struct {
			Tier              string
			FirstSeq, LastSeq uint64
		}
	}
	if s.get("/xrpc/network.cistern.getStream", &stream); stream.Oldest != nil || len(stream.Tiers) != 3 {
		t.Errorf("an empty log is %+v", stream)
	}
	s.steps(200)
	s.caughtUp()
	until(t, "the log to be durable", func() bool { return s.Log().Tip() == uint64(s.net.Len()) })
	tip := s.Log().Tip()
	s.get("/xrpc/network.cistern.getStream", &stream)
	if stream.Stream != s.Log().Stream().ID || stream.Oldest == nil || stream.Oldest.Seq != 1 || stream.Newest.Seq != tip || time.Since(stream.Oldest.Time) > patience ||
		stream.Oldest.Time.After(stream.Newest.Time) || stream.Tiers[0].FirstSeq != 1 || stream.Tiers[0].LastSeq != tip || stream.Tiers[1].LastSeq != tip {
		t.Errorf("%+v, at seq %d", stream, tip)
	}
	type answer struct {
		Cursor uint64
		Exact  bool
		Error  string
	}
	resolve := func(query string) (a answer) {
		s.get("/xrpc/network.cistern.resolveCursor?"+query, &a)
		return a
	}
	last := map[string]string{}
	n := 0
	s.read(func(rec *segmentlog.Record, ev *frame.Event) {
		if ev.Kind != frame.Commit || rec.Seq%10 != 0 {
			return
		}
		n++
		if a := resolve("did=" + ev.DID + "&rev=" + ev.Rev); a != (answer{Cursor: rec.Seq, Exact: true}) {
			t.Errorf("seq %d: %+v", rec.Seq, a)
		}
		if before := last[ev.DID]; before != "" { // a rev that never was, between two that were
			between := before[:12] + "z"
			if a := resolve("did=" + ev.DID + "&rev=" + between); a.Exact || a.Cursor == 0 || a.Cursor >= rec.Seq {
				t.Errorf("before seq %d: %+v", rec.Seq, a)
			}
		}
		last[ev.DID] = ev.Rev
		at := time.UnixMicro(rec.Witnessed).UTC().Format(time.RFC3339Nano)
		if a := resolve("time=" + at); a.Cursor >= rec.Seq {
			t.Errorf("seq %d was witnessed at %s, whose cursor is %d", rec.Seq, at, a.Cursor)
		}
	})
	if n < 5 {
		t.Errorf("only %d events were asked for", n)
	}
	if a := resolve("did=did:plc:nobody&rev=3laaaaaaaaa2a"); a.Error != "RevNotFound" {
		t.Errorf("%+v", a)
	}
	if a := resolve("time=2100-01-01T00:00:00Z"); a.Cursor != tip {
		t.Errorf("the future begins behind %d, want %d", a.Cursor, tip)
	}
}

func TestARelaySaysWhetherItIsReadyAndHealthy(t *testing.T) {
	s := newStage(t)
	s.start()
	var body struct{ Status, Message string }
	until(t, "the relay to be ready", func() bool { return s.get("/_readyz", &body) == http.StatusOK })
	for _, path := range []string{"/_health", "/xrpc/_health", "/_healthz"} {
		if code := s.get(path, &body); code != http.StatusOK || body.Status != "ok" {
			t.Errorf("%s: %d %+v", path, code, body)
		}
	}
	s.health.full.Store(true)
	for _, path := range []string{"/_health", "/_healthz", "/_readyz"} {
		if code := s.get(path, &body); code != http.StatusServiceUnavailable || body.Message == "" {
			t.Errorf("%s with a full disk: %d %+v", path, code, body)
		}
	}
	s.stop()
}
