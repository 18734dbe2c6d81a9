package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/derive"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	indexFolder = "index"
	// identityFolder is a cache of DID documents, in the data directory.
	identityFolder = "identity"
	// intakeRetry is how long to wait before a failed intake begins again, doubled up
	// to intakeRetryMax.
	intakeRetry    = time.Second
	intakeRetryMax = time.Minute
)

// intake is the reading of hosts and all derived state that it needs. It begins once
// the index has caught up with the log. When the index is lost it ends, and begins
// anew with an empty one, while the log and consumers go on.
type intake struct {
	log     *segmentlog.Log
	logger  *slog.Logger
	dir     string                              // of the index
	options func(*ingest.Options)               // fills in what does not come from the index
	reg     atomic.Pointer[prometheus.Registry] // of the present run
	current atomic.Pointer[running]
	// restore may fill an index that is not there; nil for not.
	restore func(ctx context.Context, dir string) error
	// survey looks at all accounts before hosts are read, and counts those of each host.
	survey func(ctx context.Context, x *index.Index) (map[string]int64, error)
	// prepare, when set, tells the index what the log does not say, before survey.
	prepare func(ctx context.Context, x *index.Index) error
	// unlogged keeps what is decided of accounts where the log has no number for it; nil
	// where it has.
	unlogged func(x *index.Index) func(did string, c *accounts.Change, effective accounts.Status) error
	// synced is told of accounts whose repo came as a whole.
	synced func(did string)
	// begin adds hosts; end is called before reading ends, and may be nil with an error.
	begin func(ctx context.Context, r *running, positions []ingest.Position) (end func(), err error)

	cancel context.CancelFunc
	done   chan struct{}
}

// running is an intake between its beginning and its end.
type running struct {
	index    *index.Index
	follower *derive.Follower
	accounts *accounts.Table
	manager  *ingest.Manager // nil until the index has caught up
}

func (in *intake) start() {
	ctx, cancel := context.WithCancel(context.Background())
	in.cancel, in.done = cancel, make(chan struct{})
	go func() {
		defer close(in.done)
		in.supervise(ctx)
	}()
}

// stop ends the intake: reading stops and what is verified goes into the log.
func (in *intake) stop() {
	if in.cancel != nil {
		in.cancel()
		<-in.done
	}
}

// supervise runs the intake again and again.
func (in *intake) supervise(ctx context.Context) {
	wait := intakeRetry
	for {
		began := time.Now()
		err := in.run(ctx)
		if ctx.Err() != nil || in.log.Err() != nil {
			return
		}
		if time.Since(began) > intakeRetryMax {
			wait = intakeRetry
		}
		in.logger.Error("hosts are not read for now; serving goes on", "err", err, "again_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, intakeRetryMax)
	}
}

// run opens the index, brings it up to the log, and reads hosts until ctx ends or
// something that it stands on fails.
func (in *intake) run(ctx context.Context) (err error) {
	stream, tip := in.log.Stream(), in.log.Tip()
	if in.restore != nil && tip > 0 {
		if err := in.restore(ctx, in.dir); err != nil {
			return fmt.Errorf("restore the index: %w", err)
		}
	}
	x, err := index.Open(index.Options{
		Dir: in.dir, Logger: in.logger, Stream: stream.ID, Tip: tip, Epochs: stream.Epochs,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	reg := prometheus.NewRegistry()
	in.reg.Store(reg)
	r := &running{index: x, accounts: accounts.NewTable(accounts.Options{Store: x})}
	r.follower = derive.New(derive.Options{Log: in.log, Index: x, Registerer: reg, Logger: in.logger, Synced: in.synced})
	in.current.Store(r)
	defer in.current.Store(nil)

	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	followed, stopFollowing := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { end(r.follower.Run(followed)) })
	defer following.Wait()
	defer stopFollowing()
	if !r.follower.CaughtUp(running, tip) {
		return context.Cause(running)
	}
	return in.read(running, r, reg)
}

// read reads hosts until ctx ends.
func (in *intake) read(ctx context.Context, r *running, reg *prometheus.Registry) error {
	hosts, err := r.index.Hosts()
	if err != nil {
		return err
	}
	opts := ingest.Options{Log: in.log, Accounts: r.accounts, Pace: r.follower, Registerer: reg, Logger: in.logger}
	for _, h := range hosts {
		opts.Positions = append(opts.Positions, ingest.Position{Host: h.Name, Epoch: h.Epoch, Floor: h.Cursor})
	}
	if in.prepare != nil {
		if err := in.prepare(ctx, r.index); err != nil {
			return err
		}
	}
	if in.unlogged != nil {
		opts.Unlogged = in.unlogged(r.index)
	}
	if opts.AccountCounts, err = in.survey(ctx, r.index); err != nil {
		return err
	}
	in.options(&opts)
	m, err := ingest.New(opts)
	if err != nil {
		return err
	}
	with := *r
	with.manager = m
	in.current.Store(&with)
	end, err := in.begin(ctx, &with, opts.Positions)
	if err == nil {
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-m.Failed():
			err = m.Err()
		case <-r.index.Failed():
			err = r.index.Err()
		case <-in.log.Failed():
		}
		end()
	}
	stopping, cancel := context.WithTimeout(context.Background(), stopIngest)
	defer cancel()
	if serr := m.Stop(stopping); serr != nil {
		in.logger.Warn("not everything that was read could be decided; it will be read again", "err", serr)
	}
	return err
}

// notify says that records are durable.
func (in *intake) notify() {
	if r := in.current.Load(); r != nil {
		r.follower.Notify()
	}
}

// manager is who reads hosts, nil while they are not read.
func (in *intake) manager() *ingest.Manager {
	if r := in.current.Load(); r != nil {
		return r.manager
	}
	return nil
}

// hosts lists those that are read, none while the intake is not running.
func (in *intake) hosts() []ingest.HostInfo {
	if m := in.manager(); m != nil {
		return m.Hosts()
	}
	return nil
}

// account returns what is known of an account.
func (in *intake) account(did string) (accounts.Account, bool, error) {
	r, err := in.reading()
	if err != nil {
		return accounts.Account{}, false, err
	}
	return r.accounts.Get(did)
}

// reading is the intake while hosts are read, whose index is up to the log.
func (in *intake) reading() (*running, error) {
	r := in.current.Load()
	if r == nil || r.manager == nil {
		return nil, errNotReading
	}
	return r, nil
}

// errNotReading says that hosts are not read yet, or not for the moment.
var errNotReading = fmt.Errorf("hosts are not read for the moment: %w", xrpc.ErrNotReady)

// Gather returns the metrics of the present run.
func (in *intake) Gather() ([]*dto.MetricFamily, error) {
	reg := in.reg.Load()
	if reg == nil {
		return nil, nil
	}
	families, err := reg.Gather()
	if err != nil {
		return nil, fmt.Errorf("metrics of the intake: %w", err)
	}
	return families, nil
}
