package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
)

// Sources are what the API shows and changes.
type Sources struct {
	Hosts     Hosts
	Consumers func() []replay.ConsumerInfo
	Takedowns Takedowns
	// Collections is nil where nobody may add to them.
	Collections Collections
	// Quarantine lists the dropped frames that are kept, of one reason or of all ("").
	Quarantine func(reason string) []*ledger.Quarantined
	// Pages are those for people: the dashboard.
	Pages http.Handler
}

// NewHandler returns the API; nil when there is no password.
func NewHandler(passwords []string, s Sources) http.Handler {
	if len(passwords) == 0 {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/consumers/list", func(w http.ResponseWriter, _ *http.Request) {
		xrpc.WriteJSON(w, http.StatusOK, consumers(s.Consumers()))
	})
	hostRoutes(mux, s.Hosts)
	subsRoutes(mux, s.Hosts)
	repoRoutes(mux, s.Takedowns)
	if s.Collections != nil {
		collectionRoutes(mux, s.Collections)
	}
	mux.HandleFunc("GET /admin/quarantine", quarantine(s.Quarantine))
	if s.Pages != nil {
		mux.Handle("GET /admin/{$}", s.Pages)
		mux.Handle("GET /admin/part/", s.Pages)
		mux.Handle("GET /admin/live", s.Pages)
	}
	// A browser remembers the password: another site's page must not decide with it.
	return authenticate(passwords, http.NewCrossOriginProtection().Handler(mux))
}

// authenticate lets in who knows one of the passwords, in constant time.
func authenticate(passwords []string, next http.Handler) http.Handler {
	sums := make([][32]byte, len(passwords))
	for i, p := range passwords {
		sums[i] = sha256.Sum256([]byte(p))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		given, ok := sha256.Sum256([]byte(password)), 0
		for i := range sums {
			ok |= subtle.ConstantTimeCompare(given[:], sums[i][:])
		}
		if ok&subtle.ConstantTimeCompare([]byte(user), []byte("admin")) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="cistern admin"`)
			xrpc.WriteError(w, http.StatusUnauthorized, "AuthenticationRequired", "the admin API wants basic authentication, user admin")
			return
		}
		next.ServeHTTP(w, r)
	})
}

type consumerRow struct {
	RemoteAddr     string    `json:"remote_addr"`
	UserAgent      string    `json:"user_agent"`
	EventsConsumed uint64    `json:"events_consumed"`
	ConnectedAt    time.Time `json:"connected_at"`
	Cursor         uint64    `json:"cursor"`
	Tier           string    `json:"tier"`
	Lag            uint64    `json:"lag"`
	BytesConsumed  uint64    `json:"bytes_consumed"`
	EventsPerSec   float64   `json:"events_per_second"`
}

func consumers(infos []replay.ConsumerInfo) []consumerRow {
	rows := make([]consumerRow, 0, len(infos))
	for _, c := range infos {
		rows = append(rows, consumerRow{
			RemoteAddr: c.RemoteAddr, UserAgent: c.UserAgent, EventsConsumed: c.Events,
			ConnectedAt: c.Since, Cursor: c.Position, Tier: c.Tier, Lag: c.Lag, BytesConsumed: c.Bytes, EventsPerSec: c.Rate,
		})
	}
	return rows
}
