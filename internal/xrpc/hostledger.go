package xrpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
)

const (
	ledgerLimit = 100 // rows of a page by default
	// ledgerSpan is what is asked for when it is not said since when.
	ledgerSpan  = 24 * time.Hour
	maxHostname = 300 // bytes
)

// HostLedger is what network.cistern.getHostLedger reads.
type HostLedger interface {
	Query(ctx context.Context, q ledger.Query) (ledger.Page, error)
}

// hostLedgerHandler serves network.cistern.getHostLedger; its lexicon is in
// lexicons/network/cistern.
func hostLedgerHandler(l HostLedger, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			WriteError(w, http.StatusMethodNotAllowed, "InvalidRequest", "use GET")
			return
		}
		q, err := ledgerQuery(r.URL.RawQuery, now())
		if err != nil {
			WriteError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		page, err := l.Query(r.Context(), q)
		switch {
		case errors.Is(err, ledger.ErrCursor):
			WriteError(w, http.StatusBadRequest, "InvalidRequest", "cursor: not one that this method gave")
		case err != nil:
			WriteError(w, http.StatusServiceUnavailable, "LedgerUnavailable", "the ledger cannot be read for the moment")
		default:
			WriteJSON(w, http.StatusOK, ledgerAnswer(page))
		}
	})
}

// ledgerQuery reads the parameters. Errors name the parameter.
func ledgerQuery(raw string, now time.Time) (ledger.Query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return ledger.Query{}, fmt.Errorf("query: %w", err)
	}
	q := ledger.Query{Host: strings.ToLower(values.Get("hostname")), Limit: ledgerLimit, Cursor: values.Get("cursor")}
	if len(q.Host) > maxHostname || values.Has("hostname") && q.Host == "" {
		return q, fmt.Errorf("hostname: want 1 to %d bytes", maxHostname)
	}
	if q.Until, err = timeParam(values, "until"); err != nil {
		return q, err
	}
	if q.Since, err = timeParam(values, "since"); err != nil {
		return q, err
	}
	if q.Since.IsZero() {
		q.Since = now.Add(-ledgerSpan)
		if !q.Until.IsZero() {
			q.Since = q.Until.Add(-ledgerSpan)
		}
	}
	if s := values.Get("limit"); s != "" {
		q.Limit, err = strconv.Atoi(s)
		if err != nil || q.Limit < 1 || q.Limit > ledger.MaxLimit {
			return q, fmt.Errorf("limit: want a number from 1 to %d", ledger.MaxLimit)
		}
	}
	return q, nil
}

// timeParam reads a parameter that is a time, the zero time when it is not given.
func timeParam(values url.Values, name string) (time.Time, error) {
	s := values.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s: want a time such as 2026-01-02T15:00:00Z (RFC 3339)", name)
	}
	return t, nil
}

type ledgerPage struct {
	Cursor string      `json:"cursor,omitempty"`
	Rows   []ledgerRow `json:"rows"`
}

type ledgerRow struct {
	Hostname    string        `json:"hostname"`
	Hour        time.Time     `json:"hour"`
	Received    uint64        `json:"received"`
	Bytes       uint64        `json:"bytes"`
	Accepted    uint64        `json:"accepted"`
	Kinds       []ledgerCount `json:"kinds"`
	Flags       []ledgerCount `json:"flags"`
	Dropped     uint64        `json:"dropped"`
	DroppedBy   []ledgerCount `json:"droppedBy"`
	Ignored     uint64        `json:"ignored"`
	IgnoredBy   []ledgerCount `json:"ignoredBy"`
	Closed      uint64        `json:"closed"`
	ClosedBy    []ledgerCount `json:"closedBy"`
	Infos       uint64        `json:"infos"`
	Errors      uint64        `json:"errors"`
	Connections uint64        `json:"connections"`
	Restarts    uint64        `json:"restarts"`
	Outdated    ledgerGap     `json:"outdated"`
	Resumed     ledgerGap     `json:"resumed"`
	Behind      *ledgerBehind `json:"behind,omitempty"`
}

type ledgerCount struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

type ledgerGap struct {
	Count  uint64 `json:"count"`
	Cursor uint64 `json:"cursor,omitempty"`
	First  uint64 `json:"first,omitempty"`
}

type ledgerBehind struct {
	Last uint64 `json:"last"`
	Max  uint64 `json:"max"`
}

func ledgerAnswer(p ledger.Page) ledgerPage {
	out := ledgerPage{Cursor: p.Cursor, Rows: make([]ledgerRow, 0, len(p.Rows))}
	for _, r := range p.Rows {
		row := ledgerRow{
			Hostname: r.Host, Hour: r.Start(), Received: r.Received, Bytes: r.Bytes, Accepted: r.Accepted(),
			Kinds: []ledgerCount{}, Flags: []ledgerCount{},
			Dropped: r.Of(ledger.Dropped), DroppedBy: byReason(r, ledger.Dropped),
			Ignored: r.Of(ledger.Ignored), IgnoredBy: byReason(r, ledger.Ignored),
			Closed: r.Of(ledger.Closed), ClosedBy: byReason(r, ledger.Closed),
			Infos: r.Infos, Errors: r.Errors, Connections: r.Connections, Restarts: r.Restarts,
			Outdated: ledgerGap(r.Outdated), Resumed: ledgerGap(r.Resumed),
		}
		for i, name := range ledger.KindNames() {
			if n := r.Kinds[i]; n > 0 {
				row.Kinds = append(row.Kinds, ledgerCount{name, n})
			}
		}
		for bit, n := range r.Flags {
			if n > 0 {
				row.Flags = append(row.Flags, ledgerCount{ledger.FlagName(bit), n})
			}
		}
		if r.Behind.Known {
			row.Behind = &ledgerBehind{Last: r.Behind.Last, Max: r.Behind.Max}
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func byReason(r *ledger.Row, o ledger.Outcome) []ledgerCount {
	counts := []ledgerCount{}
	for _, c := range r.Outcomes {
		if c.Outcome == o {
			counts = append(counts, ledgerCount{c.Reason, c.Count})
		}
	}
	return counts
}
