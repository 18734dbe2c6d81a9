package crawl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/index"
)

const (
	pullEvery  = time.Hour
	pullRetry  = 30 * time.Second // doubled up to pullEvery
	pullPage   = 500
	maxPage    = 4 << 20 // bytes of one answer
	maxPulled  = 50_000  // hosts of one relay
	pullWithin = 30 * time.Second
)

// pull asks another relay for its hosts, at once and every hour, until the run ends.
func (c *Crawler) pull(r *run) {
	for wait := pullRetry; ; {
		listed, added, err := c.pullHosts(r)
		if r.ctx.Err() != nil {
			return
		}
		next := pullEvery
		if err != nil {
			next, wait = wait, min(2*wait, pullEvery)
			c.metrics.pulls.WithLabelValues("failed").Inc()
			c.log.Warn("a relay's hosts could not be pulled", "from", c.opts.PullFrom, "listed", listed, "added", added, "err", err, "again_in", next)
		} else {
			wait = pullRetry
			c.metrics.pulls.WithLabelValues("ok").Inc()
			c.log.Info("hosts pulled", "from", c.opts.PullFrom, "listed", listed, "added", added)
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
			return
		}
	}
}

type hostsPage struct {
	Cursor string `json:"cursor"`
	Hosts  []struct {
		Hostname string `json:"hostname"`
		Status   string `json:"status"`
	} `json:"hosts"`
}

// pullHosts walks com.atproto.sync.listHosts of the relay and adds every host that it
// does not ban and that is not known.
func (c *Crawler) pullHosts(r *run) (listed, added int, err error) {
	for cursor := ""; listed < maxPulled; {
		page, err := c.pullPage(r.ctx, cursor)
		if err != nil {
			return listed, added, err
		}
		for _, h := range page.Hosts {
			listed++
			if h.Status != string(Banned) && c.pulled(r, h.Hostname) {
				added++
			}
		}
		if page.Cursor == "" || page.Cursor == cursor || len(page.Hosts) == 0 {
			return listed, added, nil
		}
		cursor = page.Cursor
	}
	return listed, added, nil
}

// pulled has a host read that another relay lists, unless it is known or banned or
// has no name that is a public host's, which is theirs to keep. It is remembered once
// it has answered.
func (c *Crawler) pulled(r *run, name string) bool {
	a, err := parse(name, false)
	if err != nil {
		return false
	}
	if _, banned := c.opts.Decisions.Banned(a.name); banned {
		return false
	}
	c.mu.Lock()
	known := c.known.m[a.name] != nil
	if !known {
		c.known.add(index.Crawl{Name: a.name, By: index.CrawlByPull, Requested: c.opts.Now()})
	}
	c.mu.Unlock()
	if known {
		return false
	}
	if r.reader.AddHost(a.url, false) != nil {
		return false // it is stopping
	}
	if _, banned := c.opts.Decisions.Banned(a.name); banned { // meanwhile
		r.reader.DropHost(a.name, errBanned)
	}
	return true
}

func (c *Crawler) pullPage(ctx context.Context, cursor string) (*hostsPage, error) {
	q := url.Values{"limit": {fmt.Sprint(pullPage)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimRight(c.opts.PullFrom, "/")+"/xrpc/com.atproto.sync.listHosts?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	resp, err := c.puller.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("listHosts: %s", resp.Status)
	}
	var page hostsPage
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(&page); err != nil {
		return nil, fmt.Errorf("listHosts: %w", err)
	}
	return &page, nil
}
