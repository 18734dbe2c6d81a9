package xrpc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/cistern-archive/cistern/internal/config"
)

// Parts are the handlers of other packages that stand behind routes.
type Parts struct {
	SubscribeRepos http.Handler
	Admin          http.Handler // of /admin/, nil when it is off
	Archive        http.Handler // of /archive/, nil when downloads are off
	HostLedger     HostLedger
	Hosts          Hosts
	// Proxies are those whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Healthy returns why the relay is not healthy, nil when it is.
	Healthy func() error
}

// NewHandler returns the handler of the public listener.
func NewHandler(p Parts) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/xrpc/com.atproto.sync.subscribeRepos", p.SubscribeRepos)
	mux.Handle("/xrpc/network.cistern.getHostLedger", hostLedgerHandler(p.HostLedger, time.Now))
	health := healthHandler(p.Healthy)
	mux.Handle("/_health", health)
	mux.Handle("/xrpc/_health", health)
	hostRoutes(mux, p.Hosts, p.Proxies)
	if p.Admin != nil {
		mux.Handle("/admin/", p.Admin)
	}
	if p.Archive != nil {
		mux.Handle("/archive/", p.Archive)
	}
	mux.HandleFunc("/xrpc/", func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, http.StatusNotImplemented, "MethodNotImplemented", "this relay does not offer that method")
	})
	mux.HandleFunc("/{$}", front)
	return common(mux)
}

// common sets what every answer carries: who we are, and that any page may read
// it, since all of it is public.
func common(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", config.ServerName())
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

func front(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "This is Cistern, an AT Protocol relay that keeps every drop.\n\n"+ // the client left
		"The event stream: ws://%s/xrpc/com.atproto.sync.subscribeRepos\n"+
		"Add ?cursor=0 for everything from the first event on.\n", r.Host)
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
