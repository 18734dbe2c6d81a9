package ingest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Log is where accepted events go. Append copies the entry, waits while the log is
// full, and returns once the event is sequenced; an error means that the event is not
// in the log and that no other will be.
type Log interface {
	Append(ctx context.Context, e *segmentlog.Entry) (uint64, error)
}

// Resolver says what DID documents say; see package identity for the contract.
type Resolver interface {
	Cached(did string) (id identity.Identity, ok bool, err error)
	Lookup(ctx context.Context, did string) (identity.Identity, error)
	Refresh(ctx context.Context, did string) (identity.Identity, error)
	Announced(ctx context.Context, did string) (id identity.Identity, changed bool, err error)
	PastKeys(ctx context.Context, did string, at time.Time) ([]*signing.Key, error)
}

// Pacer holds reading back while what comes after the log is too far behind.
type Pacer interface {
	Behind() bool
	Wait(ctx context.Context) // until Behind is false or ctx ends
}

// Options of a Manager. Log, Resolver and Accounts must be set.
type Options struct {
	Log      Log
	Resolver Resolver
	Accounts *accounts.Table
	// Positions are those of the hosts that the log has events of.
	Positions []Position
	// AccountCounts says how many accounts the hosts of the log have.
	AccountCounts map[string]int64
	// AccountLimit says how many accounts a host may have, 0 for any number. nil: no
	// host has a limit. Trusted hosts have none.
	AccountLimit func(host string) int64
	// Pace, when set, may hold reading back.
	Pace Pacer
	// Rates say how many events a host may send. nil: any number. It is asked when a host
	// is added and by NewRates.
	Rates func(host string) Rates
	// Observer, when set, is told how hosts fare.
	Observer Observer
	// Ledger, when set, counts what hosts send.
	Ledger *ledger.Ledger

	// Unlogged, when set, keeps what we decide about an account, and the status that it
	// has then, where the log has no numbers for events of our own.
	Unlogged func(did string, c *accounts.Change, effective accounts.Status) error

	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Logger     *slog.Logger
	Now        func() time.Time
	UserAgent  string
	Lenient    bool // --verify=lenient: rows marked (L) pass with a flag

	Dial   DialOptions
	Bounds Bounds
}

// DialOptions say how hosts are reached.
type DialOptions struct {
	HandshakeTimeout  time.Duration // TCP, TLS and upgrade together; default 15 s
	BackoffBase       time.Duration // default 1 s, doubled at each failure
	BackoffCap        time.Duration // default 1 h
	TrustedBackoffCap time.Duration // for hosts of the operator's own word; default 30 s
	HealthyAfter      time.Duration // a connection this old resets the backoff; default 1 min
	PingAfter         time.Duration // silence before a ping; default 30 s
	SilentFor         time.Duration // silence after which a connection is given up; default 90 s
	AtOnce            int           // dials under way; default 64
	PerSecond         int           // dials begun in a second; default 100

	// Resolver resolves names for the default dialers; nil is Go's own. TLS is how hosts
	// prove who they are; nil is the system's way.
	Resolver *net.Resolver
	TLS      *tls.Config
	// DialTrusted and DialPublic replace the dialers, for tests. The default of
	// DialPublic reaches public addresses only.
	DialTrusted func(ctx context.Context, network, addr string) (net.Conn, error)
	DialPublic  func(ctx context.Context, network, addr string) (net.Conn, error)
	// Jitter picks a wait in [0, d]; default uniform.
	Jitter func(d time.Duration) time.Duration
}

// Bounds of memory and patience.
type Bounds struct {
	WindowEvents int           // undecided events a host; default 4096
	WaitingBytes int64         // bytes of undecided events of all hosts together, shared fairly; default 32 MiB
	ReadingBytes int64         // bytes of large frames on their way in, likewise; default 16 MiB
	HoldFor      time.Duration // how long an event waits for a resolver; default 10 min
	RelayHoldFor time.Duration // how long a relay's event, and all behind it, wait for a resolver; default 30 s
	MergeFor     time.Duration // how long a relay's event waits for what another relay may bring before it; default 3 s
	HoldRetry    time.Duration // first wait between attempts, doubled up to HoldRetryCap; default 1 s
	HoldRetryCap time.Duration // default 30 s
	RefreshEvery time.Duration // forced refreshes of one DID for one host; default 60 s
	StatusEvery  time.Duration // getRepoStatus for one DID; default 5 min
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.UserAgent == "" {
		o.UserAgent = "cistern"
	}
	o.Dial.ensureDefaults()
	o.Bounds.ensureDefaults()
}

func (b *Bounds) ensureDefaults() {
	orInt(&b.WindowEvents, 4096)
	orInt(&b.WaitingBytes, 32<<20)
	orInt(&b.ReadingBytes, 16<<20)
	orInt(&b.HoldFor, 10*time.Minute)
	orInt(&b.RelayHoldFor, 30*time.Second)
	orInt(&b.MergeFor, 3*time.Second)
	orInt(&b.HoldRetry, time.Second)
	orInt(&b.HoldRetryCap, 30*time.Second)
	orInt(&b.RefreshEvery, time.Minute)
	orInt(&b.StatusEvery, 5*time.Minute)
}

// orInt sets v to d when it is zero.
func orInt[T ~int | ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
