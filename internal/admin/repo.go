package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/xrpc"
)

// Takedowns is who takes accounts down.
type Takedowns interface {
	TakeDown(ctx context.Context, did string, down bool) error
	Takedowns() []string // sorted
}

// maxBody bounds the body of a request, in bytes.
const maxBody = 256 << 10

// repoRoutes adds what concerns accounts.
func repoRoutes(mux *http.ServeMux, t Takedowns) {
	mux.HandleFunc("GET /admin/repo/takedowns", func(w http.ResponseWriter, _ *http.Request) {
		dids := t.Takedowns()
		if dids == nil {
			dids = []string{}
		}
		xrpc.WriteJSON(w, http.StatusOK, map[string][]string{"dids": dids})
	})
	mux.HandleFunc("POST /admin/repo/takeDown", takeDown(t, true))
	mux.HandleFunc("POST /admin/repo/reverseTakedown", takeDown(t, false))
}

func takeDown(t Takedowns, down bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			DID string `json:"did"`
		}
		if err := readJSON(r, &body); err != nil {
			xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		if err := frame.ValidDID(body.DID); err != nil {
			xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", "the body must have a did: "+err.Error())
			return
		}
		if err := t.TakeDown(r.Context(), body.DID, down); err != nil {
			xrpc.WriteError(w, http.StatusInternalServerError, "InternalServerError", err.Error())
			return
		}
		xrpc.WriteJSON(w, http.StatusOK, map[string]string{"success": "true"})
	}
}

// readJSON reads a body that is one JSON object.
func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return err
	}
	if len(body) > maxBody {
		return errors.New("the body is too large")
	}
	return json.Unmarshal(body, into)
}
