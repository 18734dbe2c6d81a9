package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/internal/verify"
)

// host is one upstream: a goroutine that connects and reads for ever, and the queues
// of accounts whose events wait.
type host struct {
	m        *Manager
	addr     address
	log      *slog.Logger
	label    string // in metrics
	received prometheus.Counter

	authority  *recent // refreshes forced by T13
	rekeys     *recent // by T26
	identities *recent // by an #identity
	statuses   *statusCache
	warned     atomic.Int64 // Unix s of the last rejection logged as a warning

	queues    queues
	lastEvent atomic.Int64 // Unix ns

	mu        sync.Mutex
	win       *window // of the present epoch
	connected bool
	lastErr   error
}

func newHost(m *Manager, addr address, from Position) *host {
	h := &host{
		m:          m,
		addr:       addr,
		log:        m.log.With("host", addr.name),
		label:      m.metrics.label(addr.name),
		authority:  newRecent(m.opts.Bounds.RefreshEvery, 1),
		rekeys:     newRecent(m.opts.Bounds.RefreshEvery, 1),
		identities: newRecent(m.opts.Bounds.RefreshEvery, identityBurst),
		statuses:   newStatusCache(m.opts.Bounds.StatusEvery),
		win:        newWindow(from.Epoch, from.Floor),
	}
	h.received = m.metrics.received.WithLabelValues(h.label)
	h.queues.init(h)
	return h
}

// run connects and reads until reading stops.
func (h *host) run() {
	ctx := h.m.reading
	d := &h.m.opts.Dial
	wait := backoff{base: d.BackoffBase, cap: d.BackoffCap, jitter: d.Jitter}
	if h.addr.trusted {
		wait.cap = d.TrustedBackoffCap
	}
	for ctx.Err() == nil {
		began := time.Now()
		connected, err := h.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected && time.Since(began) >= d.HealthyAfter {
			wait.reset()
		}
		pause := wait.next()
		if errors.Is(err, errRelay) {
			pause = wait.cap
		}
		h.log.Info("upstream connection ended", "err", err, "retry_in", pause.Round(time.Millisecond))
		if !sleep(ctx, pause) {
			return
		}
	}
}

// session connects once and reads until the connection ends.
func (h *host) session(ctx context.Context) (connected bool, err error) {
	win := h.window()
	cursor := win.cursor()
	up, err := h.m.dial.connect(ctx, &h.addr, cursor)
	if err != nil {
		h.m.metrics.dials.WithLabelValues("failed").Inc()
		h.setConn(false, err)
		return false, err
	}
	h.m.metrics.dials.WithLabelValues("ok").Inc()
	h.m.metrics.connections.Inc()
	h.setConn(true, nil)
	h.log.Info("upstream connected", "cursor", cursor, "epoch", win.epoch)
	unhook := context.AfterFunc(ctx, func() { up.close(ErrStopped) })
	defer unhook()

	err = up.finish(h.read(ctx, up, win, cursor))
	h.m.metrics.connections.Dec()
	h.setConn(false, err)
	if reason := closeReason(err); reason != "" {
		h.m.metrics.closed.WithLabelValues(reason).Inc()
	}
	return true, err
}

// closeReason is the metric label of a close of our own making.
func closeReason(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{errText, "text_message"}, {errOversized, "oversized"}, {errEndless, "endless_message"},
		{errSilent, "silent"}, {errSlow, "slow_message"}, {errBadSeq, "bad_seq"}, {errBackwards, "seq_not_increasing"},
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
	h.log.Warn("the host restarted its numbering; reading it from the start", "epoch", h.win.epoch, "cursor", old.cursor())
}

func (h *host) setConn(connected bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connected, h.lastErr = connected, err
}

func (h *host) info() HostInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := HostInfo{
		Name:      h.addr.name,
		Trusted:   h.addr.trusted,
		Connected: h.connected,
		Epoch:     h.win.epoch,
		Cursor:    h.win.floor(),
	}
	if ns := h.lastEvent.Load(); ns > 0 {
		info.LastEvent = time.Unix(0, ns)
	}
	if h.lastErr != nil {
		info.LastError = h.lastErr.Error()
	}
	return info
}

// warnEvery bounds how often a host's rejections are logged above debug.
const warnEvery = 60 // seconds

// reject counts an event that is not accepted, and logs a sample.
func (h *host) reject(m *message, rej *verify.Rejection) {
	h.m.metrics.rejected.WithLabelValues(h.label, rej.Reason, actions[rej.Action]).Inc()
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
