package xrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/cistern-archive/cistern/internal/crawl"
)

// Hosts is who knows which hosts are crawled; *crawl.Crawler is one.
type Hosts interface {
	Request(ctx context.Context, rawHost string, from netip.Addr) error
	List(cursor string, limit int) (hosts []crawl.Host, next string, err error)
	Host(rawHost string) (crawl.Host, error)
}

const (
	maxCrawlBody  = 4 << 10 // bytes of a requestCrawl
	crawlBodyTime = 10 * time.Second
	// Bounds of listHosts, of the lexicon.
	defaultHostsPage = 200
	maxHostsPage     = 1000
)

// hostRoutes adds the methods that concern hosts.
func hostRoutes(mux *http.ServeMux, h Hosts, proxies []netip.Prefix) {
	mux.HandleFunc("/xrpc/com.atproto.sync.requestCrawl", func(w http.ResponseWriter, r *http.Request) {
		if allows(w, r, http.MethodPost) {
			requestCrawl(w, r, h, ClientAddr(r, proxies))
		}
	})
	mux.Handle("/xrpc/com.atproto.sync.listHosts", query(func(_ *http.Request, p *params) (any, error) { return listHosts(p, h) }))
	mux.Handle("/xrpc/com.atproto.sync.getHostStatus", query(func(_ *http.Request, p *params) (any, error) { return getHostStatus(p, h) }))
}

// allows refuses other methods than one; HEAD goes with GET.
func allows(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method || method == http.MethodGet && r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", method)
	WriteError(w, http.StatusMethodNotAllowed, "InvalidRequest", "use "+method)
	return false
}

func requestCrawl(w http.ResponseWriter, r *http.Request, h Hosts, from netip.Addr) {
	hostname, err := crawlBody(w, r)
	if err != nil {
		WriteError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	if err := h.Request(r.Context(), hostname, from); err != nil {
		WriteHostError(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// crawlBody reads the hostname of a requestCrawl. Nobody may take long to send it.
func crawlBody(w http.ResponseWriter, r *http.Request) (string, error) {
	// A connection that cannot have a deadline is a test's.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(crawlBodyTime))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCrawlBody))
	if err != nil {
		return "", fmt.Errorf("the body could not be read: %w", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	var body struct {
		Hostname string `json:"hostname"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", fmt.Errorf("the body is not a JSON object with a hostname: %w", err)
	}
	if body.Hostname == "" {
		return "", errors.New("the body has no hostname")
	}
	return body.Hostname, nil
}

// WriteHostError answers with why a host is not crawled.
func WriteHostError(w http.ResponseWriter, err error) {
	var invalid *crawl.InvalidError
	var banned *crawl.BannedError
	var limited *crawl.LimitError
	var unreachable *crawl.UnreachableError
	status, name := http.StatusInternalServerError, "InternalServerError"
	switch {
	case errors.As(err, &invalid), errors.Is(err, crawl.ErrNoConnection):
		status, name = http.StatusBadRequest, "InvalidRequest"
	case errors.As(err, &banned):
		status, name = http.StatusBadRequest, "HostBanned"
	case errors.As(err, &unreachable):
		status, name = http.StatusBadRequest, "HostNotFound"
	case errors.Is(err, crawl.ErrUnknown):
		status, name = http.StatusNotFound, "HostNotFound"
	case errors.Is(err, crawl.ErrDisabled):
		status, name = http.StatusForbidden, "Forbidden"
	case errors.As(err, &limited):
		status, name = http.StatusTooManyRequests, "RateLimitExceeded"
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(limited.After.Seconds()))))
	case errors.Is(err, crawl.ErrNotReading):
		status, name = http.StatusServiceUnavailable, "NotReady"
		w.Header().Set("Retry-After", "10")
	}
	WriteError(w, status, name, err.Error())
}

// hostView is a host in listHosts and getHostStatus.
type hostView struct {
	Hostname     string  `json:"hostname"`
	Seq          *uint64 `json:"seq,omitempty"`
	AccountCount *int64  `json:"accountCount,omitempty"`
	Status       string  `json:"status"`
}

func viewOf(h *crawl.Host) hostView {
	v := hostView{Hostname: h.Crawl.Name, Status: string(h.Status)}
	if h.Seq > 0 {
		v.Seq = &h.Seq
	}
	if h.Read {
		v.AccountCount = &h.Accounts
	}
	return v
}

func listHosts(p *params, h Hosts) (any, error) {
	limit, cursor := p.limit(defaultHostsPage, maxHostsPage), p.text("cursor", maxCursor)
	if p.err != nil {
		return nil, invalid(p.err)
	}
	hosts, next, err := h.List(cursor, limit)
	if err != nil {
		return nil, err
	}
	page := struct {
		Cursor string     `json:"cursor,omitempty"`
		Hosts  []hostView `json:"hosts"`
	}{next, make([]hostView, 0, len(hosts))}
	for i := range hosts {
		page.Hosts = append(page.Hosts, viewOf(&hosts[i]))
	}
	return page, nil
}

func getHostStatus(p *params, h Hosts) (any, error) {
	hostname := p.required("hostname", maxHostname)
	if p.err != nil {
		return nil, invalid(p.err)
	}
	host, err := h.Host(hostname)
	if err != nil {
		return nil, err
	}
	return viewOf(&host), nil
}
