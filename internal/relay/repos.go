package relay

import (
	"context"

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

// HostURL is where a host is: a scheme and an authority.
func (r *Relay) HostURL(name string) string {
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
	if err != nil || !found || a.Host == "" || a.Effective().Inactive {
		return h, false, err
	}
	known, err := r.crawler.Host(a.Host)
	if err != nil {
		return h, false, nil // it was forgotten, or never crawled
	}
	return collections.Host{URL: r.HostURL(a.Host), Trusted: known.By == index.CrawlByOperator}, true, nil
}
