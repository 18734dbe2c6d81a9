package ingest

import (
	"context"
	"time"
)

// HostInfo is how a host stands.
type HostInfo struct {
	Name      string // as the log writes it
	Trusted   bool
	Read      bool // false: it was dropped
	Connected bool
	Tried     bool // an attempt to connect has ended
	Failing   bool // the last attempt failed
	Epoch     uint64
	Cursor    uint64 // the floor: every upstream seq up to it is in the log or decided
	Frames    uint64 // received since the start
	Rates     Rates
	Throttled bool          // it sent more than its rates allow, lately
	Behind    time.Duration // how old what it sends is, when that is worth a word
	Accounts  int64         // that it was the last to speak for with authority
	LastEvent time.Time
	LastError string     // why the last connection ended or failed, "" while connected
	Relay     *RelayInfo // nil for a host that is no relay
}

// Observer is told how hosts fare, from their own goroutines: it must not wait.
type Observer interface {
	// HostConnected: a connection is open, and what the host sends is read.
	HostConnected(host string)
	// HostFailed: an attempt to connect failed, or a connection ended.
	HostFailed(host string, err error)
}

// Hosts lists the hosts that are being read, and those that were until they were
// dropped, in no order.
func (m *Manager) Hosts() []HostInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	infos := make([]HostInfo, 0, len(m.hosts))
	for _, h := range m.hosts {
		infos = append(infos, h.info())
	}
	return infos
}

// Host says how one host stands; false when it was never added.
func (m *Manager) Host(name string) (HostInfo, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[name]
	if h == nil {
		return HostInfo{}, false
	}
	return h.info(), true
}

// connected notes a connection.
func (h *host) connected(up *upstream) {
	h.mu.Lock()
	h.up, h.ever, h.tried, h.failing, h.lastErr = up, true, true, false, nil
	h.mu.Unlock()
	if o := h.m.opts.Observer; o != nil {
		o.HostConnected(h.addr.name)
	}
}

// disconnected notes that a connection ended, or that an attempt failed. What ends
// because we stop is not the host's failure.
func (h *host) disconnected(ctx context.Context, err error, attempt bool) {
	h.mu.Lock()
	h.up, h.tried, h.failing, h.lastErr = nil, true, attempt, err
	h.mu.Unlock()
	if o := h.m.opts.Observer; o != nil && ctx.Err() == nil {
		o.HostFailed(h.addr.name, err)
	}
}

// info is called with the Manager's lock.
func (h *host) info() HostInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := HostInfo{
		Name:      h.addr.name,
		Trusted:   h.addr.trusted,
		Read:      h.running,
		Connected: h.up != nil,
		Tried:     h.tried,
		Failing:   h.failing,
		Epoch:     h.win.epoch,
		Cursor:    h.win.floor(),
		Frames:    h.frames.Load(),
		Accounts:  h.m.counts.of(h.addr.name),
	}
	info.Rates, info.Throttled = h.brake.state(time.Now())
	info.Behind = h.lag.behind(h.m.opts.Now())
	if ns := h.lastEvent.Load(); ns > 0 {
		info.LastEvent = time.Unix(0, ns)
	}
	if h.relay != nil {
		info.Relay = h.relay.standing(h.up != nil, h.win)
	}
	if h.lastErr != nil {
		info.LastError = h.lastErr.Error()
	}
	return info
}
