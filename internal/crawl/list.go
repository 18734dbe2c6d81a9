package crawl

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/ingest"
)

// Status is how a host stands, in the words of com.atproto.sync.defs#hostStatus.
type Status string

// The statuses.
const (
	Active    Status = "active"    // it is connected, or was until it is dialled again
	Idle      Status = "idle"      // connected, but without an event for a day; or not dialled yet
	Offline   Status = "offline"   // it could not be reached the last time
	Throttled Status = "throttled" // it sends more than it may, and is read slowly
	Banned    Status = "banned"
)

var statuses = []Status{Active, Idle, Offline, Throttled, Banned}

// idleAfter is how long a connected host may have nothing to say.
const idleAfter = 24 * time.Hour

// Host is a host that is known, and how it stands.
type Host struct {
	index.Crawl
	ingest.HostInfo // as far as hosts are read

	Status   Status
	Seq      uint64 // the host's own, up to which all is in the log or decided; 0 for none
	BannedBy string // what was banned, "" when nothing was

	AccountLimit int64 // 0 for none
}

// Listed says whether the host is worth telling others of: it has answered once.
func (h *Host) Listed() bool { return !h.Crawl.Connected.IsZero() || h.Seq > 0 }

// standing puts together what is known of a host.
func (c *Crawler) standing(e *entry, r *run) Host {
	h := Host{Crawl: e.Crawl, Seq: e.seq, AccountLimit: c.AccountLimit(e.Name)}
	h.BannedBy, _ = c.opts.Decisions.Banned(e.Name)
	if r != nil {
		if info, ok := r.reader.Host(e.Name); ok {
			h.HostInfo = info
			h.Seq = info.Cursor
		}
	}
	h.HostInfo.Name = e.Name
	h.Status = h.status(c.opts.Now())
	return h
}

func (h *Host) status(now time.Time) Status {
	quiet := now.Sub(later(h.LastEvent, h.Crawl.Connected)) >= idleAfter
	switch {
	case h.BannedBy != "":
		return Banned
	case h.Failing:
		return Offline
	case h.Throttled:
		return Throttled
	case !h.Tried, quiet:
		return Idle
	}
	return Active
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Hosts lists all hosts that are known, oldest first.
func (c *Crawler) Hosts() []Host {
	c.mu.Lock()
	entries := make([]entry, 0, len(c.known.order))
	for _, e := range c.known.order {
		entries = append(entries, *e)
	}
	r := c.run
	c.mu.Unlock()
	hosts := make([]Host, 0, len(entries))
	for i := range entries {
		hosts = append(hosts, c.standing(&entries[i], r))
	}
	return hosts
}

// Host says how a host stands; ErrUnknown when it is neither known nor banned.
func (c *Crawler) Host(rawHost string) (Host, error) {
	a, err := parse(rawHost, true)
	if err != nil {
		return Host{}, err
	}
	c.mu.Lock()
	r, e := c.run, c.known.m[a.name]
	if e == nil {
		c.mu.Unlock()
		if _, banned := c.opts.Decisions.Banned(a.name); !banned {
			return Host{}, ErrUnknown
		}
		return c.standing(&entry{Crawl: index.Crawl{Name: a.name}}, nil), nil
	}
	copied := *e
	c.mu.Unlock()
	return c.standing(&copied, r), nil
}

// List returns the hosts behind a cursor that are worth telling others of, oldest
// first, at most limit, and the cursor of the next page, "" at the end. A cursor is
// "" or one that List returned.
func (c *Crawler) List(cursor string, limit int) (hosts []Host, next string, err error) {
	requested, name, err := parseCursor(cursor)
	if err != nil {
		return nil, "", &InvalidError{err}
	}
	for {
		entries, r := c.page(requested, name, limit+1)
		for i := range entries {
			requested, name = entries[i].Requested, entries[i].Name
			h := c.standing(&entries[i], r)
			if !h.Listed() {
				continue
			}
			if len(hosts) == limit { // there is one more
				last := &hosts[limit-1]
				return hosts, fmt.Sprintf("%d/%s", last.Requested.Unix(), last.Crawl.Name), nil
			}
			hosts = append(hosts, h)
		}
		if len(entries) <= limit {
			return hosts, "", nil
		}
	}
}

// page copies the next entries behind one of that age and name.
func (c *Crawler) page(requested time.Time, name string, limit int) ([]entry, *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.known.after(requested, name)
	to := min(from+limit, len(c.known.order))
	entries := make([]entry, 0, to-from)
	for _, e := range c.known.order[from:to] {
		entries = append(entries, *e)
	}
	return entries, c.run
}

func parseCursor(cursor string) (requested time.Time, name string, err error) {
	if cursor == "" {
		return time.Time{}, "", nil
	}
	at, name, ok := strings.Cut(cursor, "/")
	s, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return time.Time{}, "", fmt.Errorf("%q is not a cursor of this relay", cursor)
	}
	return time.Unix(s, 0).UTC(), name, nil
}
