package admin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/xrpc"
)

// Collections is who knows which account has records of which collection.
type Collections interface {
	Collections() ([]string, error)
	AddRepos(ctx context.Context, collection string, dids []string) error
}

// collectionRoutes adds what concerns listReposByCollection.
func collectionRoutes(mux *http.ServeMux, c Collections) {
	mux.HandleFunc("GET /admin/collections/list", func(w http.ResponseWriter, _ *http.Request) {
		names, err := c.Collections()
		if err != nil {
			xrpc.WriteError(w, http.StatusServiceUnavailable, "NotReady", err.Error())
			return
		}
		if names == nil {
			names = []string{}
		}
		xrpc.WriteJSON(w, http.StatusOK, map[string][]string{"collections": names})
	})
	mux.HandleFunc("POST /admin/collections/add", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Collection string   `json:"collection"`
			DIDs       []string `json:"dids"`
		}
		if !reads(w, r, &body) {
			return
		}
		if err := validRepos(body.Collection, body.DIDs); err != nil {
			xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		if err := c.AddRepos(r.Context(), body.Collection, body.DIDs); err != nil {
			xrpc.WriteError(w, http.StatusServiceUnavailable, "NotReady", err.Error())
			return
		}
		xrpc.WriteJSON(w, http.StatusOK, map[string]string{"success": "true"})
	})
}

func validRepos(collection string, dids []string) error {
	if _, err := syntax.ParseNSID(collection); err != nil {
		return fmt.Errorf("the body must have a collection: %w", err)
	}
	for _, did := range dids {
		if err := frame.ValidDID(did); err != nil {
			return fmt.Errorf("dids: %w", err)
		}
	}
	return nil
}
