package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cistern-archive/cistern/internal/accounts"
)

// Errors of a Manager.
var (
	// ErrStopped: the Manager was stopped; nothing more is read.
	ErrStopped = errors.New("ingest: stopped")
	// ErrRelay: a host says that it is a relay, which only an operator may name.
	ErrRelay = errors.New("is a relay, which only an operator may name")
)

// Manager reads hosts and appends what they may say. It is safe for concurrent use.
type Manager struct {
	opts     Options
	log      *slog.Logger
	accounts *accounts.Table
	counts   *hostCounts
	metrics  *metrics
	dial     dialer
	gate     *gate
	statuses *statusAsker
	intake   *intake

	// reading ends when Stop begins; appending when Stop gives up waiting for what is
	// queued, or the log fails.
	reading, appending context.Context
	stopReading        context.CancelFunc
	stopAppending      context.CancelCauseFunc
	failed             chan struct{}
	failOnce           sync.Once
	wg                 sync.WaitGroup

	verifiers sync.Pool // of *verify.Verifier, which are too large for one a host

	mu      sync.Mutex
	hosts   map[string]*host    // that were ever added, by name
	from    map[string]Position // where hosts that the log has are read on, by name
	stopped bool
	err     error
}

// New returns a Manager that reads nothing yet: add hosts, and end it with Stop.
// Options.Accounts and Options.Positions must have the whole log.
func New(opts Options) (*Manager, error) {
	if opts.Log == nil || opts.Resolver == nil || opts.Accounts == nil {
		return nil, errors.New("ingest: Log, Resolver and Accounts must be set")
	}
	opts.EnsureDefaults()
	m := &Manager{
		opts:     opts,
		log:      opts.Logger,
		accounts: opts.Accounts,
		counts:   newHostCounts(opts.AccountCounts),
		metrics:  newMetrics(opts.Registerer),
		failed:   make(chan struct{}),
		hosts:    make(map[string]*host),
		from:     make(map[string]Position, len(opts.Positions)),
	}
	for _, p := range opts.Positions {
		m.from[p.Host] = p
	}
	m.dial.opts, m.dial.userAgent = opts.Dial, opts.UserAgent
	m.gate = newGate(&m.opts.Dial)
	m.statuses = newStatusAsker(&m.opts)
	m.exposeStanding(opts.Registerer)
	m.intake = newIntake(&m.opts.Bounds)
	m.metrics.watchIntake(opts.Registerer, m.intake)
	m.reading, m.stopReading = context.WithCancel(context.Background())
	m.appending, m.stopAppending = context.WithCancelCause(context.Background())
	return m, nil
}

// Failed is closed when the log no longer takes events, or accounts can no longer be
// read; Err says why.
func (m *Manager) Failed() <-chan struct{} { return m.failed }

// Err is the error after Failed, else nil.
func (m *Manager) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// fail ends all work because nothing can be decided or logged any more.
func (m *Manager) fail(err error) {
	m.failOnce.Do(func() {
		m.mu.Lock()
		m.err = err
		m.mu.Unlock()
		m.log.Error("events can no longer be decided or logged; reading stops", "err", err)
		m.stopReading()
		m.stopAppending(err)
		close(m.failed)
	})
}

// Stop stops reading, decides what is queued and can be decided without asking
// anyone, and returns when every goroutine has ended. What is left undecided was not
// counted as done: the next start reads it again. When ctx ends first, waiting for
// the log ends too, and Stop returns ctx's error once all is still.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.stopReading()
	unhook := context.AfterFunc(ctx, func() { m.stopAppending(ErrStopped) })
	m.wg.Wait()
	late := !unhook()
	m.stopAppending(ErrStopped)
	m.statuses.close()
	if late {
		return fmt.Errorf("ingest stopped before all was decided: %w", context.Cause(ctx))
	}
	return nil
}
