package identity

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// DefaultPLC is the directory that everyone uses.
const DefaultPLC = "https://plc.directory"

// Options of a Resolver. The zero value is usable.
type Options struct {
	PLCHosts   []string // base URLs, asked in order; default DefaultPLC
	PLCRate    float64  // requests a second to each of them; 0 for no limit
	UserAgent  string
	CacheBytes int64         // budget of the cache in memory; default 256 MiB
	Concurrent int           // requests on their way to one directory; default 64
	Timeout    time.Duration // of one request; default 5 s
	Now        func() time.Time
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Logger     *slog.Logger

	// Dir is the store's own directory, "" for none: what it holds is only a cache, and
	// may be deleted while no Resolver has it.
	Dir string
	// StoreBytes is the store's budget, in bytes of keys and values; default 4 GiB. It
	// is looked after from time to time, so there may be more for a while.
	StoreBytes int64
	FS         vfs.FS // of the store; default the disk

	// WebDial and WebTLS replace how did:web is reached, for tests. The default reaches
	// public addresses only.
	WebDial func(ctx context.Context, network, addr string) (net.Conn, error)
	WebTLS  *tls.Config
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if len(o.PLCHosts) == 0 {
		o.PLCHosts = []string{DefaultPLC}
	}
	if o.UserAgent == "" {
		o.UserAgent = "cistern"
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.Concurrent == 0 {
		o.Concurrent = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.StoreBytes == 0 {
		o.StoreBytes = 4 << 30
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.WebDial == nil {
		o.WebDial = PublicDialer(o.Timeout).DialContext
	}
}
