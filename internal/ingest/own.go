package ingest

import (
	"context"
	"fmt"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// appendOwn puts an #account of our own into the log and applies it. served is the
// status that consumers see. In a log of borrowed numbers there is no room for an event
// of our own: what changes is kept without.
func (m *Manager) appendOwn(held *accounts.Held, v segmentlog.Verdict, served accounts.Status) outcome {
	did := held.DID()
	if m.opts.Unlogged != nil {
		c := accounts.Change{Verdict: v}
		c.SetStatus(served)
		held.Apply(&c)
		if err := m.opts.Unlogged(did, &c, held.Account().Effective()); err != nil {
			m.fail(err)
			return outcome{undecided: true}
		}
		return outcome{}
	}
	ev := frame.NewAccount(did, m.opts.Now(), !served.Inactive, served.Reason)
	entry := segmentlog.Entry{DID: did, Verdict: v, Head: ev.Head, Tail: ev.Tail}
	at, ok := m.append(&entry)
	if !ok {
		return outcome{undecided: true}
	}
	c := accounts.Change{At: at, Verdict: v}
	c.SetStatus(served)
	held.Apply(&c)
	m.metrics.local.Inc()
	return outcome{}
}

// release lifts the status that we set: what the host said last is served again.
func (m *Manager) release(held *accounts.Held) outcome {
	upstream := held.Account().Upstream
	return m.appendOwn(held, segmentlog.Local.WithHostStatus(!upstream.Inactive, upstream.Reason), upstream)
}

// SetLocal makes our status of an account the one given, by an #account event of our
// own, unless it is that already. It returns once the event is sequenced.
func (m *Manager) SetLocal(ctx context.Context, did string, s accounts.Status) error {
	return m.decideLocal(ctx, did, func(held *accounts.Held) outcome {
		if held.Account().Local == s {
			return outcome{}
		}
		return m.appendOwn(held, segmentlog.Local, s)
	})
}

// Lift takes back our status of an account, if it is the one given, by an #account
// event of our own that says what the account's host said last.
func (m *Manager) Lift(ctx context.Context, did string, s accounts.Status) error {
	return m.decideLocal(ctx, did, func(held *accounts.Held) outcome {
		if held.Account().Local != s {
			return outcome{}
		}
		return m.release(held)
	})
}

func (m *Manager) decideLocal(ctx context.Context, did string, decide func(*accounts.Held) outcome) error {
	if err := frame.ValidDID(did); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	held, err := m.accounts.Acquire(did)
	if err != nil {
		m.fail(err)
		return fmt.Errorf("status of %s: %w", did, err)
	}
	defer held.Release()
	if decide(&held).undecided {
		return fmt.Errorf("status of %s: the log takes no events: %w", did, ErrStopped)
	}
	return nil
}
