package ingest

import (
	"context"
	"fmt"
)

// AddHost reads a host from now on, for ever. rawURL is a base URL or a bare
// hostname (https). A trusted host is one of the operator's own word: http, ports and
// private addresses are allowed for it, and so are other relays. Adding a host that is
// being read changes nothing.
func (m *Manager) AddHost(rawURL string, trusted bool) error {
	return m.add(rawURL, trusted, func(addr address) *host { return newHost(m, addr, m.from[addr.name]) })
}

// add reads a host, which made makes when it was never added, from now on.
func (m *Manager) add(rawURL string, trusted bool, made func(address) *host) error {
	addr, err := parseHost(rawURL, trusted)
	if err != nil {
		return fmt.Errorf("host %q: %w", rawURL, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	h := m.hosts[addr.name]
	if h == nil {
		h = made(addr)
	}
	m.begin(h, nil, 0)
	return nil
}

// TryHost dials a host and, if it answers as one that may be read, reads it from then
// on as AddHost does. Else it returns why not, and nothing is kept. For a host that is
// being read it does nothing.
func (m *Manager) TryHost(ctx context.Context, rawURL string, trusted bool) error {
	addr, err := parseHost(rawURL, trusted)
	if err != nil {
		return fmt.Errorf("host %q: %w", rawURL, err)
	}
	h, ended, err := m.candidate(addr)
	if h == nil {
		return err
	}
	defer m.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.reading, cancel)()
	select {
	case <-ended: // of an earlier run
	case <-ctx.Done():
		return ctx.Err()
	}
	up, cursor, err := h.connect(ctx, dialAsked)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	other := m.hosts[addr.name]
	if m.stopped || h.running || other != nil && other != h { // somebody was faster
		_ = up.finish(ErrStopped)
	}
	if m.stopped {
		return ErrStopped
	}
	if other == nil || other == h {
		m.begin(h, up, cursor)
	}
	return nil
}

// candidate returns a host that is not being read, nil when it is or nothing is any
// more, and what is closed when its last run has ended. With a host, wg has one more.
func (m *Manager) candidate(addr address) (h *host, last chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, nil, ErrStopped
	}
	h = m.hosts[addr.name]
	switch {
	case h == nil:
		h = newHost(m, addr, m.from[addr.name])
	case h.running:
		return nil, nil, nil
	}
	m.wg.Add(1)
	return h, h.done, nil
}

// begin runs a host unless it is running. The Manager is locked.
func (m *Manager) begin(h *host, up *upstream, cursor uint64) {
	if h.running {
		return
	}
	m.hosts[h.addr.name] = h
	ctx, drop := context.WithCancelCause(m.reading)
	last, done := h.done, make(chan struct{})
	h.running, h.drop, h.done = true, drop, done
	m.wg.Go(func() {
		defer close(done)
		defer drop(nil)
		<-last
		h.run(ctx, up, cursor)
	})
}

// DropHost ends the reading of a host for the reason given, at once, and says whether
// it was being read. What it sent before and waits for an identity is still decided;
// if the host is added again it is read on from there.
func (m *Manager) DropHost(name string, cause error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[name]
	if h == nil || !h.running {
		return false
	}
	h.running = false
	h.drop(cause)
	return true
}

// WakeHost resets a host's backoff, so that it is dialled soon, and says whether it is
// being read.
func (m *Manager) WakeHost(name string) bool {
	h := m.reads(name)
	if h == nil {
		return false
	}
	select {
	case h.wake <- struct{}{}:
	default: // it has been called already
	}
	return true
}

// KickHost ends the connection to a host, which is made again in time, and says
// whether there was one.
func (m *Manager) KickHost(name string, cause error) bool {
	h := m.reads(name)
	return h != nil && h.kick(cause)
}

// reads returns a host that is being read, or nil.
func (m *Manager) reads(name string) *host {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.hosts[name]; h != nil && h.running {
		return h
	}
	return nil
}

// causeOf says why a run's context ended.
func (m *Manager) causeOf(run context.Context) error {
	if m.reading.Err() != nil {
		return ErrStopped
	}
	return context.Cause(run)
}
