package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/verify"
)

// host is one upstream: a goroutine that connects and reads for ever, and the queues
// of accounts whose events wait.
type host struct {
	m      *Manager
	addr   address
	log    *slog.Logger
	ledger *ledger.Host

	authority  *recent // refreshes forced by T13
	rekeys     *recent // by T26
	identities *recent // by an #identity
	statuses   *statusCache
	asking     chan struct{} // holds one for each question about a status on its way
	warned     atomic.Int64  // Unix s of the last rejection logged as a warning

	queues queues
	relay  *relayed // nil for a host that is no relay
	// What the host has of the memory for intake.
	large, waiting, held share

	lastEvent atomic.Int64 // Unix ns
	frames    atomic.Uint64
	brake     *brake
	lag       lag

	wake chan struct{} // holds one call to dial soon

	// Of the present run; guarded by the Manager's lock. done is closed when the run has
	// ended, drop ends it with a reason.
	running bool
	drop    context.CancelCauseFunc
	done    chan struct{}

	mu      sync.Mutex
	win     *window   // of the present epoch
	up      *upstream // nil while not connected
	ever    bool      // has been connected
	tried   bool      // an attempt to connect has ended
	failing bool      // the last one failed
	lastErr error
}

func newHost(m *Manager, addr address, from Position) *host {
	h := &host{
		m:          m,
		addr:       addr,
		log:        m.log.With("host", addr.name),
		ledger:     m.opts.Ledger.Host(addr.name),
		authority:  newRecent(m.opts.Bounds.RefreshEvery, 1),
		rekeys:     newRecent(m.opts.Bounds.RefreshEvery, 1),
		identities: newRecent(m.opts.Bounds.RefreshEvery, identityBurst),
		statuses:   newStatusCache(m.opts.Bounds.StatusEvery),
		asking:     make(chan struct{}, statusPerHost),
		brake:      newBrake(m.rates(addr.name), time.Now()),
		wake:       make(chan struct{}, 1),
		done:       make(chan struct{}),
		win:        newWindow(from.Epoch, from.Floor),
		large:      share{b: &m.intake.reading},
		waiting:    share{b: &m.intake.waiting},
		held:       share{b: &m.intake.held},
	}
	close(h.done) // it has no earlier run
	h.queues.init(h)
	return h
}

// run connects and reads until ctx ends. first is a connection that is open already,
// after cursor, or nil.
func (h *host) run(ctx context.Context, first *upstream, cursor uint64) {
	wait := h.backoff()
	up := first
	defer func() {
		if up != nil { // ctx ended before it was read
			_ = up.finish(h.m.causeOf(ctx))
		}
	}()
	for ctx.Err() == nil {
		var err error
		if up == nil {
			up, cursor, err = h.connect(ctx, h.class())
		}
		if err == nil {
			began := time.Now()
			err = h.session(ctx, up, cursor)
			if time.Since(began) >= h.m.opts.Dial.HealthyAfter {
				wait.reset()
			}
			up = nil
		}
		if ctx.Err() != nil {
			return
		}
		pause := wait.next()
		level := slog.LevelInfo
		var numbering *NumberingError
		var skip *skipError
		switch {
		case errors.As(err, &skip): // there are few tries
			pause = skipPause
		case errors.Is(err, ErrRelay):
			pause = wait.cap
		case errors.As(err, &numbering):
			pause, level = wait.cap, slog.LevelError
		}
		h.log.Log(ctx, level, "upstream connection ended", "err", err, "retry_in", pause.Round(time.Millisecond))
		if !h.pause(ctx, pause, &wait) {
			return
		}
	}
}

func (h *host) backoff() backoff {
	d := &h.m.opts.Dial
	b := backoff{base: d.BackoffBase, cap: d.BackoffCap, jitter: d.Jitter}
	if h.addr.trusted {
		b.cap = d.TrustedBackoffCap
	}
	return b
}

// skipPause is how long a relay is left alone before it is asked from further back.
const skipPause = 100 * time.Millisecond

// wakeAfter is how long after an attempt a host that is woken is dialled again at the
// earliest, so that nobody can make us dial somebody as often as he likes.
const wakeAfter = 5 * time.Second

// pause waits for d, or less when the host is woken, and says whether ctx is still
// alive.
func (h *host) pause(ctx context.Context, d time.Duration, wait *backoff) bool {
	began := time.Now()
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-h.wake:
			wait.reset()
			waited := time.Since(began)
			t.Reset(max(0, min(d-waited, wakeAfter-waited)))
		case <-ctx.Done():
			return false
		}
	}
}

// class says why the host is dialled by its own goroutine.
func (h *host) class() dialClass {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ever {
		return dialAgain
	}
	return dialFirst
}

// connect opens the host's stream behind all that came, which cursor says.
func (h *host) connect(ctx context.Context, c dialClass) (up *upstream, cursor uint64, err error) {
	if err := h.m.gate.enter(ctx, c); err != nil {
		return nil, 0, err
	}
	defer h.m.gate.leave()
	over, cursor, err := h.relay.begin(ctx, h.window())
	if err == nil {
		up, err = h.m.dial.connect(ctx, &h.addr, cursor)
	}
	if err != nil {
		h.m.metrics.dials.WithLabelValues("failed").Inc()
		h.disconnected(ctx, err, true)
		return nil, 0, err
	}
	up.large, up.overlap = &h.large, over
	h.m.metrics.dials.WithLabelValues("ok").Inc()
	return up, cursor, nil
}

// session reads a connection until it ends.
func (h *host) session(ctx context.Context, up *upstream, cursor uint64) error {
	win := h.window()
	h.m.metrics.connections.Inc()
	h.connected(up)
	h.log.Info("upstream connected", "cursor", cursor, "epoch", win.epoch)
	unhook := context.AfterFunc(ctx, func() { up.close(h.m.causeOf(ctx)) })
	defer unhook()

	err := up.overlap.opened(up.stream)
	if err == nil {
		err = h.read(ctx, up, win, cursor)
	}
	err = up.finish(err)
	h.m.metrics.connections.Dec()
	h.disconnected(ctx, err, false)
	h.ledger.Closed(closeReason(err))
	if reason := closeReason(err); reason != "" {
		h.m.metrics.closed.WithLabelValues(reason).Inc()
	}
	return err
}

// kick ends the connection, when there is one; it is made again in time.
func (h *host) kick(cause error) bool {
	h.mu.Lock()
	up := h.up
	h.mu.Unlock()
	if up == nil {
		return false
	}
	up.close(cause)
	return true
}

// closeReason is the metric label of a close of our own making.
func closeReason(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{errText, "text_message"}, {errOversized, "oversized"}, {errEndless, "endless_message"},
		{errSilent, "silent"}, {errSlow, "slow_message"}, {errBadSeq, "bad_seq"}, {errBackwards, "seq_not_increasing"},
		{errNoRoom, "no_memory"}, {errFragments, "tiny_fragments"}, {errControls, "control_frames"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ""
}

func (h *host) window() *window {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.win
}

// newEpoch begins the host's numbering anew (T4). Events of the old one that still
// wait keep their window.
func (h *host) newEpoch(old *window) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.win = newWindow(old.epoch+1, 0)
	h.m.metrics.epochs.Inc()
	if h.relay != nil {
		h.relay.behind.restart()
	}
	h.ledger.Restarted()
	h.log.Warn("the host restarted its numbering; reading it from the start", "epoch", h.win.epoch, "cursor", old.cursor())
}

// warnEvery bounds how often a host's rejections are logged above debug.
const warnEvery = 60 // seconds

// reject counts an event that is not accepted, and logs a sample.
func (h *host) reject(m *message, rej *verify.Rejection) {
	h.m.metrics.rejected.WithLabelValues(rej.Reason, actions[rej.Action]).Inc()
	h.ledger.Refused(outcomes[rej.Action], rej.Reason, ledger.Frame{DID: m.ev.DID, Seq: m.ev.Seq, Raw: m.buf})
	level := slog.LevelDebug
	if rej.Action != verify.Ignore {
		now := time.Now().Unix()
		if last := h.warned.Load(); now-last >= warnEvery && h.warned.CompareAndSwap(last, now) {
			level = slog.LevelWarn
		}
	}
	if !h.log.Enabled(context.Background(), level) {
		return
	}
	h.log.Log(context.Background(), level, "event not accepted", "did", strings.ToValidUTF8(m.ev.DID, "?"), "upstream_seq", m.ev.Seq,
		"action", actions[rej.Action], "row", rej.Row, "reason", rej.Reason, "err", rej.Err)
}
