package replay

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Server is the handler of com.atproto.sync.subscribeRepos.
type Server struct {
	opts     Options
	upgrader websocket.Upgrader
	metrics  *metrics

	stopping atomic.Bool // set by Shutdown
	done     sync.WaitGroup

	mu        sync.Mutex
	entered   int                // connections, those that shake hands too
	from      map[netip.Addr]int // of them by address
	consumers map[*consumer]struct{}
	left      totals // of consumers that are gone
}

// NewServer returns a server; Shutdown ends it.
func NewServer(o Options) *Server {
	o.EnsureDefaults()
	s := &Server{
		opts: o,
		upgrader: websocket.Upgrader{
			HandshakeTimeout: 10 * time.Second, ReadBufferSize: 512, WriteBufferSize: 512,
			CheckOrigin: func(*http.Request) bool { return true }, // public and read-only
			Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
				writeError(w, status, "InvalidRequest", reason.Error())
			},
		},
		from: map[netip.Addr]int{}, consumers: map[*consumer]struct{}{},
	}
	s.metrics = newMetrics(s)
	return s
}

// step is how long a write may wait before it is looked at.
func (s *Server) step() time.Duration { return min(writeStep, s.opts.StallTimeout/4) }

// ServeHTTP upgrades the request and serves the log until the consumer leaves.
// Answers before the upgrade are XRPC errors: 400, 405, 426, 429, 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		writeError(w, http.StatusMethodNotAllowed, "InvalidRequest", "subscribeRepos is a WebSocket: connect with GET")
		return
	}
	addr := s.opts.ClientAddr(r)
	if refusal := s.enter(addr); refusal != nil {
		refusal.write(w)
		return
	}
	defer s.exit(addr)
	begin, refusal := s.parse(r) // a time is looked up in files
	if refusal != nil {
		refusal.write(w)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		writeError(w, http.StatusUpgradeRequired, "InvalidRequest", "subscribeRepos is a WebSocket: send an Upgrade")
		return
	}
	header := http.Header{"Cistern-Stream": {s.opts.Source.Log.Stream().ID}}
	if s.opts.ServerHeader != "" {
		header.Set("Server", s.opts.ServerHeader)
	}
	conn, err := s.upgrader.Upgrade(w, r, header)
	if err != nil {
		return // Upgrade answered
	}
	c := newConsumer(s, conn, addr.String(), r, begin.after)
	s.add(c)
	defer s.remove(c)
	c.serve(begin)
}

func (s *Server) add(c *consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consumers[c] = struct{}{}
	if s.stopping.Load() {
		c.poke()
	}
}

func (s *Server) remove(c *consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.consumers, c)
	s.left.add(&c.stats)
}

// Shutdown sends every consumer what is durable, closes it with 1012 (service
// restart) and waits, until ctx ends; then it cuts the connections.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.stopping.Store(true)
	for c := range s.consumers {
		c.poke()
	}
	s.mu.Unlock()
	left := make(chan struct{})
	go func() {
		s.done.Wait()
		close(left)
	}()
	select {
	case <-left:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.consumers {
		_ = c.conn.Close() // its writer reports the reason
	}
	s.mu.Unlock()
	<-left
}

// refusal is an answer before the upgrade.
type refusal struct {
	status     int
	name       string
	message    string
	retryAfter string // seconds, "" for none
}

func (f *refusal) write(w http.ResponseWriter) {
	if f.retryAfter != "" {
		w.Header().Set("Retry-After", f.retryAfter)
	}
	writeError(w, f.status, f.name, f.message)
}

// writeError answers with an XRPC error body.
func writeError(w http.ResponseWriter, status int, name, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": message}) // the client left
}
