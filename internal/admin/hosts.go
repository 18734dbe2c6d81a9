package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/xrpc"
)

// Hosts is who decides which hosts are crawled; *crawl.Crawler is one.
type Hosts interface {
	Hosts() []crawl.Host
	Ask(ctx context.Context, rawHost string) error
	Block(rawHost string) error
	Unblock(rawHost string) error
	Kill(rawHost string) error
	ChangeLimits(rawHost string, l crawl.Limits) error
	DomainBans() []string
	BanDomain(domain string) error
	UnbanDomain(domain string) error
	NewHostsPerDay() int64
	SetNewHostsPerDay(n int64) error
}

// hostRoutes adds what concerns hosts.
func hostRoutes(mux *http.ServeMux, h Hosts) {
	mux.HandleFunc("GET /admin/pds/list", func(w http.ResponseWriter, _ *http.Request) {
		xrpc.WriteJSON(w, http.StatusOK, hostRows(h.Hosts()))
	})
	mux.HandleFunc("POST /admin/pds/requestCrawl", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Hostname string `json:"hostname"`
		}
		if reads(w, r, &body) {
			answer(w, h.Ask(r.Context(), body.Hostname))
		}
	})
	mux.HandleFunc("POST /admin/pds/block", func(w http.ResponseWriter, r *http.Request) {
		answer(w, h.Block(queryHost(r)))
	})
	mux.HandleFunc("POST /admin/pds/unblock", func(w http.ResponseWriter, r *http.Request) {
		answer(w, h.Unblock(queryHost(r)))
	})
	mux.HandleFunc("POST /admin/pds/changeLimits", changeLimits(h))
}

// subsRoutes adds what concerns the connections to hosts and what strangers may ask.
func subsRoutes(mux *http.ServeMux, h Hosts) {
	mux.HandleFunc("GET /admin/subs/getUpstreamConns", func(w http.ResponseWriter, _ *http.Request) {
		names := []string{}
		for _, host := range h.Hosts() {
			if host.HostInfo.Connected {
				names = append(names, host.HostInfo.Name)
			}
		}
		xrpc.WriteJSON(w, http.StatusOK, names)
	})
	mux.HandleFunc("POST /admin/subs/killUpstream", func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.URL.Query().Get("block"), "true") {
			answer(w, h.Block(queryHost(r)))
			return
		}
		answer(w, h.Kill(queryHost(r)))
	})
	mux.HandleFunc("GET /admin/subs/listDomainBans", func(w http.ResponseWriter, _ *http.Request) {
		bans := h.DomainBans()
		if bans == nil {
			bans = []string{}
		}
		xrpc.WriteJSON(w, http.StatusOK, map[string][]string{"banned_domains": bans})
	})
	mux.HandleFunc("POST /admin/subs/banDomain", decideDomain(h.BanDomain))
	mux.HandleFunc("POST /admin/subs/unbanDomain", decideDomain(h.UnbanDomain))
	mux.HandleFunc("GET /admin/subs/perDayLimit", func(w http.ResponseWriter, _ *http.Request) {
		xrpc.WriteJSON(w, http.StatusOK, map[string]int64{"limit": h.NewHostsPerDay()})
	})
	mux.HandleFunc("POST /admin/subs/setPerDayLimit", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("limit"), 10, 64)
		if err != nil {
			xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", "the parameter limit must be a number")
			return
		}
		answer(w, h.SetNewHostsPerDay(n))
	})
}

func queryHost(r *http.Request) string { return strings.TrimSpace(r.URL.Query().Get("host")) }

func decideDomain(decide func(string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Domain string }
		if reads(w, r, &body) {
			answer(w, decide(body.Domain))
		}
	}
}

func changeLimits(h Hosts) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Host      string `json:"host"`
			RepoLimit *int64 `json:"repo_limit"`
			PerSecond *int64 `json:"per_second"`
			PerHour   *int64 `json:"per_hour"`
			PerDay    *int64 `json:"per_day"`
		}
		if !reads(w, r, &body) {
			return
		}
		l := crawl.Limits{Accounts: body.RepoLimit, PerSecond: body.PerSecond, PerHour: body.PerHour, PerDay: body.PerDay}
		if l == (crawl.Limits{}) {
			xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", "missing repo_limit, per_second, per_hour or per_day")
			return
		}
		answer(w, h.ChangeLimits(body.Host, l))
	}
}

// reads reads a request's body, or answers that it cannot.
func reads(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := readJSON(r, into); err != nil {
		xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", "invalid body: "+err.Error())
		return false
	}
	return true
}

func answer(w http.ResponseWriter, err error) {
	var unreachable *crawl.UnreachableError
	switch {
	case errors.As(err, &unreachable): // an operator may know all
		xrpc.WriteError(w, http.StatusBadRequest, "HostNotFound", unreachable.Detail())
	case err != nil:
		xrpc.WriteHostError(w, err)
	default:
		xrpc.WriteJSON(w, http.StatusOK, map[string]string{"success": "true"})
	}
}

// rateRow is how often something may happen; Max is -1 for no limit.
type rateRow struct {
	Max    float64 `json:"Max"`
	Window float64 `json:"Window"` // seconds
}

// hostRow has the fields of the reference relay, and below them ours.
type hostRow struct {
	ID             uint64
	CreatedAt      time.Time
	Host           string
	SSL            bool
	Cursor         uint64
	Registered     bool
	Blocked        bool
	CrawlRateLimit float64
	RepoCount      int64
	RepoLimit      int64 // 0 for none

	HasActiveConnection    bool
	EventsSeenSinceStartup uint64
	PerSecondEventRate     rateRow
	PerHourEventRate       rateRow
	PerDayEventRate        rateRow
	UserCount              int64

	Status            string
	RequestedBy       string
	Trusted           bool
	BannedBy          string     `json:",omitempty"`
	LastConnected     *time.Time `json:",omitempty"`
	LastEventReceived *time.Time `json:",omitempty"`
	LastError         string     `json:",omitempty"`
	BehindSeconds     float64    `json:",omitempty"`
}

func hostRows(hosts []crawl.Host) []hostRow {
	rows := make([]hostRow, 0, len(hosts))
	for i := range hosts {
		h := &hosts[i]
		rows = append(rows, hostRow{
			ID: uint64(i + 1), CreatedAt: h.Requested, Host: h.Crawl.Name, SSL: !h.Plain, Cursor: h.Seq,
			Registered: h.Status == crawl.Active, Blocked: h.Status == crawl.Banned,
			RepoCount: h.Accounts, RepoLimit: h.AccountLimit, UserCount: h.Accounts,
			HasActiveConnection: h.HostInfo.Connected, EventsSeenSinceStartup: h.Frames,
			PerSecondEventRate: rateOf(h.Rates.PerSecond, 1), PerHourEventRate: rateOf(h.Rates.PerHour, 3600), PerDayEventRate: rateOf(h.Rates.PerDay, 86400),
			Status: string(h.Status), RequestedBy: h.By.String(), Trusted: h.Trusted, BannedBy: h.BannedBy,
			LastConnected: orNil(h.Crawl.Connected), LastEventReceived: orNil(h.LastEvent), LastError: h.Crawl.LastError,
			BehindSeconds: h.Behind.Seconds(),
		})
	}
	return rows
}

func rateOf(limit int64, seconds float64) rateRow {
	if limit == 0 {
		return rateRow{Max: -1, Window: seconds}
	}
	return rateRow{Max: float64(limit), Window: seconds}
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
