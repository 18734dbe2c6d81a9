package disposable

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// CloseWithin bounds how long Close waits for the disk, once to write what is in
// memory and once to end Pebble's work.
const CloseWithin = 2 * time.Second

// die marks a dead store and closes it, once nobody uses it. It does not wait: it is
// called from within Pebble.
func (s *Store) die() {
	go func() {
		defer close(s.buried)
		markSpoiled(&s.opts)
		if err := s.endUse(); err != nil {
			s.opts.Logger.Debug("the dead "+s.opts.Name+" was closed", "err", err)
		}
	}()
}

// burial waits for die, if the store died; its use has ended.
func (s *Store) burial() {
	if !errors.Is(s.health.end(), errClosed) {
		<-s.buried
	}
}

// endUse closes Pebble, once.
func (s *Store) endUse() error {
	s.health.stop(errClosed)
	s.end.Do(func() {
		close(s.health.fs.closing)
		if s.health.abandoned.Load() {
			return
		}
		closed := make(chan error, 1)
		go func() { // it outlives the wait only when Pebble hangs
			if !s.lockUse() {
				closed <- s.health.end()
				return
			}
			defer s.use.Unlock()
			if s.db == nil {
				closed <- nil
				return
			}
			closed <- s.db.Close()
		}()
		timer := time.NewTimer(CloseWithin)
		defer timer.Stop()
		select {
		case s.endErr = <-closed:
		case <-timer.C:
			s.health.abandoned.Store(true)
			s.endErr = fmt.Errorf("%s: the store does not close; it is left as it is", s.opts.Name)
		}
	})
	return s.endErr
}

// lockUse waits until nobody uses Pebble, which may still be being opened; false when it
// is stuck and somebody in it for ever. It never stands in line for the lock, since that
// would keep readers out.
func (s *Store) lockUse() bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !s.use.TryLock() {
		select {
		case <-tick.C:
		case <-s.health.stuck:
			return false
		}
	}
	return true
}

// markSpoiled leaves word that the store is damaged. Where even that cannot be
// written, the next Open finds the damage itself.
func markSpoiled(opts *Options) {
	f, err := opts.FS.Create(opts.FS.PathJoin(opts.Dir, SpoiledFile), "unspecified")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		opts.Logger.Warn("the damage of the "+opts.Name+" could not be marked", "dir", opts.Dir, "err", err)
	}
}

// Close writes what is in memory, within two seconds, and ends Pebble's work. It
// returns why the store died, if it did. Closing again changes nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		err := s.flush()
		err = errors.Join(err, s.endUse())
		s.burial()
		if !s.health.abandoned.Load() { // the lock goes with the process otherwise
			err = errors.Join(err, s.lock.Close())
		}
		s.closeErr = err
	})
	return s.closeErr
}

func (s *Store) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseWithin)
	defer cancel()
	err := s.Persist(ctx)
	if err == nil {
		s.writing.Lock()
		defer s.writing.Unlock()
		err = s.settled(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: write what is in memory: %w", s.opts.Name, err)
	}
	return nil
}
