package collections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Backfill copies to a running relay what another one lists with listReposByCollection.
type Backfill struct {
	From        string   // base URL of the relay that is asked
	To          string   // base URL of the relay that is told
	Password    string   // of its admin API
	Collections []string // none: those that it knows
	State       string   // file that says how far this came, so that another run goes on
	Client      *http.Client
	// Retry is how long to wait before what failed is tried again, doubled each time: 1 s.
	Retry time.Duration
	// Progress is called after every page.
	Progress func(collection string, repos int)
}

// backfillPage is how many accounts are asked for, and told, at once.
const backfillPage = 1000

// retries is how often a call is made that fails.
const retries = 6

// progress is the file of a Backfill.
type progress struct {
	From  string            `json:"from"`
	Under map[string]copied `json:"under_way"` // by collection
	Done  map[string]int    `json:"done"`      // repos of collections that are finished
}

// copied is how far one collection came.
type copied struct {
	Cursor string `json:"cursor"`
	Repos  int    `json:"repos"`
}

// Run copies everything, and returns how many accounts of how many collections that was, those
// of earlier runs included.
func (b *Backfill) Run(ctx context.Context) (repos, collections int, err error) {
	p, err := b.load()
	if err != nil {
		return 0, 0, err
	}
	names := b.Collections
	if len(names) == 0 {
		var known struct{ Collections []string }
		if err := b.call(ctx, b.admin(http.MethodGet, "list", nil), &known); err != nil {
			return 0, 0, err
		}
		names = known.Collections
	}
	for _, name := range names {
		if _, done := p.Done[name]; !done {
			if err := b.copy(ctx, p, name); err != nil {
				return repos, collections, fmt.Errorf("%s: %w", name, err)
			}
		}
		repos, collections = repos+p.Done[name], collections+1
	}
	return repos, collections, nil
}

// copy copies one collection.
func (b *Backfill) copy(ctx context.Context, p *progress, name string) error {
	for at := p.Under[name]; ; {
		q := url.Values{"collection": {name}, "limit": {strconv.Itoa(backfillPage)}}
		if at.Cursor != "" {
			q.Set("cursor", at.Cursor)
		}
		var page struct {
			Cursor string
			Repos  []struct{ DID string }
		}
		get := func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, b.From+"/xrpc/com.atproto.sync.listReposByCollection?"+q.Encode(), nil)
		}
		if err := b.call(ctx, get, &page); err != nil {
			return err
		}
		dids := make([]string, 0, len(page.Repos))
		for _, r := range page.Repos {
			dids = append(dids, r.DID)
		}
		if len(dids) > 0 {
			body, err := json.Marshal(map[string]any{"collection": name, "dids": dids})
			if err != nil {
				return err
			}
			if err := b.call(ctx, b.admin(http.MethodPost, "add", body), nil); err != nil {
				return err
			}
		}
		if page.Cursor != "" && page.Cursor == at.Cursor {
			return fmt.Errorf("%s gives the same cursor again", b.From)
		}
		at.Cursor, at.Repos = page.Cursor, at.Repos+len(dids)
		p.Under[name] = at
		if page.Cursor == "" {
			delete(p.Under, name)
			p.Done[name] = at.Repos
		}
		b.Progress(name, at.Repos)
		if err := b.save(p); err != nil || page.Cursor == "" {
			return err
		}
	}
}

// admin makes a call of the relay that is told.
func (b *Backfill) admin(method, what string, body []byte) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, b.To+"/admin/collections/"+what, bytes.NewReader(body))
		if err == nil {
			req.SetBasicAuth("admin", b.Password)
		}
		return req, err
	}
}

// errRefused is an answer that another try does not change.
var errRefused = errors.New("refused")

// call makes a request until it is answered, a few times.
func (b *Backfill) call(ctx context.Context, request func(context.Context) (*http.Request, error), into any) (err error) {
	wait := b.Retry
	if wait == 0 {
		wait = time.Second
	}
	for range retries {
		var req *http.Request
		if req, err = request(ctx); err != nil {
			return err
		}
		if err = b.once(req, into); err == nil || errors.Is(err, errRefused) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		wait *= 2
	}
	return err
}

func (b *Backfill) once(req *http.Request, into any) error {
	resp, err := b.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s: %s %s", req.URL.Host, resp.Status, bytes.TrimSpace(body[:min(len(body), 300)]))
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

func (b *Backfill) load() (*progress, error) {
	p := &progress{From: b.From, Under: map[string]copied{}, Done: map[string]int{}}
	raw, err := os.ReadFile(b.State)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, p)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.State, err)
	}
	if p.From != b.From {
		return nil, fmt.Errorf("%s is of a backfill from %s: name another file, or remove it", b.State, p.From)
	}
	return p, nil
}

// save replaces the file.
func (b *Backfill) save(p *progress) error {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(b.State), filepath.Base(b.State)+".tmp")
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.State)
}
