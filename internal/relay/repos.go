package relay

import (
	"context"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/collections"
	"github.com/cistern-archive/cistern/internal/config"
)

// AccountsAfter calls f with the accounts above a DID, in order, until it returns false.
func (r *Relay) AccountsAfter(ctx context.Context, did string, f func(did string, a accounts.Account) bool) error {
	x, err := r.intake.derived()
	if err != nil {
		return err
	}
	return x.AccountsAfter(ctx, did, func(did []byte, a *index.Account) bool {
		return f(string(did), accounts.Of(a))
	})
}

// ReposByCollection lists up to limit accounts above a DID, in order, that ever had a record
// of a collection.
func (r *Relay) ReposByCollection(collection, after string, limit int) ([]string, error) {
	x, err := r.intake.derived()
	if err != nil {
		return nil, err
	}
	return x.ReposByCollection(collection, after, limit)
}

// askHost bounds how long somebody who asks for a repo waits for its account's document.
const askHost = 5 * time.Second

// RepoURL is the host of an account: that which spoke for it, or where relays are read
// instead of hosts, the one that its document names.
func (r *Relay) RepoURL(ctx context.Context, did string, a accounts.Account) string {
	if a.Host != "" {
		return r.hostURL(a.Host)
	}
	if !r.cfg.Upstream.Mirror() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, askHost)
	defer cancel()
	id, err := r.resolver.Lookup(ctx, did)
	if err != nil {
		return ""
	}
	return r.hostURL(id.Host)
}

// hostURL is where a host is: a scheme and an authority.
func (r *Relay) hostURL(name string) string {
	if h, err := r.crawler.Host(name); err == nil && h.Plain {
		return "http://" + name
	}
	return "https://" + name
}

// derived returns the index, while it is up to the log.
func (in *intake) derived() (*index.Index, error) {
	r, err := in.reading()
	if err != nil {
		return nil, err
	}
	return r.index, nil
}

// Collections returns the names of all collections that any account had a record of.
func (r *Relay) Collections() ([]string, error) {
	x, err := r.intake.derived()
	if err != nil {
		return nil, err
	}
	return x.Collections()
}

// AddRepos notes that accounts have records of a collection, by an operator's word.
func (r *Relay) AddRepos(ctx context.Context, collection string, dids []string) error {
	x, err := r.intake.derived()
	if err != nil {
		return err
	}
	return x.AddRepos(ctx, collection, dids)
}

// openCollections makes the part that asks hosts what a #sync does not say.
func (r *Relay) openCollections() {
	r.collections = collections.NewRefresher(collections.Options{
		Host: r.hostOf, Add: func(ctx context.Context, did string, names []string) error {
			x, err := r.intake.derived()
			if err != nil {
				return err
			}
			return x.AddCollections(ctx, did, names)
		},
		UserAgent: config.ServerName(), Registerer: r.reg, Logger: r.log,
	})
}

// hostOf says where an active account's repo is.
func (r *Relay) hostOf(did string) (h collections.Host, ok bool, err error) {
	a, found, err := r.intake.account(did)
	if err != nil || !found || a.Effective().Inactive {
		return h, false, err
	}
	if r.cfg.Upstream.Mirror() {
		h.URL = r.RepoURL(context.Background(), did, a)
		return h, h.URL != "", nil
	}
	known, err := r.crawler.Host(a.Host)
	if err != nil {
		return h, false, nil // it was forgotten, or never crawled
	}
	return collections.Host{URL: r.hostURL(a.Host), Trusted: known.By == index.CrawlByOperator}, true, nil
}
