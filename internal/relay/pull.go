package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/config"
)

const (
	pullEvery  = time.Hour
	pullRetry  = 30 * time.Second // doubled up to pullEvery
	pullPage   = 500
	maxPage    = 4 << 20 // bytes of one answer
	maxPulled  = 50_000  // hosts of one relay
	pullWithin = 30 * time.Second
)

// hostAdder is who takes the hosts.
type hostAdder interface {
	AddHost(rawURL string, trusted bool) error
}

// puller asks another relay for its hosts, at the start and every hour.
type puller struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func startPuller(base string, to hostAdder, log *slog.Logger) *puller {
	ctx, cancel := context.WithCancel(context.Background())
	p := &puller{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for wait := pullRetry; ; {
			n, err := pullHosts(ctx, http.DefaultClient, base, to)
			next := pullEvery
			if err != nil {
				next, wait = wait, min(2*wait, pullEvery)
				log.Warn("the relay's hosts could not be pulled", "from", base, "added", n, "err", err, "again_in", next)
			} else {
				wait = pullRetry
				log.Info("hosts pulled", "from", base, "hosts", n)
			}
			timer := time.NewTimer(next)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}()
	return p
}

func (p *puller) stop() {
	p.cancel()
	<-p.done
}

type hostsPage struct {
	Cursor string `json:"cursor"`
	Hosts  []struct {
		Hostname string `json:"hostname"`
		Status   string `json:"status"`
	} `json:"hosts"`
}

// pullHosts walks com.atproto.sync.listHosts of the relay at base and adds every
// host that it does not ban. It returns how many it took.
func pullHosts(ctx context.Context, client *http.Client, base string, to hostAdder) (int, error) {
	n, cursor := 0, ""
	for n < maxPulled {
		page, err := pullOne(ctx, client, base, cursor)
		if err != nil {
			return n, err
		}
		for _, h := range page.Hosts {
			if h.Status == "banned" || h.Hostname == "" {
				continue
			}
			if err := to.AddHost(h.Hostname, false); err != nil {
				continue // a name that is not a public host's: theirs to keep
			}
			n++
		}
		if page.Cursor == "" || page.Cursor == cursor || len(page.Hosts) == 0 {
			return n, nil
		}
		cursor = page.Cursor
	}
	return n, nil
}

func pullOne(ctx context.Context, client *http.Client, base, cursor string) (*hostsPage, error) {
	ctx, cancel := context.WithTimeout(ctx, pullWithin)
	defer cancel()
	q := url.Values{"limit": {fmt.Sprint(pullPage)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/xrpc/com.atproto.sync.listHosts?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", config.ServerName())
	resp, err := client.Do(req)
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
