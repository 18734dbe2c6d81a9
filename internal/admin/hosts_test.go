package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/replay"
)

// decider notes what it is told.
type decider struct {
	told []string
	err  error
	list []crawl.Host
}

func (d *decider) tell(what string, args ...any) error {
	d.told = append(d.told, strings.TrimSpace(what+" "+fmt.Sprint(args...)))
	return d.err
}

func (d *decider) Hosts() []crawl.Host                          { return d.list }
func (d *decider) Ask(_ context.Context, raw string) error      { return d.tell("ask", raw) }
func (d *decider) Block(raw string) error                       { return d.tell("block", raw) }
func (d *decider) Unblock(raw string) error                     { return d.tell("unblock", raw) }
func (d *decider) Kill(raw string) error                        { return d.tell("kill", raw) }
func (d *decider) DomainBans() []string                         { return nil }
func (d *decider) BanDomain(domain string) error                { return d.tell("ban", domain) }
func (d *decider) UnbanDomain(domain string) error              { return d.tell("unban", domain) }
func (d *decider) NewHostsPerDay() int64                        { return 50 }
func (d *decider) SetNewHostsPerDay(n int64) error              { return d.tell("per day", n) }
func (d *decider) TakeDown(context.Context, string, bool) error { return nil }
func (d *decider) Takedowns() []string                          { return nil }

func (d *decider) ChangeLimits(raw string, l crawl.Limits) error {
	b, _ := json.Marshal(l)
	return d.tell("limits", raw, " ", string(b))
}

func do(d *decider, method, target, body, password string) *httptest.ResponseRecorder {
	h := NewHandler([]string{"old", "secret"}, Sources{Hosts: d, Takedowns: d, Consumers: func() []replay.ConsumerInfo { return nil }})
	r := httptest.NewRequest(method, "/admin/"+target, strings.NewReader(body))
	if password != "" {
		r.SetBasicAuth("admin", password)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The calls and answers of the reference relay's dashboard.
func TestThePathsAndShapesAreTheReferenceRelays(t *testing.T) {
	for _, c := range []struct{ method, target, body, told, answer string }{
		{"POST", "pds/requestCrawl", `{"hostname":"http://localhost:2583"}`, "ask http://localhost:2583", `{"success":"true"}`},
		{"POST", "pds/block?host=pds.example", "", "block pds.example", `{"success":"true"}`},
		{"POST", "pds/unblock?host=+pds.example", "", "unblock pds.example", `{"success":"true"}`},
		{"POST", "pds/changeLimits", `{"host":"pds.example","repo_limit":7}`, `limits pds.example {"Accounts":7,"PerSecond":null,"PerHour":null,"PerDay":null}`, `{"success":"true"}`},
		{"POST", "pds/changeLimits", `{"host":"pds.example","per_second":1,"per_hour":2,"per_day":3}`, `limits pds.example {"Accounts":null,"PerSecond":1,"PerHour":2,"PerDay":3}`, `{"success":"true"}`},
		{"POST", "subs/killUpstream?host=pds.example", "", "kill pds.example", `{"success":"true"}`},
		{"POST", "subs/killUpstream?host=pds.example&block=true", "", "block pds.example", `{"success":"true"}`},
		{"POST", "subs/banDomain", `{"Domain":"example.com"}`, "ban example.com", `{"success":"true"}`},
		{"POST", "subs/banDomain", `{"domain":"example.com"}`, "ban example.com", `{"success":"true"}`},
		{"POST", "subs/unbanDomain", `{"Domain":"example.com"}`, "unban example.com", `{"success":"true"}`},
		{"POST", "subs/setPerDayLimit?limit=9", "", "per day 9", `{"success":"true"}`},
		{"GET", "subs/perDayLimit", "", "", `{"limit":50}`},
		{"GET", "subs/listDomainBans", "", "", `{"banned_domains":[]}`},
		{"GET", "subs/getUpstreamConns", "", "", `[]`},
		{"GET", "pds/list", "", "", `[]`},
	} {
		d := &decider{}
		w := do(d, c.method, c.target, c.body, "secret")
		if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != c.answer || strings.Join(d.told, "; ") != c.told {
			t.Errorf("%s %s: HTTP %d %s, told %q", c.method, c.target, w.Code, got, d.told)
		}
		d = &decider{}
		for _, password := range []string{"", "wrong"} {
			if w := do(d, c.method, c.target, c.body, password); w.Code != http.StatusUnauthorized || len(d.told) != 0 {
				t.Errorf("%s %s with password %q: HTTP %d, told %q", c.method, c.target, password, w.Code, d.told)
			}
		}
	}
}

func TestWhatAnOperatorCannotHaveIsAnsweredWithWhy(t *testing.T) {
	for want, err := range map[int]error{
		400: &crawl.InvalidError{Err: errors.New("x")}, 404: crawl.ErrUnknown, 500: errors.New("disk full"), 503: crawl.ErrNotReading,
	} {
		for target, body := range map[string]string{
			"pds/requestCrawl": `{"hostname":"x"}`, "pds/block?host=x": "", "pds/changeLimits": `{"host":"x","repo_limit":1}`,
			"subs/banDomain": `{"domain":"x.example"}`, "subs/setPerDayLimit?limit=1": "",
		} {
			w := do(&decider{err: err}, "POST", target, body, "old")
			if w.Code != want || !strings.Contains(w.Body.String(), err.Error()) {
				t.Errorf("%s: HTTP %d %s, want %d", target, w.Code, w.Body, want)
			}
		}
	}
	if w := do(&decider{err: fmt.Errorf("x: %w", crawl.ErrNoConnection)}, "POST", "subs/killUpstream?host=x", "", "secret"); w.Code != 400 {
		t.Errorf("no connection: HTTP %d", w.Code)
	}
	for target, body := range map[string]string{
		"pds/requestCrawl": "x", "pds/changeLimits": `{"host":"x"}`, "subs/banDomain": "[]", "subs/setPerDayLimit?limit=x": "", "subs/setPerDayLimit": "",
	} {
		d := &decider{}
		if w := do(d, "POST", target, body, "secret"); w.Code != 400 || len(d.told) != 0 {
			t.Errorf("%s %q: HTTP %d, told %q", target, body, w.Code, d.told)
		}
	}
}

func TestAHostIsShownWithTheReferenceRelaysFields(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := &decider{list: []crawl.Host{{
		Crawl: index.Crawl{Name: "pds.example", By: index.CrawlByRequest, Requested: at, Connected: at},
		HostInfo: ingest.HostInfo{
			Name: "pds.example", Read: true, Connected: true, Frames: 12, Accounts: 3, Rates: ingest.Rates{PerSecond: 50, PerHour: 2600}, LastEvent: at,
		},
		Status: crawl.Active, Seq: 42, AccountLimit: 100,
	}}}
	var rows []map[string]any
	if err := json.Unmarshal(do(d, "GET", "pds/list", "", "secret").Body.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"ID": "1", "CreatedAt": "2026-01-02T03:04:05Z", "Host": "pds.example", "SSL": "true", "Cursor": "42", "Registered": "true", "Blocked": "false",
		"CrawlRateLimit": "0", "RepoCount": "3", "RepoLimit": "100", "HasActiveConnection": "true", "EventsSeenSinceStartup": "12",
		"PerSecondEventRate": "map[Max:50 Window:1]", "PerHourEventRate": "map[Max:2600 Window:3600]", "PerDayEventRate": "map[Max:-1 Window:86400]", "UserCount": "3",
		"Status": "active", "RequestedBy": "requestCrawl", "LastConnected": "2026-01-02T03:04:05Z",
	} {
		if got := fmt.Sprint(rows[0][field]); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	if got := strings.TrimSpace(do(d, "GET", "subs/getUpstreamConns", "", "secret").Body.String()); got != `["pds.example"]` {
		t.Errorf("connections %s", got)
	}
}
