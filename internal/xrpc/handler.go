package xrpc

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/config"
)

// Parts are the handlers of other packages that stand behind routes.
type Parts struct {
	SubscribeRepos http.Handler
	Admin          http.Handler // of /admin/, nil when it is off
	Archive        http.Handler // of /archive/, nil when downloads are off
	Pages          http.Handler // of / and /assets/, nil for none
	HostLedger     HostLedger
	Relays         []string // names of the relays that are followed, nil where hosts are crawled
	Hosts          Hosts
	Repos          Repos
	Stream         Stream
	// Proxies are those whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Healthy returns why the relay is not healthy, nil when it is.
	Healthy func() error
	// Ready returns why consumers and hosts are not served yet, nil when they are.
	Ready func() error
}

// NewHandler returns the handler of the public listener.
func NewHandler(p Parts) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/xrpc/com.atproto.sync.subscribeRepos", p.SubscribeRepos)
	mux.Handle("/xrpc/network.cistern.getHostLedger", hostLedgerHandler(p.HostLedger, time.Now))
	mux.Handle("/xrpc/network.cistern.compareRelays", compareRelaysHandler(p.HostLedger, p.Relays, time.Now))
	health := healthHandler(p.Healthy)
	mux.Handle("/_health", health)
	mux.Handle("/_healthz", health)
	mux.Handle("/_readyz", healthHandler(p.Ready))
	mux.Handle("/xrpc/_health", health)
	hostRoutes(mux, p.Hosts, p.Proxies)
	repoRoutes(mux, p.Repos)
	streamRoutes(mux, p.Stream)
	if p.Admin != nil {
		mux.Handle("/admin/", p.Admin)
	}
	if p.Archive != nil {
		mux.Handle("/archive/", p.Archive)
	}
	mux.HandleFunc("/xrpc/", func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, http.StatusNotImplemented, "MethodNotImplemented", "this relay does not offer that method")
	})
	if p.Pages != nil {
		mux.Handle("/{$}", p.Pages)
		mux.Handle("/assets/", p.Pages)
	}
	return common(mux)
}

// common sets what every answer carries: who we are, and, but for the operator's API, that
// any page may read it, since all of it is public.
func common(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", config.ServerName())
		if strings.HasPrefix(r.URL.Path, "/admin/") {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
			h.Set("Access-Control-Allow-Headers", "*")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func healthHandler(healthy func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			WriteError(w, http.StatusMethodNotAllowed, "InvalidRequest", "use GET")
			return
		}
		if err := healthy(); err != nil {
			WriteJSON(w, http.StatusServiceUnavailable, map[string]string{
				"status": "error", "version": config.Version, "message": err.Error()})
			return
		}
		WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": config.Version})
	})
}

// WriteJSON answers with a JSON body.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client left
}

// WriteError answers with the error body of XRPC.
func WriteError(w http.ResponseWriter, status int, name, message string) {
	WriteJSON(w, status, map[string]string{"error": name, "message": message})
}
