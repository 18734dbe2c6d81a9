package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configures a Server. Log and Ring must be set.
type Options struct {
	Log  *segmentlog.Log
	Ring *Ring
	// Logger: slog.Default().
	Logger *slog.Logger
	// Registerer takes the metrics: none.
	Registerer prometheus.Registerer
	// ServerHeader is sent as `Server` with every upgrade.
	ServerHeader string

	// PingInterval is how long a socket may be quiet before a ping: 30 s.
	PingInterval time.Duration
	// PongTimeout ends a connection of which nothing was heard, while nothing waited
	// to be sent: 90 s.
	PongTimeout time.Duration
	// StallTimeout ends a connection that accepted no byte of what waited: 5 min.
	StallTimeout time.Duration
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.PingInterval == 0 {
		o.PingInterval = 30 * time.Second
	}
	if o.PongTimeout == 0 {
		o.PongTimeout = 90 * time.Second
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 5 * time.Minute
	}
}

// Server is the handler of com.atproto.sync.subscribeRepos.
type Server struct {
	opts     Options
	upgrader websocket.Upgrader
	metrics  *metrics

	stop chan struct{} // closed by Shutdown
	done sync.WaitGroup

	mu        sync.Mutex
	stopping  bool
	consumers map[*consumer]struct{}
}

// NewServer returns a server; Shutdown ends it.
func NewServer(o Options) *Server {
	o.EnsureDefaults()
	return &Server{
		opts: o, metrics: newMetrics(o.Registerer),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: 10 * time.Second, ReadBufferSize: 512, WriteBufferSize: 512,
			CheckOrigin: func(*http.Request) bool { return true }, // public and read-only
			Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
				writeError(w, status, "InvalidRequest", reason.Error())
			},
		},
		stop: make(chan struct{}), consumers: map[*consumer]struct{}{},
	}
}

// start is where a consumer begins, and what it is told first: an error frame, which
// ends the connection, or an #info message.
type start struct {
	after      uint64
	errName    string
	errMessage string
	info       string // message of an #info OutdatedCursor, "" for none
}

// ServeHTTP upgrades the request and serves the log until the consumer leaves.
// Answers before the upgrade are XRPC errors: 400, 405, 426, 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		writeError(w, http.StatusMethodNotAllowed, "InvalidRequest", "subscribeRepos is a WebSocket: connect with GET")
		return
	}
	begin, status, err := s.parse(r)
	if err != nil {
		name := "InvalidRequest"
		if status == http.StatusConflict {
			status, name = http.StatusBadRequest, StreamMismatch
		}
		writeError(w, status, name, err.Error())
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		writeError(w, http.StatusUpgradeRequired, "InvalidRequest", "subscribeRepos is a WebSocket: send an Upgrade")
		return
	}
	if !s.enter() {
		writeError(w, http.StatusServiceUnavailable, "ShuttingDown", "the relay is shutting down")
		return
	}
	defer s.done.Done()
	header := http.Header{"Cistern-Stream": {s.opts.Log.Stream().ID}}
	if s.opts.ServerHeader != "" {
		header.Set("Server", s.opts.ServerHeader)
	}
	conn, err := s.upgrader.Upgrade(w, r, header)
	if err != nil {
		return // Upgrade answered
	}
	c := newConsumer(s, conn, r, begin.after)
	s.add(c)
	defer s.remove(c)
	c.serve(begin)
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.done.Add(1)
	return true
}

// parse reads the parameters. An error comes with its HTTP status; 409 stands for
// StreamMismatch.
func (s *Server) parse(r *http.Request) (start, int, error) {
	q := r.URL.Query()
	log := s.opts.Log
	if id := q.Get("stream"); q.Has("stream") && id != log.Stream().ID {
		return start{}, http.StatusConflict, fmt.Errorf("this is stream %s: cursors of another stream mean nothing here", log.Stream().ID)
	}
	if q.Has("since") {
		return start{}, http.StatusBadRequest, fmt.Errorf("since is not offered: use cursor")
	}
	if !q.Has("cursor") {
		return start{after: log.Tip()}, 0, nil
	}
	cursor, err := strconv.ParseInt(q.Get("cursor"), 10, 64)
	if err != nil || cursor < 0 {
		return start{}, http.StatusBadRequest, fmt.Errorf("cursor must be a sequence number, 0 or more, not %q", q.Get("cursor"))
	}
	if top := log.Reserved(); uint64(cursor) > top {
		return start{errName: FutureCursor, errMessage: fmt.Sprintf(
			"cursor %d is above everything in this log: stream %s ends at %d", cursor, log.Stream().ID, log.Tip())}, 0, nil
	}
	return start{after: uint64(cursor), info: outdated(log.Stream(), uint64(cursor))}, 0, nil
}

// outdated says what a consumer should know whose cursor stands where an epoch ended and
// its last numbers were lost, "" for any other cursor.
func outdated(s segmentlog.Stream, cursor uint64) string {
	if cursor < s.TrimmedThrough {
		return fmt.Sprintf("cursor %d is older than what is kept: the log was trimmed through seq %d", cursor, s.TrimmedThrough)
	}
	for _, e := range s.Epochs[1:] {
		if cursor > e.PrevLastSeq && cursor < e.FirstSeq {
			return fmt.Sprintf("cursor %d names what was lost: the log holds nothing from seq %d to %d (epoch %d begins after it); what hosts sent then comes again under new numbers",
				cursor, e.PrevLastSeq+1, e.FirstSeq-1, e.Epoch)
		}
	}
	return ""
}

func (s *Server) add(c *consumer) {
	s.mu.Lock()
	s.consumers[c] = struct{}{}
	s.mu.Unlock()
	s.metrics.consumers.Inc()
}

func (s *Server) remove(c *consumer) {
	s.mu.Lock()
	delete(s.consumers, c)
	s.mu.Unlock()
	s.metrics.consumers.Dec()
}

// ConsumerInfo is what an operator sees of a consumer.
type ConsumerInfo struct {
	RemoteAddr string
	UserAgent  string
	Since      time.Time
	Position   uint64 // seq of the last event written
	Tier       string
	Events     uint64
}

// Consumers lists who is connected.
func (s *Server) Consumers() []ConsumerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ConsumerInfo, 0, len(s.consumers))
	for c := range s.consumers {
		out = append(out, c.info())
	}
	return out
}

// Shutdown sends every consumer what is durable, closes it with 1012 (service
// restart) and waits, until ctx ends; then it cuts the connections.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
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

// writeError answers with an XRPC error body.
func writeError(w http.ResponseWriter, status int, name, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": message}) // the client left
}
