package disposable

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// NewBatch returns an empty batch, for Commit.
func (s *Store) NewBatch() *pebble.Batch { return s.db.NewBatch() }

// Commit makes a batch visible at once. It is not synced; see Persist. It waits
// while too much is only in memory. An error means that nothing of the batch is in
// the store.
func (s *Store) Commit(ctx context.Context, b *pebble.Batch) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.unwritten+b.Len() > int(s.opts.MemTableBytes) && s.unwritten > 0 {
		if err := s.persist(ctx); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	// A copy, since b is its owner's again when this returns, and Pebble may keep what it
	// commits for ever.
	own := s.db.NewBatch()
	err := own.Apply(b, nil)
	if err == nil {
		err = s.guarded(func() error { return errors.Join(own.Commit(pebble.NoSync), own.Close()) })
	}
	if err == nil {
		s.unwritten += b.Len()
	}
	return err
}

// guarded calls f, which takes Pebble's own lock, while the store is open and can be
// written. A store that dies meanwhile may hold that lock for ever (pebbleLog.Fatalf): then
// f stays where it is, and the reason is returned.
func (s *Store) guarded(f func() error) error {
	done := make(chan error, 1)
	go func() {
		s.use.RLock()
		defer s.use.RUnlock()
		err := s.Err()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-s.health.stuck:
		return s.Err()
	}
}

// Persist begins to write to disk what is only in memory, so that a crash from then
// on loses no more than what comes after. It waits for the last such write, if that
// still runs, but not for this one.
func (s *Store) Persist(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.unwritten == 0 {
		return s.Err()
	}
	return s.persist(ctx)
}

// persist flushes. Only one flush waits for the disk at a time, which bounds what is
// in memory; Pebble's own stalls could not be interrupted and are out of reach.
func (s *Store) persist(ctx context.Context) error {
	if err := s.settled(ctx); err != nil {
		return err
	}
	var done <-chan struct{}
	err := s.guarded(func() (err error) {
		done, err = s.db.AsyncFlush()
		return err
	})
	if err == nil {
		s.flushing, s.unwritten = done, 0
	}
	return err
}

// settled waits for the flush that runs. A failure of it is an error at once.
func (s *Store) settled(ctx context.Context) error {
	if s.flushing == nil {
		return nil
	}
	for {
		changed := s.health.changed()
		if err := s.Err(); err != nil {
			return err
		}
		select {
		case <-s.flushing:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
