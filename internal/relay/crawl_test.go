package relay

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

// get reads a public answer.
func (s *stage) get(path string, into any) int {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode
}

type hostView struct {
	Hostname     string
	Seq          uint64
	AccountCount *int64
	Status       string
}

func (s *stage) status(name string) (h hostView) {
	s.t.Helper()
	s.get("/xrpc/com.atproto.sync.getHostStatus?hostname="+url.QueryEscape(name), &h)
	return h
}

// The whole way, over HTTP: an operator has two hosts crawled, blocks one, and starts
// the relay again.
func TestABlockedHostHasNoConnectionNowNorAfterAStart(t *testing.T) {
	s := newStage(t)
	s.cfg.AdminPasswords, s.cfg.Hosts = []string{"secret"}, nil
	blocked, other := s.net.Host(0), s.net.Host(1)
	s.start()
	until(t, "hosts to be read", func() bool { return s.admin("pds/requestCrawl", `{"hostname":"`+other.URL+`"}`) == http.StatusOK })
	if code := s.admin("pds/requestCrawl", `{"hostname":"`+blocked.URL+`"}`); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	s.steps(30)
	s.caughtUp()
	until(t, "the log to be durable", func() bool { return s.Log().Tip() == uint64(s.net.Len()) })
	s.sameTruth()
	if h := s.status(blocked.Name); h.Status != "active" || h.Seq != blocked.Seq() || h.AccountCount == nil || *h.AccountCount == 0 {
		t.Errorf("the host stands as %+v at seq %d", h, blocked.Seq())
	}
	if code := s.admin("pds/block?host="+blocked.Name, ""); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	until(t, "the connection to end", func() bool { return blocked.Subscribers() == 0 })
	s.stop()

	s.start()
	until(t, "the other host to be connected", func() bool { return other.Subscribers() == 1 })
	if blocked.Subscribers() != 0 || s.status(blocked.Name).Status != "banned" {
		t.Errorf("%d connections, it stands as %+v", blocked.Subscribers(), s.status(blocked.Name))
	}
	listed := map[string]uint64{}
	for cursor, pages := "", 1; ; pages++ {
		var page struct {
			Cursor string
			Hosts  []hostView
		}
		code := s.get("/xrpc/com.atproto.sync.listHosts?limit=1&cursor="+url.QueryEscape(cursor), &page)
		if code != http.StatusOK || len(page.Hosts) != 1 || (page.Cursor != "") != (pages == 1) {
			t.Fatalf("HTTP %d, page %d is %+v: a host was wanted, and a cursor on the first", code, pages, page)
		}
		listed[page.Hosts[0].Hostname] = page.Hosts[0].Seq
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if listed[other.Name] == 0 || listed[blocked.Name] == 0 || len(listed) != 2 {
		t.Errorf("listed %v", listed)
	}
	if code := s.admin("pds/unblock?host="+blocked.Name, ""); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	s.steps(30)
	s.caughtUp()
	until(t, "the log to be durable", func() bool { return s.Log().Tip() == uint64(s.net.Len()) })
	s.sameTruth()
	s.stop()
}
