package ingest

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// position is where a host's reading goes on.
type position struct {
	epoch, floor uint64
}

// raise moves on by a record's epoch and floor.
func (p *position) raise(epoch, floor uint64) {
	if epoch > p.epoch {
		p.epoch, p.floor = epoch, floor
	} else if epoch == p.epoch {
		p.floor = max(p.floor, floor)
	}
}

// Restore applies a record of the log: the account's mark, state and statuses, the
// host's epoch and floor. Call it for every record in log order, before the first
// AddHost; it is not safe for concurrent use. An error means that the record's frame
// is not one that this log could have taken.
func (m *Manager) Restore(rec *segmentlog.Record) error {
	m.mu.Lock()
	started := len(m.hosts) > 0
	m.mu.Unlock()
	if started {
		return ErrStarted
	}
	c := accounts.Change{
		Host:    string(rec.Host),
		Epoch:   rec.HostEpoch,
		Seq:     rec.HostSeq,
		Verdict: rec.Verdict,
	}
	if c.Host != "" {
		p := m.restored[c.Host]
		if p == nil {
			p = new(position)
			m.restored[c.Host] = p
		}
		p.raise(rec.HostEpoch, rec.HostFloor)
	}
	// An erased frame says nothing any more; its mark and floor still do.
	if len(rec.Frame) > 0 && rec.Digest == nil {
		if err := m.restoreFrame(rec, &c); err != nil {
			return fmt.Errorf("restore seq %d: %w", rec.Seq, err)
		}
	}
	m.accounts.Apply(string(rec.DID), &c)
	return nil
}

func (m *Manager) restoreFrame(rec *segmentlog.Record, c *accounts.Change) error {
	ev := &m.restoring
	ev.Reset()
	if err := frame.ParseInto(rec.Frame, ev); err != nil {
		return err
	}
	switch ev.Kind {
	case frame.Commit, frame.Sync:
		state, err := verify.StateOf(ev)
		if err != nil {
			return err
		}
		c.Repo = state
	case frame.Account:
		if !rec.Verdict.Has(segmentlog.Rewritten) {
			s := accounts.StatusOf(ev.Active, ev.Status)
			c.Status = &s
		}
	case frame.Identity:
	default:
		return errors.New("not an event of an account")
	}
	return nil
}

// RestoredHost is a host that the log has events of.
type RestoredHost struct {
	Name   string
	Epoch  uint64
	Cursor uint64
}

// RestoredHosts lists the hosts of the log that Restore was given, in no order.
func (m *Manager) RestoredHosts() []RestoredHost {
	m.mu.Lock()
	defer m.mu.Unlock()
	hosts := make([]RestoredHost, 0, len(m.restored))
	for name, p := range m.restored {
		hosts = append(hosts, RestoredHost{Name: name, Epoch: p.epoch, Cursor: p.floor})
	}
	return hosts
}
