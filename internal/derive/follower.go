package derive

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Options of a Follower. Log and Index must be set.
type Options struct {
	Log        *segmentlog.Log
	Index      *index.Index
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
	Logger     *slog.Logger

	// Every is how long durable records wait to be applied, so that a batch has many:
	// 250 ms.
	Every time.Duration
	// MaxBehind is how many records the index may be behind the log before Behind says
	// so: 100,000. What is behind is in memory, in package accounts.
	MaxBehind uint64
	// Synced is told of every #sync that is applied and was witnessed lately: nil for not.
	Synced func(did string)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Synced == nil {
		o.Synced = func(string) {}
	}
	if o.Every == 0 {
		o.Every = 250 * time.Millisecond
	}
	if o.MaxBehind == 0 {
		o.MaxBehind = 100_000
	}
}

// Follower applies the log to the index. Its methods may be called from any
// goroutine.
type Follower struct {
	opts    Options
	metrics *metrics
	wake    chan struct{} // something is durable

	// Run's own.
	writer      writer
	writeFailed bool // the index did not take a batch
	synced      []synced

	mu       sync.Mutex
	progress chan struct{} // closed when the watermark moves or Run ends
	ended    bool
}

// New returns a Follower of a log; Run it.
func New(o Options) *Follower {
	o.EnsureDefaults()
	f := &Follower{opts: o, metrics: newMetrics(o.Registerer), wake: make(chan struct{}, 1), progress: make(chan struct{})}
	f.metrics.applied.Set(float64(o.Index.Applied()))
	return f
}

// Notify says that records became durable.
func (f *Follower) Notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Behind says whether the index is too far behind the log for more to come in.
func (f *Follower) Behind() bool {
	return f.opts.Log.Tip() > f.opts.Index.Applied()+f.opts.MaxBehind
}

// Wait waits until Behind is false, Run has ended or ctx ends.
func (f *Follower) Wait(ctx context.Context) {
	f.metrics.waits.Inc()
	f.until(ctx, func() bool { return !f.Behind() })
}

// CaughtUp waits until the record seq is applied, and says whether it is: not when
// Run or ctx ends before.
func (f *Follower) CaughtUp(ctx context.Context, seq uint64) bool {
	done := func() bool { return f.opts.Index.Applied() >= seq }
	f.until(ctx, done)
	return done()
}

func (f *Follower) until(ctx context.Context, done func() bool) {
	for {
		f.mu.Lock()
		progress, ended := f.progress, f.ended
		f.mu.Unlock()
		if ended || done() {
			return
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return
		}
	}
}

// moved tells those who wait.
func (f *Follower) moved(ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = f.ended || ended
	close(f.progress)
	f.progress = make(chan struct{})
}

// retryAfter is how long Run waits when the index takes nothing for the moment.
const retryAfter = time.Second

// Run follows the log until ctx ends, which is no error, or until the log cannot be
// read or the index can no longer be used.
func (f *Follower) Run(ctx context.Context) error {
	defer f.moved(true)
	for warned := false; ; {
		err := f.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !f.writeFailed {
			return err
		}
		select {
		case <-f.opts.Index.Failed():
			return err
		default:
		}
		if !warned {
			warned = true
			f.opts.Logger.Warn("the index takes nothing for the moment; that is tried again", "err", err, "applied", f.opts.Index.Applied())
		}
		if !sleep(ctx, retryAfter) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// run follows the log from the watermark until something fails.
func (f *Follower) run(ctx context.Context) error {
	last, found, err := f.opts.Index.LastSecond()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	f.writer, f.writeFailed = writer{index: f.opts.Index, lastSecond: last, anySecond: found}, false
	defer f.writer.close()
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	reader := f.opts.Log.NewReader(f.opts.Index.Applied())
	defer reader.Close()
	for {
		if err := f.applyFrom(ctx, reader); err != nil {
			return err
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !sleep(ctx, f.opts.Every) {
			return ctx.Err()
		}
	}
}
