package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
)

type operatorPage struct {
	Version   string
	Stream    xrpc.StreamInfo
	Now       overview
	History   []Rates
	Tiers     tiersPart
	Relays    []ingest.HostInfo
	Hosts     hostsPart
	Consumers []replay.ConsumerInfo
	Drops     []drop
	Heat      heatPart
	Decisions decisionsPart
}

// operator is the whole page.
func (d *Dashboard) operator(w http.ResponseWriter, r *http.Request) {
	render(w, "operator.html", operatorPage{
		Version: d.s.Version, Stream: d.s.Stream(), Now: d.overview(), History: d.sampler.history(),
		Tiers: d.tiers(), Relays: d.relays(), Hosts: d.hosts(r), Consumers: d.consumers(), Drops: d.drops(), Heat: d.heat(r), Decisions: d.decisions(),
	})
}

// part is one section of it, which the script asks for again now and then.
func (d *Dashboard) part(w http.ResponseWriter, r *http.Request) {
	switch name := r.PathValue("part"); name {
	case "tiers":
		render(w, "tiers", d.tiers())
	case "relays":
		render(w, "relays", d.relays())
	case "hosts":
		render(w, "hosts", d.hosts(r))
	case "consumers":
		render(w, "consumers", d.consumers())
	case "drops":
		render(w, "drops", d.drops())
	case "heat":
		render(w, "heat", d.heat(r))
	case "decisions":
		render(w, "decisions", d.decisions())
	default:
		http.NotFound(w, r)
	}
}

// relays are those that are followed instead of hosts.
func (d *Dashboard) relays() (relays []ingest.HostInfo) {
	for _, h := range d.s.Hosts() {
		if h.Relay != nil {
			relays = append(relays, h.HostInfo)
		}
	}
	return relays
}

// hostsPerPage is how many rows a page of hosts has.
const hostsPerPage = 50

type hostsPart struct {
	Rows           []hostRow
	Query, Sort    string
	Page, Pages    int
	Found, Of      int
	Previous, Next int // pages, 0 for none
	Sorts          []string
}

type hostRow struct {
	crawl.Host
	Silent time.Duration // since its last event
}

var hostOrders = map[string]func(a, b *hostRow) int{
	"name":     func(a, b *hostRow) int { return strings.Compare(a.Crawl.Name, b.Crawl.Name) },
	"status":   func(a, b *hostRow) int { return strings.Compare(string(b.Status), string(a.Status)) },
	"behind":   func(a, b *hostRow) int { return cmp.Compare(b.Behind, a.Behind) },
	"silent":   func(a, b *hostRow) int { return cmp.Compare(b.Silent, a.Silent) },
	"frames":   func(a, b *hostRow) int { return cmp.Compare(b.Frames, a.Frames) },
	"accounts": func(a, b *hostRow) int { return cmp.Compare(b.Accounts, a.Accounts) },
}

// sorts are the names of hostOrders as the page offers them.
var sorts = []string{"frames", "name", "status", "behind", "silent", "accounts"}

// hosts are those that a request searches for, by ?q, ?sort and ?page.
func (d *Dashboard) hosts(r *http.Request) hostsPart {
	p := hostsPart{Query: strings.TrimSpace(r.FormValue("q")), Sort: r.FormValue("sort"), Sorts: sorts}
	order := hostOrders[p.Sort]
	if order == nil {
		p.Sort = sorts[0]
		order = hostOrders[p.Sort]
	}
	now, all := d.s.Now(), d.s.Hosts()
	p.Of = len(all)
	rows := make([]hostRow, 0, len(all))
	for i := range all {
		h := &all[i]
		if !strings.Contains(h.Crawl.Name, p.Query) && string(h.Status) != p.Query {
			continue
		}
		row := hostRow{Host: *h}
		if !h.LastEvent.IsZero() {
			row.Silent = max(0, now.Sub(h.LastEvent))
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b hostRow) int { return cmp.Or(order(&a, &b), hostOrders["name"](&a, &b)) })
	p.Found = len(rows)
	p.Pages = max(1, (len(rows)+hostsPerPage-1)/hostsPerPage)
	page, _ := strconv.Atoi(r.FormValue("page")) // anything else is the first
	p.Page = min(max(page, 1), p.Pages)
	if p.Page > 1 {
		p.Previous = p.Page - 1
	}
	if p.Page < p.Pages {
		p.Next = p.Page + 1
	}
	from := (p.Page - 1) * hostsPerPage
	p.Rows = rows[from:min(from+hostsPerPage, len(rows))]
	return p
}

// consumersShown bounds the rows; those that are furthest behind come first.
const consumersShown = 100

func (d *Dashboard) consumers() []replay.ConsumerInfo {
	all := d.s.Consumers()
	slices.SortFunc(all, func(a, b replay.ConsumerInfo) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), a.Since.Compare(b.Since))
	})
	return all[:min(len(all), consumersShown)]
}

type decisionsPart struct {
	Takedowns, Bans []string
	PerDay          int64
	Total           int
}

// takedownsShown bounds the rows; the admin API lists all.
const takedownsShown = 200

func (d *Dashboard) decisions() decisionsPart {
	downs := d.s.Takedowns()
	return decisionsPart{Takedowns: downs[:min(len(downs), takedownsShown)], Total: len(downs), Bans: d.s.Bans(), PerDay: d.s.PerDay()}
}
