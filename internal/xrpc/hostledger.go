package xrpc

import (
	"context"
	"errors"
	"net/http"
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
	return query(func(r *http.Request, p *params) (any, error) {
		q, err := ledgerQuery(p, now())
		if err != nil {
			return nil, invalid(err)
		}
		page, err := l.Query(r.Context(), q)
		switch {
		case errors.Is(err, ledger.ErrCursor):
			return nil, invalid(errors.New("cursor: not one that this method gave"))
		case err != nil:
			return nil, errLedger
		}
		return ledgerAnswer(page), nil
	})
}

var errLedger = &failure{http.StatusServiceUnavailable, "LedgerUnavailable", "the ledger cannot be read for the moment"}

// lastDay is what is asked for when it is not said since when.
func lastDay(q *ledger.Query, now time.Time) {
	if !q.Since.IsZero() {
		return
	}
	q.Since = now.Add(-ledgerSpan)
	if !q.Until.IsZero() {
		q.Since = q.Until.Add(-ledgerSpan)
	}
}

// ledgerQuery reads the parameters. Errors name the parameter.
func ledgerQuery(p *params, now time.Time) (ledger.Query, error) {
	q := ledger.Query{
		Host: strings.ToLower(p.text("hostname", maxHostname)), Limit: p.limit(ledgerLimit, ledger.MaxLimit), Cursor: p.text("cursor", maxCursor),
		Since: p.time("since"), Until: p.time("until"),
	}
	if p.values.Has("hostname") && q.Host == "" {
		p.fail("hostname", "it is empty")
	}
	lastDay(&q, now)
	return q, p.err
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
	Skipped     ledgerSkipped `json:"skipped"`
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

type ledgerSkipped struct {
	ledgerGap
	Numbers uint64 `json:"numbers"`
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
			Outdated: ledgerGap(r.Outdated), Resumed: ledgerGap(r.Resumed), Skipped: ledgerSkipped{ledgerGap(r.Skipped), r.SkippedNumbers},
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
