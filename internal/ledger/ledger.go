package ledger

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// maxHosts bounds the hosts that are counted by name; who comes later is counted as
// Other. It is more than the network has.
const maxHosts = 1 << 16

// Options configures a Ledger. The zero value keeps everything in memory, and loses it.
type Options struct {
	Dir string // of the store, "" for none
	FS  vfs.FS // default: the machine's

	Retention  time.Duration // how long hours are kept; default 90 days, below 0 for ever
	FlushEvery time.Duration // default 1 min: what a kill may lose
	// WaitingBytes bounds the rows of past hours that wait in memory while the store
	// cannot be written; default 32 MiB.
	WaitingBytes int64
	// QuarantineBytes bounds the dropped frames that are kept; default 32 MiB, below 0
	// keeps none.
	QuarantineBytes int64

	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Logger     *slog.Logger          // default: discard
	Now        func() time.Time      // default: time.Now
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Retention == 0 {
		o.Retention = 90 * 24 * time.Hour
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = time.Minute
	}
	if o.WaitingBytes == 0 {
		o.WaitingBytes = 32 << 20
	}
	if o.QuarantineBytes == 0 {
		o.QuarantineBytes = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	opts       Options
	reasons    *reasons
	quarantine *Quarantine
	metrics    *metrics

	// The clock of the hooks, which moves once a second: reading the machine's would
	// cost more than counting.
	clock atomic.Int64 // Unix s
	hour  atomic.Int64 // hours since 1970

	mu    sync.Mutex
	hosts map[string]*Host

	flushing        sync.Mutex // held by the one who flushes
	flushed, ranked time.Time  // when that was begun last
	// moving is held to write while rows move from memory to the store, and to read by
	// whoever needs to see both.
	moving  sync.RWMutex
	waiting waiting // rows of past hours, to be stored
	keeper  keeper

	stop     context.CancelFunc
	done     chan struct{}
	closing  sync.Once
	closeErr error
}

// Open returns a ledger that goes on with what Options.Dir has. It does not fail:
// where the store cannot be opened the ledger counts in memory, says so in the log,
// and tries again.
func Open(opts Options) *Ledger {
	opts.EnsureDefaults()
	ctx, stop := context.WithCancel(context.Background())
	l := &Ledger{
		opts: opts, reasons: newReasons(), hosts: make(map[string]*Host), stop: stop, done: make(chan struct{}),
	}
	l.metrics = newMetrics(l)
	l.quarantine = newQuarantine(opts.QuarantineBytes, l.metrics)
	l.waiting.init(opts.WaitingBytes)
	l.keeper.init(&l.opts)
	l.flushed = l.setClock()
	l.ranked = l.flushed
	go l.run(ctx)
	return l
}

// Host returns the account of a host, the same one for the same name.
func (l *Ledger) Host(name string) *Host {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.hosts[name]; h != nil {
		return h
	}
	if len(l.hosts) >= maxHosts || name == "" || len(name) > maxHost {
		name = Other
		if h := l.hosts[name]; h != nil {
			return h
		}
	}
	h := &Host{l: l, name: name}
	l.hosts[name] = h
	return h
}

// Quarantine has the newest dropped frames.
func (l *Ledger) Quarantine() *Quarantine { return l.quarantine }

// all returns the hosts, in no order.
func (l *Ledger) all() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := make([]*Host, 0, len(l.hosts))
	for _, h := range l.hosts {
		hosts = append(hosts, h)
	}
	return hosts
}

// run moves the clock and stores what was counted, until Close.
func (l *Ledger) run(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.tick(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// tick is what is due each second.
func (l *Ledger) tick(ctx context.Context) {
	now := l.setClock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if since := now.Sub(l.ranked); since < 0 || since >= rankEvery {
		l.metrics.choose(l.all(), since)
		l.ranked = now
	}
	if since := now.Sub(l.flushed); since < 0 || since >= l.opts.FlushEvery {
		l.flushed = now
		l.flush(ctx)
	}
}

func (l *Ledger) setClock() time.Time {
	now := l.opts.Now()
	l.clock.Store(now.Unix())
	l.hour.Store(hourOf(now))
	return now
}

// Close stores what was counted, within seconds, and ends the ledger's work. Hooks may
// still be called; what they count is lost.
func (l *Ledger) Close() error {
	l.closing.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Ledger) close() error {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	l.setClock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.flush(ctx)
	l.moving.Lock()
	defer l.moving.Unlock()
	return l.keeper.close()
}
