package xrpc

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
)

type comparison struct {
	Events uint64     `json:"events"`
	Relays []relayRow `json:"relays"`
}

type relayRow struct {
	Hostname string `json:"hostname"`
	First    uint64 `json:"first"`
	Late     uint64 `json:"late"`
	Never    uint64 `json:"never"`
	Dropped  uint64 `json:"dropped"`
}

// compareRelaysHandler serves network.cistern.compareRelays. relays are the names of those
// that are followed.
func compareRelaysHandler(l HostLedger, relays []string, now func() time.Time) http.Handler {
	return query(func(r *http.Request, p *params) (any, error) {
		q := ledger.Query{Since: p.time("since"), Until: p.time("until"), Limit: ledger.MaxLimit}
		if p.err != nil {
			return nil, invalid(p.err)
		}
		lastDay(&q, now())
		var c comparison
		for _, name := range relays {
			row := relayRow{Hostname: name}
			for q.Host, q.Cursor = name, ""; ; {
				page, err := l.Query(r.Context(), q)
				if err != nil {
					return nil, errLedger
				}
				for _, hour := range page.Rows {
					row.add(hour)
				}
				if q.Cursor = page.Cursor; q.Cursor == "" {
					break
				}
			}
			c.Events += row.First
			c.Relays = append(c.Relays, row)
		}
		return c.answer(), nil
	})
}

func (row *relayRow) add(hour *ledger.Row) {
	row.First += hour.Accepted()
	row.Dropped += hour.Of(ledger.Dropped)
	for _, o := range hour.Outcomes {
		if o.Outcome == ledger.Ignored && o.Reason == ledger.BroughtByAnother {
			row.Late += o.Count
		}
	}
}

// answer fills in what follows from the rest.
func (c comparison) answer() comparison {
	if c.Relays == nil {
		c.Relays = []relayRow{}
	}
	for i := range c.Relays {
		row := &c.Relays[i]
		row.Never = c.Events - min(c.Events, row.First+row.Late)
	}
	slices.SortFunc(c.Relays, func(a, b relayRow) int { return cmp.Compare(a.Hostname, b.Hostname) })
	return c
}
