package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/verify"
)

const (
	// maxOversized frames in a row end a connection (T2).
	maxOversized = 10
	// maxBackwards is how many seqs of a connection may fail to increase (T8).
	maxBackwards = 10
)

// reader is the state of one connection.
type reader struct {
	h      *host
	conn   *ledger.Connection
	up     *upstream
	win    *window
	cursor uint64 // that the connection began with
	prev   uint64 // highest seq on this connection

	overlap              *overlap // nil but for a relay whose numbers are kept
	oversized, backwards int
}

// read takes frames until the connection ends or must end.
func (h *host) read(ctx context.Context, up *upstream, win *window, cursor uint64) error {
	r := &reader{h: h, conn: h.ledger.Connected(win.cursor()), up: up, win: win, cursor: cursor, overlap: up.overlap}
	if r.overlap != nil {
		r.overlap.conn = r.conn
	}
	for ctx.Err() == nil {
		h.pace(ctx, up)
		if err := up.next(); err != nil {
			return err
		}
		m := getMessage() // not sooner: thousands of hosts wait for their next message
		fits, err := up.read(ctx, m)
		if err != nil {
			m.release()
			return err
		}
		h.frames.Add(1)
		h.ledger.Received(len(m.buf))
		h.m.metrics.bytes.Add(float64(len(m.buf)))
		if !fits {
			err := r.tooLarge(m)
			m.release()
			if err != nil {
				return err
			}
			continue
		}
		r.oversized = 0
		kept, err := r.take(ctx, m)
		if !kept {
			m.release()
		}
		if err != nil {
			return err
		}
	}
	return ErrStopped
}

// pace waits while nothing more should be read. That is nobody's silence.
func (h *host) pace(ctx context.Context, up *upstream) {
	h.slowDown(ctx, up)
	p := h.m.opts.Pace
	if p == nil || !p.Behind() {
		return
	}
	up.paused.Store(true)
	defer up.paused.Store(false)
	p.Wait(ctx)
}

// tooLarge counts a frame that was read away. T2, sync page.
func (r *reader) tooLarge(m *message) error {
	r.h.reject(m, &verify.Rejection{Row: 2, Action: verify.Drop, Reason: "frame_too_large"})
	if r.oversized++; r.oversized >= maxOversized {
		return errOversized
	}
	return nil
}

// take deals with one frame. kept says that a queue has the message now; an error
// ends the connection.
func (r *reader) take(ctx context.Context, m *message) (kept bool, err error) {
	ev := &m.ev
	if err := frame.ParseInto(m.buf, ev); err != nil {
		ev.Reset() // it may hold a part of what was read
		return false, r.unreadable(m, err)
	}
	switch ev.Kind {
	case frame.Unknown: // T3
		r.h.reject(m, &verify.Rejection{Row: 3, Action: verify.Ignore, Reason: "unknown_message"})
		return false, nil
	case frame.ErrorFrame:
		return false, r.errorFrame(ev)
	case frame.Info:
		r.info(ev)
		return false, nil
	}
	if fresh, err := r.inOrder(m); !fresh || err != nil {
		return false, err
	}
	if y := r.h.relay; y != nil {
		return y.enter(ctx, r, m)
	}
	return r.h.admit(ctx, r, m)
}

// unreadable counts a frame that the parser refused (rows T6 to T8).
func (r *reader) unreadable(m *message, err error) error {
	rej := &verify.Rejection{Row: 6, Action: verify.Drop, Reason: "undecodable", Err: err}
	var fe *frame.Error
	if errors.As(err, &fe) {
		rej.Row, rej.Reason, rej.Err = fe.Row, fe.Reason, fe.Err
		switch {
		case fe.Ignore:
			rej.Action = verify.Ignore
		case fe.Close:
			rej.Action = verify.Close
		}
	}
	r.h.reject(m, rej)
	if rej.Action == verify.Close {
		return fmt.Errorf("%w: %w", errBadSeq, err)
	}
	return nil
}

// errorFrame ends the connection as an error frame asks. T4, event-stream: a host
// that finds our cursor in its future has restarted its numbering; that is believed
// only of a cursor we did send.
func (r *reader) errorFrame(ev *frame.Event) error {
	r.h.ledger.Failed()
	if ev.Name == "FutureCursor" && r.cursor > 0 && r.prev == 0 {
		if o := r.overlap; o != nil {
			return o.future()
		}
		r.h.newEpoch(r.win)
	}
	return fmt.Errorf("host ended the stream with error %.100q: %.200q", ev.Name, ev.Message)
}

// info notes what a host says about the stream. T5, lexicon.
func (r *reader) info(ev *frame.Event) {
	r.conn.Info(ev.Name)
	if ev.Name != "OutdatedCursor" {
		r.h.log.Info("the host sent an #info", "name", clip(ev.Name), "message", clip(ev.Message))
		return
	}
	r.h.m.metrics.gaps.Inc()
	r.overlap.forgets()
	r.h.log.Warn("the host no longer has all that came after our cursor", "cursor", r.cursor, "message", clip(ev.Message))
}

func clip(s string) string { return s[:min(len(s), 200)] }

// inOrder says whether the event's seq is above all before it. T8, event-stream. A
// host that sends again what an earlier connection brought is not out of order, but
// that was decided or waits.
func (r *reader) inOrder(m *message) (fresh bool, err error) {
	ev := &m.ev
	if ev.Seq <= r.prev {
		r.h.reject(m, &verify.Rejection{Row: 8, Action: verify.Ignore, Reason: "seq_not_increasing"})
		if r.backwards++; r.backwards >= maxBackwards {
			return false, errBackwards
		}
		return false, nil
	}
	if ev.Seq > r.win.cursor() {
		if taken, err := r.overlap.fresh(m); !taken {
			return false, err
		}
	}
	r.prev = ev.Seq
	if ev.Seq <= r.win.cursor() {
		if err := r.overlap.again(ev); err != nil {
			return false, err
		}
		r.h.reject(m, &verify.Rejection{Row: 9, Action: verify.Ignore, Reason: "duplicate"})
		return false, nil
	}
	r.h.heard(ev)
	r.conn.Fresh(ev.Seq, ev.Time)
	return true, nil
}
