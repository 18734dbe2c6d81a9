package xrpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/accounts"
)

// ErrNotReady says that what is derived from the log is not known yet.
var ErrNotReady = errors.New("the index is behind the log: try again in a moment")

// ErrBusy says that others ask for something that takes long.
var ErrBusy = errors.New("others are asking for the same kind of thing: try again in a moment")

// Repos is who knows accounts. Its errors are ErrNotReady, or of the disk.
type Repos interface {
	// Account returns what is known of an account, and whether anything is.
	Account(did string) (accounts.Account, bool, error)
	// AccountsAfter calls f with the accounts above a DID, in order, until it returns false.
	AccountsAfter(ctx context.Context, did string, f func(did string, a accounts.Account) bool) error
	// ReposByCollection lists up to limit accounts above a DID, in order, that ever had a
	// record of a collection.
	ReposByCollection(collection, after string, limit int) ([]string, error)
	// RepoURL is the host of an account, a scheme and an authority: "" where none is known.
	RepoURL(ctx context.Context, did string, a accounts.Account) string
}

// Bounds of the lexicons.
const (
	reposPage         = 500
	maxReposPage      = 1000
	collectionPage    = 500
	maxCollectionPage = 2000
	// maxWalk bounds the accounts that are looked at for a page: one with fewer than were
	// asked for is not the last while it has a cursor.
	maxWalk = 20_000
)

// repoRoutes adds the methods that concern accounts.
func repoRoutes(mux *http.ServeMux, repos Repos) {
	mux.Handle("/xrpc/com.atproto.sync.listRepos", query(func(r *http.Request, p *params) (any, error) {
		return listRepos(r.Context(), p, repos)
	}))
	mux.Handle("/xrpc/com.atproto.sync.getRepoStatus", query(func(_ *http.Request, p *params) (any, error) {
		return getRepoStatus(p, repos)
	}))
	mux.Handle("/xrpc/com.atproto.sync.getLatestCommit", query(func(_ *http.Request, p *params) (any, error) {
		return getLatestCommit(p, repos)
	}))
	mux.Handle("/xrpc/com.atproto.sync.listReposByCollection", query(func(_ *http.Request, p *params) (any, error) {
		return listReposByCollection(p, repos)
	}))
	for _, method := range []string{"com.atproto.sync.getRepo", "com.atproto.sync.getRecord"} {
		mux.Handle("/xrpc/"+method, toHost(method, repos))
	}
}

type repoRow struct {
	DID    string `json:"did"`
	Head   string `json:"head"`
	Rev    string `json:"rev"`
	Active bool   `json:"active"`
	Status string `json:"status,omitempty"`
}

type reposPageOf[T any] struct {
	Cursor string `json:"cursor,omitempty"`
	Repos  []T    `json:"repos"`
}

// listRepos leaves out accounts of which no state is known.
func listRepos(ctx context.Context, p *params, repos Repos) (any, error) {
	limit, cursor := p.limit(reposPage, maxReposPage), p.text("cursor", maxCursor)
	if p.err != nil {
		return nil, invalid(p.err)
	}
	page := reposPageOf[repoRow]{Repos: []repoRow{}}
	looked := 0
	var broken error
	err := repos.AccountsAfter(ctx, cursor, func(did string, a accounts.Account) bool {
		if looked++; len(page.Repos) == limit || looked > maxWalk {
			page.Cursor = cursor
			return false
		}
		cursor = did
		if a.Repo.Rev == "" {
			return true
		}
		head, err := cidOf(a.Repo.Commit)
		if err != nil {
			broken = fmt.Errorf("%s: %w", did, err)
			return false
		}
		status := a.Effective()
		page.Repos = append(page.Repos, repoRow{did, head, a.Repo.Rev, !status.Inactive, status.Reason})
		return true
	})
	return page, errors.Join(err, broken)
}

func cidOf(b []byte) (string, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return "", err
	}
	return c.String(), nil
}

// known returns an account that anything is known of.
func known(p *params, repos Repos) (string, accounts.Account, error) {
	did := p.did("did")
	if p.err != nil {
		return did, accounts.Account{}, invalid(p.err)
	}
	a, found, err := repos.Account(did)
	if err == nil && !found {
		err = &failure{http.StatusNotFound, "RepoNotFound", "the log has nothing of " + did}
	}
	return did, a, err
}

type repoStatus struct {
	DID    string `json:"did"`
	Active bool   `json:"active"`
	Status string `json:"status,omitempty"`
	Rev    string `json:"rev,omitempty"`
}

func getRepoStatus(p *params, repos Repos) (any, error) {
	did, a, err := known(p, repos)
	if err != nil {
		return nil, err
	}
	status := a.Effective()
	out := repoStatus{DID: did, Active: !status.Inactive, Status: status.Reason}
	if out.Active {
		out.Rev = a.Repo.Rev
	}
	return out, nil
}

func getLatestCommit(p *params, repos Repos) (any, error) {
	did, a, err := known(p, repos)
	if err != nil {
		return nil, err
	}
	if err := inactive(did, a.Effective()); err != nil {
		return nil, err
	}
	if a.Repo.Rev == "" {
		return nil, &failure{http.StatusNotFound, "RepoNotFound", "the log has no commit of " + did}
	}
	head, err := cidOf(a.Repo.Commit)
	return map[string]string{"cid": head, "rev": a.Repo.Rev}, err
}

// inactive is the error for an account that is not active, in the lexicons' names.
func inactive(did string, s accounts.Status) error {
	if !s.Inactive {
		return nil
	}
	reason := s.Reason
	if reason == "" {
		reason = "not active"
	}
	f := &failure{http.StatusForbidden, "RepoDeactivated", fmt.Sprintf("%s is %s", did, reason)}
	switch s.Reason {
	case accounts.TakenDown:
		f.name = "RepoTakendown"
	case "suspended":
		f.name = "RepoSuspended"
	case accounts.Deleted:
		f.status, f.name = http.StatusNotFound, "RepoNotFound"
	}
	return f
}

// toHost sends a client to the account's host, with its query.
func toHost(method string, repos Repos) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allows(w, r, http.MethodGet) {
			return
		}
		p := paramsOf(r.URL.RawQuery)
		did, a, err := known(p, repos)
		if method == "com.atproto.sync.getRecord" {
			p.nsid("collection")
			p.required("rkey", 512)
		} else if since := p.text("since", maxTID); since != "" {
			p.tid("since", since)
		}
		if err == nil && p.err != nil {
			err = invalid(p.err)
		}
		if err == nil {
			err = inactive(did, a.Effective())
		}
		var host string
		if err == nil {
			if host = repos.RepoURL(r.Context(), did, a); host == "" {
				err = &failure{http.StatusNotFound, "RepoNotFound", "no host spoke for " + did + " yet"}
			}
		}
		if err != nil {
			writeFailure(w, err)
			return
		}
		to := host + "/xrpc/" + method + "?" + r.URL.RawQuery
		if _, err := url.Parse(to); err != nil {
			writeFailure(w, err)
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	}
}

type repoName struct {
	DID string `json:"did"`
}

// listReposByCollection leaves out accounts that are not active.
func listReposByCollection(p *params, repos Repos) (any, error) {
	collection, limit, cursor := p.nsid("collection"), p.limit(collectionPage, maxCollectionPage), p.text("cursor", maxCursor)
	if p.err != nil {
		return nil, invalid(p.err)
	}
	page := reposPageOf[repoName]{Repos: []repoName{}}
	for looked := 0; len(page.Repos) < limit; {
		want := limit - len(page.Repos) + 1
		dids, err := repos.ReposByCollection(collection, cursor, want)
		if err != nil {
			return nil, err
		}
		for i, did := range dids {
			if len(page.Repos) == limit || looked == maxWalk {
				page.Cursor = cursor
				return page, nil
			}
			a, found, err := repos.Account(did)
			if err != nil {
				return nil, err
			}
			if !found || !a.Effective().Inactive {
				page.Repos = append(page.Repos, repoName{did})
			}
			cursor, looked = dids[i], looked+1
		}
		if len(dids) < want {
			return page, nil
		}
	}
	return page, nil
}

// writeFailure answers with an error.
func writeFailure(w http.ResponseWriter, err error) {
	var f *failure
	switch {
	case errors.As(err, &f):
		WriteError(w, f.status, f.name, f.message)
	case errors.Is(err, ErrBusy):
		w.Header().Set("Retry-After", "5")
		WriteError(w, http.StatusTooManyRequests, "RateLimitExceeded", err.Error())
	case errors.Is(err, ErrNotReady):
		w.Header().Set("Retry-After", "10")
		WriteError(w, http.StatusServiceUnavailable, "NotReady", err.Error())
	default:
		WriteHostError(w, err)
	}
}
