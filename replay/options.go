package replay

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configures a Server. Source must be set.
type Options struct {
	Source Source
	// Suppressed is the accounts whose #commit and #sync are not sent: none.
	Suppressed *Suppressed
	// Ready is closed once Suppressed is complete; until then consumers wait. nil: it is.
	Ready <-chan struct{}

	// Logger: slog.Default().
	Logger *slog.Logger
	// Registerer takes the metrics: none.
	Registerer prometheus.Registerer
	// ServerHeader is sent as `Server` with every upgrade.
	ServerHeader string
	// ClientAddr says who asks: the peer of the connection.
	ClientAddr func(*http.Request) netip.Addr

	// MaxConsumers is how many may be connected at once: 2,000. Each may pin 256 KiB
	// while it takes nothing.
	MaxConsumers int
	// MaxPerAddress is how many may be from one address, or one IPv6 network of 64 bits:
	// any number. This machine's own do not count.
	MaxPerAddress int
	// RateLimit is how many bytes a second each consumer gets from files, not from memory: any
	// number.
	RateLimit int64

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
	if o.ClientAddr == nil {
		o.ClientAddr = peer
	}
	if o.MaxConsumers == 0 {
		o.MaxConsumers = 2000
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

// peer is the address at the other end of the connection.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
