package netsim

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// handler answers what a relay asks of a PDS.
func (h *Host) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /xrpc/com.atproto.sync.subscribeRepos", h.subscribe)
	mux.HandleFunc("GET /xrpc/com.atproto.server.describeServer", h.describeServer)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getRepoStatus", h.getRepoStatus)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.listRepos", h.listRepos)
	mux.HandleFunc("GET /xrpc/_health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": "netsim"})
	})
	return mux
}

func (h *Host) describeServer(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"did": "did:web:host" + strconv.Itoa(h.index) + ".netsim.invalid", "availableUserDomains": []string{".test"},
	})
}

// repoStatus is one account in getRepoStatus and listRepos.
type repoStatus struct {
	DID    string `json:"did"`
	Head   string `json:"head,omitempty"`
	Rev    string `json:"rev,omitempty"`
	Active bool   `json:"active"`
	Status string `json:"status,omitempty"`
}

// statusOf says how an account stands; the network is locked.
func (a *Account) statusOf() repoStatus {
	s := repoStatus{DID: a.DID, Active: a.status == "", Status: a.status}
	if a.repo != nil && s.Active {
		s.Rev = a.repo.rev
		if a.repo.commit != nil {
			s.Head = asCID(a.repo.commit).String()
		}
	}
	return s
}

func (h *Host) getRepoStatus(w http.ResponseWriter, r *http.Request) {
	h.net.mu.Lock()
	a := h.net.byDID[r.URL.Query().Get("did")]
	var s repoStatus
	ok := a != nil && a.host == h
	if ok {
		s = a.statusOf()
		s.Head = ""
	}
	h.net.mu.Unlock()
	if !ok {
		xrpcError(w, http.StatusBadRequest, "RepoNotFound", "Could not find repo for DID")
		return
	}
	writeJSON(w, http.StatusOK, s)
}

func (h *Host) listRepos(w http.ResponseWriter, r *http.Request) {
	limit, from := 500, 0
	if v, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && v > 0 && v < 1000 {
		limit = v
	}
	if v, err := strconv.Atoi(r.URL.Query().Get("cursor")); err == nil && v > 0 {
		from = v
	}
	out := struct {
		Cursor string       `json:"cursor,omitempty"`
		Repos  []repoStatus `json:"repos"`
	}{Repos: []repoStatus{}}
	h.net.mu.Lock()
	for i := from; i < len(h.accounts) && len(out.Repos) < limit; i++ {
		if a := h.accounts[i]; a.repo != nil {
			out.Repos = append(out.Repos, a.statusOf())
		}
		if i+1 < len(h.accounts) {
			out.Cursor = strconv.Itoa(i + 1)
		} else {
			out.Cursor = ""
		}
	}
	h.net.mu.Unlock()
	writeJSON(w, http.StatusOK, out)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; nothing to tell
}

// xrpcError answers in the form of XRPC errors.
func xrpcError(w http.ResponseWriter, status int, name, msg string) {
	writeJSON(w, status, map[string]string{"error": name, "message": msg})
}
