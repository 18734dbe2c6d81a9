package relay

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// standstill is how long events may wait for the log before that is a failure.
const standstill = time.Minute

// health is what the log reports that keeps it from taking events.
type health struct {
	full, jumped atomic.Bool
}

// follow has the log's reports noted too.
func (h *health) follow(e *segmentlog.Events) {
	full, back, jumped, right := e.NoSpace, e.SpaceBack, e.ClockJump, e.ClockBack
	e.NoSpace = func(err error) { h.full.Store(true); full(err) }
	e.SpaceBack = func() { h.full.Store(false); back() }
	e.ClockJump = func(d time.Duration) { h.jumped.Store(true); jumped(d) }
	e.ClockBack = func() { h.jumped.Store(false); right() }
}

// Healthy says why the relay does not do its work, nil when it does: the log takes no events,
// or what hosts sent does not get into it.
func (r *Relay) Healthy() error {
	switch err := r.events.Err(); {
	case err != nil:
		return err
	case r.health.full.Load():
		return errors.New("the disk is full: hosts are not read until there is space")
	case r.health.jumped.Load():
		return errors.New("the clock jumped: hosts are not read until it is right")
	case r.archive.disk != nil && r.archive.disk.Behind():
		return errors.New("the disk budget is used up: hosts are not read until something can be evicted")
	}
	if since := r.events.Waiting(); since > standstill {
		return fmt.Errorf("nothing became durable for %s, though events wait", since.Round(time.Second))
	}
	return nil
}

// Ready says why consumers do not get what they should yet, or hosts are not read; nil when
// all of it runs.
func (r *Relay) Ready() error {
	if err := r.Healthy(); err != nil {
		return err
	}
	select {
	case <-r.consumers.known:
	default:
		return errors.New("consumers wait: which accounts are active is not known before the index has caught up with the log")
	}
	if _, err := r.intake.derived(); err != nil {
		return err
	}
	for _, h := range r.Hosts() {
		if h.Relay != nil && h.Relay.Broken != "" {
			return errors.New(h.Relay.Broken)
		}
	}
	return nil
}
