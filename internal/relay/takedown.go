package relay

import (
	"context"
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/operator"
)

var takenDown = accounts.Status{Inactive: true, Reason: accounts.TakenDown}

// TakeDown takes an account down, or lifts that: the decision is durable, and an
// #account of our own says so to consumers. When hosts are not read for the moment the
// event follows as soon as they are.
func (r *Relay) TakeDown(ctx context.Context, did string, down bool) error {
	action := operator.Takedown
	if !down {
		action = operator.ReverseTakedown
	}
	if err := r.journal.Decide(operator.Decision{Action: action, Subject: did}); err != nil {
		return err
	}
	err := errNotReading
	if m := r.intake.manager(); m != nil {
		err = takeDown(ctx, m, did, down)
	}
	if errors.Is(err, errNotReading) || errors.Is(err, ingest.ErrStopped) {
		r.log.Warn("a takedown or its end was decided while hosts are not read; its event follows", "did", did, "down", down)
		return nil
	}
	return err
}

// Takedowns lists the accounts that are taken down.
func (r *Relay) Takedowns() []string { return r.journal.Takedowns() }

func takeDown(ctx context.Context, m *ingest.Manager, did string, down bool) error {
	if down {
		return m.SetLocal(ctx, did, takenDown)
	}
	return m.Lift(ctx, did, takenDown)
}

// takeDownAll sees to it that every takedown, and every end of one, that was decided
// is in the log: a crash may have come between the two.
func (r *Relay) takeDownAll(ctx context.Context, m *ingest.Manager) error {
	for down, dids := range map[bool][]string{true: r.journal.Takedowns(), false: r.journal.Lifted()} {
		for _, did := range dids {
			if err := takeDown(ctx, m, did, down); err != nil {
				return fmt.Errorf("takedowns: %w", err)
			}
		}
	}
	return nil
}
