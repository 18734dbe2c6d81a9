package relay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/cistern-archive/cistern/internal/checkpoint"
)

const (
	// checkpointFolder holds the parts of a checkpoint until they are sent.
	checkpointFolder = "checkpoint"
	// checkpointRetry is how long to wait before a checkpoint that failed is tried again,
	// and before the first one of a relay that has none.
	checkpointRetry = 10 * time.Minute
	// shippedPoll is how often it is looked whether a checkpoint may be sent.
	shippedPoll = time.Second
)

// keepCheckpoints writes checkpoints of the index into the archive until ctx ends.
func (r *Relay) keepCheckpoints(ctx context.Context) {
	every := r.cfg.Archive.CheckpointEvery
	if every == 0 {
		return
	}
	wait := min(every, checkpointRetry)
	if last, err := checkpoint.Newest(ctx, r.archive.bucket); err == nil && !last.IsZero() {
		wait = max(0, time.Until(last.Add(every)))
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = every
		began := time.Now()
		seq, err := r.checkpoint(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = min(every, checkpointRetry)
			r.log.Warn("no checkpoint could be written; it is tried again", "err", err, "again_in", wait)
		case seq > 0:
			r.log.Info("checkpoint written", "seq", seq, "took", time.Since(began).Round(time.Millisecond))
		}
	}
}

// checkpoint writes one, when hosts are read.
func (r *Relay) checkpoint(ctx context.Context) (uint64, error) {
	now := r.intake.current.Load()
	if now == nil || now.manager == nil {
		return 0, errNotReading
	}
	return checkpoint.Write(ctx, checkpoint.WriteOptions{
		Index: now.index, Stream: r.events.Stream().ID, Bucket: r.archive.bucket, Dir: filepath.Join(r.cfg.DataDir, checkpointFolder),
		May: r.archive.held.Check, Shipped: r.archive.through, Now: time.Now,
	})
}

// through waits until the archive holds the log up to a seq.
func (a *archive) through(ctx context.Context, seq uint64) error {
	tick := time.NewTicker(shippedPoll)
	defer tick.Stop()
	for a.shipper.Through() < seq {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// restoreIndex fills an index that is not there from the archive's newest checkpoint. An
// error is one of this machine; what is wrong with a checkpoint is logged.
func (r *Relay) restoreIndex(ctx context.Context, dir string) error {
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil // opening it will say what is wrong with it
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	began := time.Now()
	seq, err := checkpoint.Restore(ctx, checkpoint.RestoreOptions{
		Bucket: r.archive.bucket, Stream: r.events.Stream(), Tip: r.events.Tip(), Dir: dir, Logger: r.log,
	})
	if err == nil && seq > 0 {
		r.log.Info("the index was restored from a checkpoint of the archive", "seq", seq, "tip", r.events.Tip(), "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}
