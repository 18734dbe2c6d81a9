package relay

import (
	"context"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
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
	r := in.current.Load()
	if r == nil || r.manager == nil {
		return nil, errNotReading
	}
	return r.index, nil
}
