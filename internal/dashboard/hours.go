package dashboard

import (
	"cmp"
	"context"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
)

const (
	// heatHours are shown, of the heatHosts that had most.
	heatHours = 48
	heatHosts = 40
	// hoursFresh is how long what was read of the ledger is shown.
	hoursFresh = time.Minute
	// hoursWait is how long a page waits for it the first time.
	hoursWait = 100 * time.Millisecond
)

// hours is the ledger of the last days, summed up. It is read in the background, since it is
// many rows, and only while somebody looks.
type hours struct {
	query func(context.Context, ledger.Query) (ledger.Page, error)
	now   func() time.Time
	// running has the reading.
	running *sync.WaitGroup

	mu      sync.Mutex
	sums    *sums
	reading chan struct{} // closed when the present reading has ended, nil when there is none
}

// sums are what a reading gave.
type sums struct {
	at    time.Time // when it was read
	first int64     // the first hour, since 1970
	hosts map[string]*hostHours
	drops map[string]uint64 // by reason
	err   error
}

// hostHours are a host's frames in each hour.
type hostHours struct {
	received, dropped [heatHours]uint64
	total, lost       uint64
}

// get returns the sums, which may be a minute old; nil while they are read for the first time.
func (h *hours) get(ctx context.Context) *sums {
	h.mu.Lock()
	if h.reading == nil && ctx.Err() == nil && (h.sums == nil || h.now().Sub(h.sums.at) > hoursFresh) {
		done := make(chan struct{})
		h.reading = done
		h.running.Go(func() { h.read(ctx, done) })
	}
	have, reading := h.sums, h.reading
	h.mu.Unlock()
	if have != nil || reading == nil {
		return have
	}
	wait := time.NewTimer(hoursWait)
	defer wait.Stop()
	select {
	case <-reading:
	case <-wait.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sums
}

func (h *hours) read(ctx context.Context, done chan struct{}) {
	s := h.sum(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sums, h.reading = s, nil
	close(done)
}

func (h *hours) sum(ctx context.Context) *sums {
	now := h.now()
	s := &sums{at: now, first: now.Unix()/3600 - heatHours + 1, hosts: map[string]*hostHours{}, drops: map[string]uint64{}}
	q := ledger.Query{Since: time.Unix(s.first*3600, 0), Limit: ledger.MaxLimit}
	for {
		page, err := h.query(ctx, q)
		if err != nil {
			s.err = err
			return s
		}
		for _, row := range page.Rows {
			s.add(row)
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return s
		}
	}
}

func (s *sums) add(row *ledger.Row) {
	i := row.Hour - s.first
	if i < 0 || i >= heatHours {
		return
	}
	h := s.hosts[row.Host]
	if h == nil {
		h = &hostHours{}
		s.hosts[row.Host] = h
	}
	dropped := row.Of(ledger.Dropped)
	h.received[i] += row.Received
	h.dropped[i] += dropped
	h.total += row.Received
	h.lost += dropped
	for _, o := range row.Outcomes {
		if o.Outcome == ledger.Dropped {
			s.drops[o.Reason] += o.Count
		}
	}
}

// drop is a reason for which frames were dropped.
type drop struct {
	Reason  string
	Count   uint64
	Percent float64 // of the most frequent one
}

func (d *Dashboard) drops() []drop {
	s := d.hours.get(d.ctx)
	if s == nil {
		return nil
	}
	out := make([]drop, 0, len(s.drops))
	for reason, n := range s.drops {
		out = append(out, drop{Reason: reason, Count: n})
	}
	slices.SortFunc(out, func(a, b drop) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason)) })
	for i := range out {
		out[i].Percent = 100 * float64(out[i].Count) / float64(out[0].Count)
	}
	return out
}

// heatPart is hosts over hours: how much each sent, and what part of it was dropped.
type heatPart struct {
	Rows    []heatRow
	By      string // received or dropped: what hosts are chosen and ordered by
	Hosts   int
	From    time.Time
	Reading bool
	Err     string
}

type heatRow struct {
	Host           string
	Received, Lost uint64
	Cells          [heatHours]cell
}

// cell is one hour: its level is 0 for nothing to 5 for the most, on a logarithmic scale.
type cell struct {
	Level             int
	Bad               bool // more than one frame in a hundred was dropped
	Received, Dropped uint64
	Hour              time.Time
}

// heat shows the hosts that had most, by ?by.
func (d *Dashboard) heat(r *http.Request) heatPart {
	p := heatPart{By: r.FormValue("by")}
	if p.By != "dropped" {
		p.By = "received"
	}
	s := d.hours.get(d.ctx)
	if s == nil {
		p.Reading = true
		return p
	}
	if s.err != nil {
		p.Err = s.err.Error()
	}
	measure := func(name string) uint64 {
		if p.By == "dropped" {
			return s.hosts[name].lost
		}
		return s.hosts[name].total
	}
	names := slices.SortedFunc(maps.Keys(s.hosts), func(a, b string) int {
		return cmp.Or(cmp.Compare(measure(b), measure(a)), cmp.Compare(a, b))
	})
	p.Hosts, p.From = len(names), time.Unix(s.first*3600, 0).UTC()
	var most uint64
	for _, h := range s.hosts {
		most = max(most, slices.Max(h.received[:]))
	}
	for _, name := range names[:min(len(names), heatHosts)] {
		h := s.hosts[name]
		row := heatRow{Host: name, Received: h.total, Lost: h.lost}
		for i := range row.Cells {
			row.Cells[i] = cell{
				Level: level(h.received[i], most), Bad: h.dropped[i]*100 > h.received[i],
				Received: h.received[i], Dropped: h.dropped[i], Hour: p.From.Add(time.Duration(i) * time.Hour),
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

func level(n, most uint64) int {
	if n == 0 || most == 0 {
		return 0
	}
	return 1 + int(4*math.Log1p(float64(n))/math.Log1p(float64(most)))
}
